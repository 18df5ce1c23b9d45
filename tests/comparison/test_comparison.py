"""Regressions of a comparison, and its document."""

import json
import math
from dataclasses import replace

import pytest

from ovtool.comparison.compare import compare_sweeps
from ovtool.comparison.comparison import Failure
from ovtool.comparison.figures import LEVEL
from ovtool.core import units
from ovtool.core.errors import LimitNotMetError
from ovtool.core.ports import Preprocessing
from tests.helpers import sweeps
from tests.helpers.compared_sweeps import run


@pytest.fixture(scope="module")
def comparison(tmp_path_factory, base):
    def speed(trial):
        return 0.5 if trial.variant == sweeps.INT8.id else 1.0

    return compare_sweeps(base, run(tmp_path_factory.mktemp("slow") / "b", speed))


@pytest.mark.parametrize(
    ("reasons", "new"), [(("", "boom"), True), (("boom", ""), False), (("boom", "boom"), False)]
)
def test_failure_is_new_only_where_a_ran(reasons, new):
    assert Failure("trial", *reasons).new is new


def test_regressions_are_losses_of_at_least_the_limit(comparison):
    worse = [c for c in comparison.changes if c.outcome == "worse"]
    assert worse
    assert len(comparison.regressions(0)) == len(worse)
    limit = min(c.loss_pct for c in worse)
    assert len(comparison.regressions(limit)) == len(worse)
    assert len(comparison.regressions(math.nextafter(limit, 1e9))) < len(worse)
    comparison.check(1e9)
    with pytest.raises(LimitNotMetError, match=f"^{len(worse)} .* 5%.*int8"):
        comparison.check(5)


def test_trial_that_fails_in_b_is_a_regression_at_any_limit(comparison):
    failures = (Failure("trial x", "", "boom"), Failure("trial y", "boom", "boom"))
    broken = replace(comparison, changes=(), failures=failures)
    with pytest.raises(LimitNotMetError, match=r"^1 .*trial x.*boom"):
        broken.check(1e9)


def test_document_is_plain_json(comparison):
    document = json.loads(json.dumps(units.finite(comparison.to_json()), allow_nan=False))
    assert document["same_machine"] is True
    assert len(document["changes"]) == len(comparison.changes)
    assert document["noise"]["allowance_pct"] == comparison.noise.allowance_pct
    assert document["level"] == LEVEL


@pytest.mark.parametrize("other", [None, Preprocessing(mean=(0,), scale=(255,))])
def test_another_preprocessing_is_a_difference(base, other):
    steps = Preprocessing(mean=(127,), scale=(128,))

    def prepared(sweep, each):
        variants = {
            id_: variant.model_copy(update={"preprocessing": each})
            for id_, variant in sweep.plan.variants.items()
        }
        return replace(sweep, plan=sweep.plan.model_copy(update={"variants": variants}))

    same = compare_sweeps(prepared(base, steps), prepared(base, steps))
    assert not any(d.name.startswith("preprocessing") for d in same.differences)
    changed = compare_sweeps(prepared(base, steps), prepared(base, other))
    named = {d.name: d for d in changed.differences if d.name.startswith("preprocessing.")}
    swept = {m.trial.variant_name for m in base.measurements}
    assert set(named) == {f"preprocessing.{name}" for name in swept}
    assert all("127" in d.a and "127" not in d.b for d in named.values())


def test_other_samples_are_a_difference(base):
    plan = base.plan.model_copy(update={"evaluated_on": "images, 25 samples"})
    names = [d.name for d in compare_sweeps(base, replace(base, plan=plan)).differences]
    assert "samples" in names
