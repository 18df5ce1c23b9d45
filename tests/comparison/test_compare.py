"""Two sweeps side by side: matching, outcomes, and how often they are wrong."""

import itertools
import random
import shutil
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovtool.comparison.compare import compare, compare_sweeps
from ovtool.comparison.noise import Noise
from ovtool.core.errors import (
    InputError,
    LimitNotMetError,
    NothingMeasuredError,
    UndecidedError,
)
from ovtool.results.sweep_data import read_sweep
from tests.helpers import sweeps
from tests.helpers.compared_sweeps import (
    FLIPPED,
    TRIALS,
    noisy,
    outcomes,
    run,
    slowed,
    under_load,
)


def test_slower_variant_is_worse(tmp_path, base):
    def speed(trial):
        return 0.6 if trial.variant == sweeps.INT8.id else 1.0

    comparison = compare(base.path, run(tmp_path / "b", speed).path)
    slow = [c for c in comparison.changes if "int8 " in c.label]
    assert {c.outcome for c in slow} == {"worse"}
    assert {c.outcome for c in comparison.changes if c not in slow} <= {"same", "unknown"}
    assert comparison.changes[: len(slow)] == tuple(slow), "the worst comes first"
    throughput = next(c for c in slow if c.column == "throughput_fps")
    assert throughput.ratio.value == pytest.approx(0.6)
    assert throughput.ratio.low < 0.6 < throughput.ratio.high < 1
    assert throughput.loss_pct == pytest.approx(40)
    p50 = next(c for c in slow if c.column == "latency_p50_ms")
    assert p50.ratio.value == pytest.approx(1 / 0.6)
    assert p50.loss_pct == pytest.approx(100 / 0.6 - 100)
    assert len(comparison.regressions(5)) == len(slow)
    with pytest.raises(LimitNotMetError, match=rf"^{len(slow)} .* 5%"):
        comparison.check(5)
    comparison.check(70)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.5, 2.0), st.floats(0.0, 0.1))
def test_swapped_sweeps_have_opposite_outcomes(base, seed, factor, sd):
    rng = random.Random(seed)
    other = noisy(base, rng, sd, factor)
    there, back = compare_sweeps(base, other), compare_sweeps(other, base)
    assert {k: FLIPPED.get(v, v) for k, v in outcomes(there).items()} == outcomes(back)
    ratios = {(c.label, c.column): c.ratio for c in back.changes}
    for one in there.changes:
        opposite = ratios[one.label, one.column]
        assert one.ratio.value * opposite.value == pytest.approx(1)
        assert one.ratio.low * opposite.high == pytest.approx(1)
    assert there.detectable_pct == pytest.approx(back.detectable_pct)


@pytest.mark.slow
@pytest.mark.parametrize("sd_pct", [1.0, 3.0])
def test_rerun_is_rarely_a_regression(base, sd_pct):
    """Noise as large as allowed for: in 300 comparisons the level allows for 1.5."""
    rng = random.Random(0)
    noise = Noise(3.0)
    wrong = 0
    for _ in range(300):
        comparison = compare_sweeps(
            noisy(base, rng, sd_pct / 100), noisy(base, rng, sd_pct / 100), noise=noise
        )
        wrong += any(c.outcome == "worse" for c in comparison.changes)
    assert wrong <= 4


@pytest.mark.slow
def test_loss_of_a_third_is_always_significant(base):
    rng = random.Random(1)
    for _ in range(100):
        comparison = compare_sweeps(noisy(base, rng, 0.03), noisy(base, rng, 0.03, 2 / 3))
        rates = [c.outcome for c in comparison.changes if c.column == "throughput_fps"]
        assert set(rates) == {"worse"}


LOADS = (0.0, 0.2, 0.5, 0.85)


@pytest.fixture(scope="module")
def few(base):
    """The first trial of the sweep: the windows are resampled, which takes time."""
    return replace(base, measurements=base.measurements[:1])


@pytest.mark.slow
def test_contention_alone_is_never_a_difference(few):
    """Twenty comparisons of the same models, each side beside other loads."""
    rng = random.Random(5)
    for _ in range(20):
        a, b = (under_load(few, rng, rng.choice(LOADS)) for _ in "ab")
        comparison = compare_sweeps(a, b)
        assert not comparison.regressions(0)
        assert {c.outcome for c in comparison.changes} <= {"same", "unknown"}


@pytest.mark.slow
@pytest.mark.parametrize(("load_a", "load_b"), [*itertools.product(LOADS, LOADS)])
def test_loss_of_a_third_under_contention_is_detected_or_unknown(few, load_a, load_b):
    rng = random.Random(6)
    a = under_load(few, rng, load_a)
    comparison = compare_sweeps(a, under_load(few, rng, load_b, slower=1.5))
    assert {c.outcome for c in comparison.changes} <= {"worse", "unknown"}
    rates = [c for c in comparison.changes if c.column.startswith("throughput")]
    if not load_a and not load_b:
        assert {c.outcome for c in rates} == {"worse"}
    with pytest.raises((LimitNotMetError, UndecidedError)):
        comparison.check(5, unknown=True)


@pytest.mark.slow
def test_hidden_slow_rounds_are_no_regression(few):
    """Some rounds take twice the time, and no counter shows why: such runs are not steady."""
    rng, verdicts = random.Random(8), set()
    for slow_rounds in (0, 1, 2, 3, 4, 6):
        for first in (0, 2):
            a = slowed(few, rng, set())
            b = slowed(few, rng, set(range(first, first + slow_rounds)))
            comparison = compare_sweeps(a, b)
            assert not comparison.regressions(0), (slow_rounds, first)
            assert not compare_sweeps(b, a).regressions(0), (slow_rounds, first)
            verdicts |= {m.verdict for m in b.measurements}
    assert verdicts == {"stable", "unsteady"}


def test_other_machine_is_not_the_same_machine(tmp_path, base):
    b = run(tmp_path / "b", env="b")
    assert not compare_sweeps(base, b).same_machine


def test_no_trial_measured_in_both_is_an_error(tmp_path, base):
    b = read_sweep(sweeps.make(tmp_path / "b", [sweeps.failed(t, "boom") for t in TRIALS]))
    with pytest.raises(NothingMeasuredError, match=str(len(TRIALS))) as caught:
        compare_sweeps(base, b)
    assert "boom" in caught.value.hint


def test_sweeps_with_the_same_name_are_named_by_their_folders(tmp_path, base):
    copy = tmp_path / "copy"
    shutil.copytree(base.path, copy)
    comparison = compare(base.path, copy)
    assert (comparison.a.name, comparison.b.name) == (str(base.path), str(copy))
    other = sweeps.make(tmp_path / "other", base.measurements, name="other")
    comparison = compare(base.path, other)
    assert (comparison.a.name, comparison.b.name) == (base.name, "other")


def test_same_folder_twice_is_an_error(base):
    with pytest.raises(InputError, match=str(base.path)):
        compare(base.path, base.path)
    with pytest.raises(InputError, match=str(base.path)):
        compare(base.path, base.path.parent / "." / base.path.name)
