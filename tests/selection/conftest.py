"""A table with figures of memory and energy."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ovtool.results.table import load_results
from tests.helpers import sweeps


def with_figures(**figures):
    """Rows of the script, the figures those of a function of the trial."""
    made = []
    for trial in sweeps.trials():
        one = sweeps.measure(trial)
        more = {name: of(trial) for name, of in figures.items()}
        made.append(replace(one, figures={**one.figures, **more}))
    return made


@pytest.fixture(scope="module")
def limited_table(tmp_path_factory):
    made = with_figures(
        peak_rss_mib=lambda t: 100.0 + 10 * t.batch, energy_mj_per_sample=lambda t: 80.0 / t.batch
    )
    return load_results([sweeps.make(tmp_path_factory.mktemp("l") / "s", made)])
