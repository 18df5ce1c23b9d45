"""What a virtual device came to is shown beside its name."""

import pytest

from ovtool.report.summary import summarize_table
from ovtool.results.table import load_results
from ovtool.selection import choice
from tests.helpers import sweeps

DEVICE = "AUTO:GPU,CPU"


def loaded(tmp_path, ran_on, precision_ran_on=None):
    """A sweep of one virtual device; f32 rows may have run on another one."""
    trials = sweeps.trials(models=(sweeps.FP32,), batches=(1,), devices=(DEVICE,))
    made = [
        sweeps.measure(
            trial, ran_on=precision_ran_on if trial.precision == "f32" else ran_on
        )
        for trial in trials
    ]  # fmt: skip
    return load_results([sweeps.make(tmp_path / "s", made)])


def test_a_fallback_is_named_and_warned_of(tmp_path):
    found = loaded(tmp_path, "CPU", "CPU")
    assert set(found.rows["ran_on"]) == {"CPU"}
    chosen = choice.choose_from(found)
    assert f"on {DEVICE} (ran on CPU) in" in chosen.headline
    assert f"{DEVICE} (ran on CPU)" in chosen.label
    (warning,) = (w for w in chosen.explanations if w.id == "device-fallback")
    assert f"{DEVICE} ran on CPU, not on GPU" in warning.evidence
    assert all(f"{DEVICE} (ran on CPU)" in row.name for row in summarize_table(found).rows)


def test_what_ran_where_it_was_asked_is_no_fallback(tmp_path):
    chosen = choice.choose_from(loaded(tmp_path, "GPU.0", "GPU.0"))
    assert "(ran on GPU.0)" in chosen.headline
    assert "device-fallback" not in {w.id for w in chosen.explanations}


@pytest.mark.parametrize(("f32_ran_on", "known"), [("GPU.0", True), ("CPU", False), (None, True)])
def test_rows_of_two_devices_are_no_speedup(tmp_path, f32_ran_on, known):
    found = loaded(tmp_path, "GPU.0", f32_ran_on).rows
    default = found[found["precision"] == "default"]
    assert default["speedup_f32_x"].notna().all() == known
