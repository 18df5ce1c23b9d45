"""Quality of both sweeps."""

from dataclasses import replace

import pytest

from ovtool.comparison.compare import compare_sweeps
from ovtool.comparison.quality import DIFFERENT_SAMPLES
from tests.helpers import sweeps
from tests.helpers.compared_sweeps import FLIPPED


def with_quality(sweep, model, right, of=1000):
    done = sweeps.with_quality(sweep.measurements[0], replace(model, agreement=(right, of)))
    return replace(
        sweep,
        measurements=(done, *sweep.measurements[1:]),
        plan=sweep.plan.model_copy(
            update={"quality_metric": "agreement_top1", "evaluated_on": "photographs"}
        ),
    )


@pytest.mark.parametrize(
    ("before", "after", "outcome"),
    [(990, 900, "worse"), (900, 990, "better"), (990, 985, "unknown"), (990, 990, "same")],
)
def test_quality_outcome_follows_the_interval(base, before, after, outcome):
    a, b = with_quality(base, sweeps.FP32, before), with_quality(base, sweeps.FP32, after)
    comparison = compare_sweeps(a, b)
    (one,) = comparison.quality
    assert one.outcome == outcome
    assert one.difference.value == pytest.approx((after - before) / 1000)
    assert bool(comparison.regressions(5)) == (outcome == "worse")
    (back,) = compare_sweeps(b, a).quality
    assert back.outcome == FLIPPED.get(outcome, outcome)


def test_quality_on_different_samples_is_unknown(base):
    a, b = with_quality(base, sweeps.FP32, 990), with_quality(base, sweeps.FP32, 500)
    b = replace(b, plan=b.plan.model_copy(update={"evaluated_on": "drawings"}))
    (one,) = compare_sweeps(a, b).quality
    assert (one.outcome, one.remark) == ("unknown", DIFFERENT_SAMPLES)


@pytest.mark.parametrize(
    ("before", "after", "outcome"), [(0.5, 0.9, "worse"), (0.9, 0.5, "better")]
)
def test_a_higher_error_is_worse(base, before, after, outcome):
    def with_error(value):
        sweep = with_quality(base, sweeps.FP32, 990)
        first, *others = sweep.measurements
        names = ("mean_absolute_error", "mean_absolute_error_ci_low", "mean_absolute_error_ci_high")
        figures = dict(zip(names, (value, value - 0.01, value + 0.01), strict=True))
        first = replace(first, figures={**first.figures, **figures})
        plan = sweep.plan.model_copy(update={"quality_metric": "mean_absolute_error"})
        return replace(sweep, measurements=(first, *others), plan=plan)

    comparison = compare_sweeps(with_error(before), with_error(after))
    (one,) = comparison.quality
    assert one.outcome == outcome
    assert one.loss_pct == pytest.approx(100 * (after - before) / before)
    assert bool(comparison.regressions(5)) == (outcome == "worse")
