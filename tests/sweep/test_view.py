"""The lines of a sweep."""

import pytest

from ovtool.sweep.view import outcome_text
from tests.helpers import sweeps


@pytest.fixture
def trial():
    return sweeps.trials()[0]


def test_a_failed_trial_is_a_line_with_its_reason(trial):
    line = outcome_text(sweeps.failed(trial, "out of memory"))
    assert line.startswith("fp32 f32 CPU batch 1 latency: ")
    assert line.endswith("out of memory")


def test_a_measured_trial_is_a_line_with_its_figures_and_verdict(trial):
    line = outcome_text(sweeps.contended(sweeps.measure(trial)))
    assert line.startswith("fp32 f32 CPU batch 1 latency: p50 7.20 ms, ")
    assert line.endswith("contended")
