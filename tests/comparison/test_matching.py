"""Matching of trials by hash or by name."""

from dataclasses import replace

import pytest

from ovtool.comparison.compare import compare_sweeps
from ovtool.core.errors import InputError, LimitNotMetError
from ovtool.results.sweep_data import read_sweep
from tests.helpers import sweeps
from tests.helpers.compared_sweeps import TRIALS


def test_rebuilt_variant_is_matched_by_name(tmp_path, base):
    anew = replace(sweeps.INT8, mib=9.66)
    trials = [replace(t, variant="f00d") if t.variant == sweeps.INT8.id else t for t in TRIALS]
    made = [
        replace(sweeps.measure(old), trial=new) for old, new in zip(TRIALS, trials, strict=True)
    ]
    path = sweeps.make(tmp_path / "b", made)
    sweep = read_sweep(path)
    variants = dict(sweep.plan.variants)
    planned = variants.pop(sweeps.INT8.id)
    variants["f00d"] = planned.model_copy(update={"model_mib": anew.mib})
    sweep = replace(sweep, plan=sweep.plan.model_copy(update={"variants": variants}))
    comparison = compare_sweeps(base, sweep)
    assert not comparison.only_a
    assert not comparison.only_b
    (note,) = comparison.notes
    assert note.id == "matched-by-name"
    assert note.evidence == f"int8: {sweeps.INT8.id}, f00d"
    size = next(one for one in comparison.sizes if one.variant == "int8")
    assert size.change_pct == pytest.approx(100)


def test_renamed_variant_is_matched_by_files(base):
    renamed = [
        replace(m, trial=replace(m.trial, variant_name="small"))
        if m.trial.variant == sweeps.INT8.id
        else m
        for m in base.measurements
    ]
    comparison = compare_sweeps(base, replace(base, measurements=tuple(renamed)))
    assert not comparison.only_a
    assert any("(small in B)" in c.label for c in comparison.changes)


def test_unmatched_trials_and_failures_are_listed(tmp_path, base):
    first, second, third, *rest = TRIALS
    extra = replace(first, batch=64)
    made = [sweeps.failed(first, "out of memory"), sweeps.measure(second), sweeps.measure(third)]
    b = read_sweep(sweeps.make(tmp_path / "b", [*made, sweeps.measure(extra)]))
    comparison = compare_sweeps(base, b)
    assert [f.label for f in comparison.failures if f.new] == [first.label]
    assert set(comparison.only_a) == {t.label for t in rest}
    assert comparison.only_b == (extra.label,)
    with pytest.raises(LimitNotMetError, match=r"^1 .*out of memory"):
        comparison.check(5)
    fixed = compare_sweeps(b, base)
    assert fixed.failures[0].reason_a == "out of memory"
    fixed.check(5)


def test_emulated_rows_are_left_out_with_a_note(base):
    gpu = [
        replace(m, trial=replace(m.trial, device="GPU"), emulated=True) for m in base.measurements
    ]
    with_gpu = replace(base, measurements=(*base.measurements, *gpu))
    comparison = compare_sweeps(with_gpu, with_gpu)
    assert len({c.label for c in comparison.changes}) == len(TRIALS)
    assert [n.id for n in comparison.notes] == ["emulated-left-out"] * 2
    with pytest.raises(InputError, match=str(base.path)):
        compare_sweeps(replace(base, measurements=tuple(gpu)), with_gpu)
