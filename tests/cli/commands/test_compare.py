"""``ovtool compare``: what it prints, writes and refuses."""

from dataclasses import replace

import pytest

from tests.comparison.test_compare import at_speed
from tests.helpers import sweeps


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A sweep, and one of which INT8 runs at half the speed."""
    folder = tmp_path_factory.mktemp("compared")
    old = sweeps.whole(folder / "old", batches=(1, 2))
    made = [
        at_speed(sweeps.measure(t), 0.5 if t.variant == sweeps.INT8.id else 1.0)
        for t in sweeps.trials(batches=(1, 2))
    ]
    return old, sweeps.make(folder / "new", made)


def test_it_says_what_became_worse(ovtool, pair):
    ran = ovtool("compare", *pair)
    assert ran.status == 0
    assert ran.out.splitlines()[0].startswith("B (new) against A (old): 8 worse")
    assert "0.01 after Holm" in ran.out


def test_a_regression_fails_and_still_answers(ovtool, pair, tmp_path):
    out = tmp_path / "change.md"
    ran = ovtool("compare", *pair, "--fail-on-regression", "5%", "--json", "--out", out)
    assert ran.status == 1
    assert ran.errors[0].startswith("error: 8 regressions of at least 5 %: int8 CPU batch")
    assert ran.document["changes"][0]["outcome"] == "worse"
    assert out.read_text(encoding="utf-8").startswith("## old → new")
    assert ovtool("compare", *reversed(pair), "--fail-on-regression", "5%").status == 0
    assert ovtool("compare", *pair, "--fail-on-regression", "150%").status == 0


def test_a_rerun_of_a_measures_the_noise(ovtool, pair, tmp_path):
    made = [at_speed(sweeps.measure(t), 1.01) for t in sweeps.trials(batches=(1, 2))]
    again = sweeps.make(tmp_path / "again", made)
    ran = ovtool("compare", *pair, "--rerun", again)
    assert ran.status == 0
    assert "1 rerun of A" in " ".join(ran.out.split())


def test_wrong_input(refused, pair, tmp_path):
    old, new = pair
    assert "sweep folder not found" in refused("compare", old, tmp_path / "nowhere")
    assert str(old) in refused("compare", old, old)
    assert str(new) in refused("compare", old, new, "--rerun", new)
    for wrong in ("0.05", "five%", "-1%", "nan%"):
        assert "as 5%" in refused("compare", old, new, f"--fail-on-regression={wrong}")
    assert "100 %" in refused("compare", old, new, "--noise", "100%")
    assert "0 %" in refused("compare", old, new, "--within", "0%")
    assert "a folder is in the way" in refused("compare", old, new, "--out", tmp_path)


def test_nothing_in_common_and_nothing_measured(ovtool, pair, tmp_path):
    old, _ = pair
    other = replace(sweeps.FP32, name="other")
    trials = sweeps.trials([other], batches=(1,))
    strange = sweeps.make(tmp_path / "x", [sweeps.measure(t, [other]) for t in trials], [other])
    ran = ovtool("compare", old, strange)
    assert ran.status == 2
    assert f"{old} (fp32, int8, int8-weights on CPU)" in ran.err
    assert f"{strange} (other on CPU)" in ran.err
    failed = [sweeps.failed(t, "boom") for t in sweeps.trials(batches=(1, 2))]
    assert ovtool("compare", old, sweeps.make(tmp_path / "f", failed)).status == 4
