"""``ovtool compare``."""

from dataclasses import replace

import pytest

from ovtool.core.errors import EXIT_CODES
from tests.helpers import sweeps
from tests.helpers.compared_sweeps import at_speed


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A sweep, and a sweep in which INT8 runs at half the speed."""
    folder = tmp_path_factory.mktemp("compared")
    old = sweeps.whole(folder / "old", batches=(1, 2))
    measurements = [
        at_speed(sweeps.measure(t), 0.5 if t.variant == sweeps.INT8.id else 1.0)
        for t in sweeps.trials(batches=(1, 2))
    ]
    return old, sweeps.make(folder / "new", measurements)


def test_compare_counts_the_worse_trials(ovtool, pair):
    ran = ovtool("compare", *pair)
    assert ran.status == 0
    lines = [line.rstrip() for line in ran.out.splitlines()]
    assert " 8 worse" in lines[0]
    assert sum(line.endswith(" worse") for line in lines) == 8
    assert len(lines) <= 25
    assert not any(" unknown " in line or " same " in line for line in lines[1:])
    explained = ovtool("compare", *pair, "--explain").out
    assert len(explained.splitlines()) > len(lines)
    assert "Holm" in explained


def test_a_regression_fails_and_is_still_printed(ovtool, pair, tmp_path):
    out = tmp_path / "change.md"
    ran = ovtool("compare", *pair, "--fail-on-regression", "5%", "--json", "--out", out)
    assert ran.status == 1
    assert ran.errors[0].startswith("error: 8 ")
    assert "5%" in ran.errors[0]
    assert "int8 CPU batch" in ran.errors[0]
    assert ran.document["changes"][0]["outcome"] == "worse"
    assert out.read_text(encoding="utf-8").startswith("## ")
    assert ovtool("compare", *reversed(pair), "--fail-on-regression", "5%").status == 0
    assert ovtool("compare", *pair, "--fail-on-regression", "150%").status == 0


@pytest.fixture(scope="module")
def busy(tmp_path_factory, pair):
    """The second sweep, beside other processes: no figure decides."""
    measurements = [
        at_speed(sweeps.measure(t, verdict="contended"), 0.5) for t in sweeps.trials(batches=(1, 2))
    ]
    return sweeps.make(tmp_path_factory.mktemp("busy") / "busy", measurements)


def test_unknown_figures_pass_with_a_warning_and_fail_on_request(ovtool, pair, busy):
    old, new = pair
    passed = ovtool("compare", old, busy, "--fail-on-regression", "5%")
    assert passed.status == 0
    assert "--fail-on-unknown" in passed.err
    for arguments in (["--fail-on-unknown"], ["--fail-on-unknown", "--fail-on-regression=5%"]):
        ran = ovtool("compare", old, busy, *arguments)
        assert ran.status == 5
        assert len(ran.errors) == 2
        assert "contended in B" in ran.errors[0]
        assert "--rerun" in ran.errors[1]
    assert ovtool("compare", old, new, "--fail-on-unknown", "--fail-on-regression=5%").status == 1
    assert ovtool("compare", old, new, "--fail-on-regression=150%").err == ""


def test_an_interval_that_excludes_the_loss_is_known_enough(ovtool, pair, tmp_path):
    """p99 is unknown at a difference of 0, but a loss of half is out of its interval."""
    old, _ = pair
    measurements = [sweeps.measure(t) for t in sweeps.trials(batches=(1, 2))]
    same = sweeps.make(tmp_path / "same", measurements)
    assert ovtool("compare", old, same, "--fail-on-unknown").status == 5
    limits = ["--fail-on-unknown", "--fail-on-regression"]
    assert ovtool("compare", old, same, *limits, "50%").status == 0
    assert ovtool("compare", old, same, *limits, "5%").status == 5


def test_a_trial_that_b_does_not_have_is_undecided(ovtool, pair, tmp_path):
    old, _ = pair
    fewer = [sweeps.measure(t) for t in sweeps.trials(batches=(1,))]
    part = sweeps.make(tmp_path / "part", fewer)
    limits = ["--fail-on-unknown", "--fail-on-regression=90%"]
    ran = ovtool("compare", old, part, *limits)
    assert ran.status == 5
    assert "not in B" in ran.errors[0]
    assert ovtool("compare", part, old, *limits).status == 0


def test_help_explains_the_exit_codes(ovtool):
    for verb in ("compare", "choose"):
        codes = " ".join(ovtool(verb, "--help").out.split()).partition("Exit codes:")[2]
        assert all(f"{code} " in codes for code in EXIT_CODES)


@pytest.mark.slow
def test_a_rerun_of_a_measures_the_noise(ovtool, pair, tmp_path):
    measurements = [at_speed(sweeps.measure(t), 1.01) for t in sweeps.trials(batches=(1, 2))]
    again = sweeps.make(tmp_path / "again", measurements)
    ran = ovtool("compare", *pair, "--rerun", again, "--explain")
    assert ran.status == 0
    assert "1 rerun" in " ".join(ran.out.split())
    assert "1 rerun" not in " ".join(ovtool("compare", *pair, "--explain").out.split())


def test_compare_names_the_wrong_argument(refused, pair, tmp_path):
    old, new = pair
    assert "nowhere" in refused("compare", old, tmp_path / "nowhere").error
    assert str(old) in refused("compare", old, old).error
    assert str(new) in refused("compare", old, new, "--rerun", new).error
    for wrong in ("5", "five%", "-1%", "nan%"):
        refusal = refused("compare", old, new, f"--fail-on-regression={wrong}")
        assert "--fail-on-regression" in refusal.error
        assert repr(wrong) in refusal.error
        assert "5%" in refusal.hint
    assert "100" in refused("compare", old, new, "--noise", "100%").error
    assert "0" in refused("compare", old, new, "--within", "0%").error
    assert str(tmp_path) in refused("compare", old, new, "--out", tmp_path).error


def test_no_common_trial_is_wrong_input_and_no_measurement_exits_with_4(ovtool, pair, tmp_path):
    old, _ = pair
    other = replace(sweeps.FP32, name="other")
    trials = sweeps.trials([other], batches=(1,))
    strange = sweeps.make(tmp_path / "x", [sweeps.measure(t, [other]) for t in trials], [other])
    ran = ovtool("compare", old, strange)
    assert ran.status == 2
    assert all(name in ran.errors[0] for name in ("fp32", "int8", "int8-weights", "other", "CPU"))
    failed = [sweeps.failed(t, "boom") for t in sweeps.trials(batches=(1, 2))]
    assert ovtool("compare", old, sweeps.make(tmp_path / "f", failed)).status == 4
