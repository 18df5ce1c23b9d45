"""Each explanation: a scripted sweep in which it is given, and one in which it is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ovtool.core.notes import make_note
from ovtool.core.statistics import wilson
from ovtool.results.labels import config_labels
from ovtool.results.rows import measured_rows
from ovtool.results.table import load_results
from ovtool.selection.explanations import Context, explain
from tests.helpers import sweeps

I8 = {"flops_i8_pct": 98.0, "flops_bf16_pct": 2.0, "flops_f16_pct": 0.0, "flops_f32_pct": 0.0}
BF16 = {"flops_i8_pct": 0.0, "flops_bf16_pct": 100.0, "flops_f16_pct": 0.0, "flops_f32_pct": 0.0}
MODELS = (
    sweeps.Model("fp32", 17.8, {"f32": 7.0, "default": 4.2}, (50, 50)),
    sweeps.Model("int8", 4.8, {"default": 3.5}, (47, 50)),
)


def explained(path, models=MODELS, figures=None, batches=(1,), change=None, limit=None, **kwargs):
    """Return the notes on all rows, by id; ``figures`` are by (variant, precision)."""
    made = []
    for trial in sweeps.trials(models, batches, ("latency",), **kwargs):
        one = sweeps.measure(trial, models)
        more = (figures or {}).get((trial.variant_name, trial.precision), {})
        one = replace(one, figures={**one.figures, **more})
        made.append(change(one) if change else one)
    table = load_results([sweeps.make(path / "s", made, models)])
    rows = table.records
    context = Context(rows, config_labels(rows), table, limit)
    return {note.id: note for note in explain(measured_rows(rows), context)}


def executed(one, precision):
    return replace(one, executed_precision=precision)


def test_int8_gains_little_over_bf16(tmp_path):
    figures = {("int8", "default"): I8, ("fp32", "default"): BF16}
    note = explained(tmp_path, figures=figures)["int8-baseline-reduced"]
    assert "(bf16)" in note.evidence
    assert "2.0" in note.evidence
    assert "1.2" in note.evidence


@pytest.mark.slow
def test_int8_gain_over_f32_baseline_has_no_note(tmp_path):
    models = (sweeps.Model("fp32", 17.8, {"f32": 7.0, "default": 7.0}), MODELS[1])
    figures = {("int8", "default"): I8}
    assert "int8-baseline-reduced" not in explained(
        tmp_path, models, figures, change=lambda m: executed(m, "f32")
    )
    fast = (MODELS[0], sweeps.Model("int8", 4.8, {"default": 1.5}))
    assert "int8-baseline-reduced" not in explained(tmp_path / "2", fast, figures)


@pytest.mark.slow
def test_precision_fallback(tmp_path):
    partly = I8 | {"flops_i8_pct": 70.0, "flops_bf16_pct": 0.0, "flops_f32_pct": 30.0}
    note = explained(tmp_path, figures={("int8", "default"): partly})["fallback-f32"]
    assert "i8 70.0%, f32 30.0%" in note.evidence
    whole = explained(tmp_path / "2", figures={("int8", "default"): I8})
    assert not {"fallback-f32", "fallback-float"} & set(whole)

    def noted(one):
        expected = make_note("int8-fallback", "2 layers: conv1, conv2")
        return replace(one, notes=(expected,)) if one.trial.variant_name == "int8" else one

    assert "conv1" in explained(tmp_path / "3", change=noted)["fallback-float"].evidence
    little = explained(tmp_path / "4", figures={("int8", "default"): I8}, change=noted)
    assert "fallback-float" not in little, "2% of the arithmetic"


@pytest.mark.slow
def test_memory_bound_where_fewer_bytes_alone_are_faster(tmp_path):
    bf16 = BF16 | {"gflops": 0.77}
    figures = {("int8", "default"): bf16, ("fp32", "default"): bf16}
    note = explained(tmp_path, figures=figures)["memory-bound"]
    assert "1.2" in note.evidence
    assert "17.8 MiB" in note.evidence
    other = figures | {("int8", "default"): I8 | {"gflops": 0.77}}
    assert "memory-bound" not in explained(tmp_path / "2", figures=other), "other precision"
    fewer = figures | {("int8", "default"): BF16 | {"gflops": 0.2}}
    assert "memory-bound" not in explained(tmp_path / "5", figures=fewer), "less arithmetic"
    unknown = figures | {("int8", "default"): BF16}
    assert "memory-bound" not in explained(tmp_path / "6", figures=unknown)
    assert "memory-bound" not in explained(tmp_path / "3"), "what ran is not known"
    slow = (MODELS[0], sweeps.Model("int8", 4.8, {"default": 4.2}))
    assert "memory-bound" not in explained(tmp_path / "4", slow, figures), "not faster"


@pytest.mark.slow
def test_memory_bound_by_the_roofline(tmp_path):
    known = {"memory_bound_pct": 81.5, "limit_ms": 3.1}
    figures = {("fp32", "default"): known, ("int8", "default"): known | {"memory_bound_pct": 49.0}}
    note = explained(tmp_path, figures=figures)["memory-bound-roofline"]
    assert "81.5%" in note.evidence
    assert "3.10 ms (calculated), p50 4.20 [4.14, 4.28] ms (measured)" in note.evidence
    assert "fp32" in note.evidence
    assert "int8" not in note.evidence
    assert "memory-bound-roofline" not in explained(tmp_path / "2"), "not calibrated"


@pytest.mark.slow
def test_past_the_knee(tmp_path):
    notes = explained(tmp_path, batches=(1, 8))
    assert "batch 8 has" in notes["knee"].evidence
    assert "p50 latency than batch 1" in notes["knee"].evidence

    def scales(one):
        grown = {n: 4.0 for n in one.figures if n.startswith("latency_p50")}
        return replace(one, figures={**one.figures, **grown})

    assert "knee" not in explained(tmp_path / "2", batches=(1, 8), change=scales)
    assert "knee" not in explained(tmp_path / "3", batches=(1,))


@pytest.mark.slow
@pytest.mark.parametrize("verdict", ["contended", "throttled", "unsteady"])
def test_disturbed_measurement(tmp_path, verdict):
    def disturbed(one):
        more = {"others_cpu_pct": 31.0, "throughput_uncontended_fps": 400.0, "drift_pct": 9.0}
        return replace(one, verdict=verdict, figures={**one.figures, **more})

    note = explained(tmp_path, change=disturbed)[f"measured-{verdict}"]
    assert ("31.0%" in note.evidence) == (verdict == "contended")
    assert ("ESTIMATE" in note.evidence) == (verdict == "contended")
    assert not [i for i in explained(tmp_path / "2") if i.startswith("measured-")]


@pytest.mark.slow
@pytest.mark.parametrize(("ratio", "shown"), [(1.0, False), (1.001, False), (1.5, True)])
def test_an_estimate_on_idle_cores_is_given_where_it_differs(tmp_path, ratio, shown):
    def contended(one):
        ends = ("", "_ci_low", "_ci_high")
        figures = {
            f"throughput_uncontended_fps{end}": ratio * one.figures[f"throughput_fps{end}"]
            for end in ends
        }
        return replace(one, verdict="contended", figures={**one.figures, **figures})

    note = explained(tmp_path, change=contended)["measured-contended"]
    assert ("ESTIMATE" in note.evidence) == shown


def sparsity(path, share, fast=False):
    models = (MODELS[0], sweeps.Model("pruned", 17.8, {"default": 2.0 if fast else 4.2}))
    figures = {("fp32", "default"): {"nonzero_pct": 99.0}, ("fp32", "f32"): {"nonzero_pct": 99.0}}
    return explained(path, models, figures | {("pruned", "default"): {"nonzero_pct": share}})


@pytest.mark.slow
def test_sparse_without_speedup(tmp_path):
    note = sparsity(tmp_path, 40.0)["sparse-not-faster"]
    assert "40.0% of the weights are not zero" in note.evidence
    assert "faster" not in note.evidence
    assert "sparse-not-faster" not in sparsity(tmp_path / "2", 98.0)
    assert "sparse-not-faster" not in sparsity(tmp_path / "3", 40.0, fast=True)


@pytest.mark.slow
@pytest.mark.parametrize(("ran_on", "expected"), [("CPU", True), ("GPU.0", False)])
def test_auto_on_the_cpu(tmp_path, ran_on, expected):
    notes = explained(tmp_path, devices=("AUTO",), change=lambda one: replace(one, ran_on=ran_on))
    assert ("device-fallback" in notes) == expected
    if expected:
        assert "AUTO ran on CPU" in notes["device-fallback"].evidence


def quality(path, right, samples, limit=None):
    model = replace(MODELS[1], agreement=(right, samples))
    return explained(
        path,
        (MODELS[0], model),
        limit=limit,
        change=lambda one: sweeps.with_quality(
            one, model if one.trial.variant_name == "int8" else sweeps.FP32
        ),
        figures=None,
    )


@pytest.mark.slow
def test_wide_quality_interval_names_enough_samples(tmp_path):
    note = quality(tmp_path, 47, 50, 0.9)["quality-interval-wide"]
    assert "about 217 samples for the limit 0.9" in note.evidence
    assert wilson(204, 217).low > 0.9, "0.94 of them"
    assert wilson(203, 216).low < 0.9
    note = quality(tmp_path / "2", 9400, 10000, 0.9).get("quality-interval-wide")
    assert note is None or "int8" not in note.evidence


def test_equal_notes_of_rows_are_merged(tmp_path):
    figures = {("int8", "default"): I8, ("fp32", "default"): BF16}
    notes = explained(tmp_path, figures=figures, batches=(1, 2, 4, 8, 16))
    assert "and 2 more" in notes["int8-baseline-reduced"].evidence
