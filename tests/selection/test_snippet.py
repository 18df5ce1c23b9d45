"""The Python program of a choice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ovtool.core.sweep_folder import PlannedVariant
from ovtool.core.trial import Trial
from ovtool.results.table import load_results
from ovtool.selection.choice import choose_from
from tests.helpers import graphs as models
from tests.helpers import sweeps


@pytest.mark.parametrize("here", [True, False])
@pytest.mark.parametrize("shapes", [(), (("x", (-1, 3, 24, 16)),)])
def test_snippet_compiles_the_measured_model(tmp_path, here, shapes):
    made = models.save(tmp_path / "small", models.convolutional())
    trial = Trial(made.id, "small", "CPU", 4, hint="throughput", shapes=shapes)
    script = sweeps.Model("small", made.model_mib, {"default": 1.0})
    measured = sweeps.measure(replace(trial, variant=script.id), [script])
    folder = sweeps.make(
        tmp_path / "s",
        [replace(measured, trial=trial)],
        [script],
        variants={
            made.id: PlannedVariant(
                name="small", folder=str(made.folder), model_mib=1.0, compressed=False
            )
        },
    )
    if not here:
        (made.folder / "variant.json").unlink()
    choice = choose_from(load_results([folder]))
    names = {}
    exec(compile(choice.snippet, "snippet", "exec"), names)
    compiled, queue = names["compiled"], names["queue"]
    height = 24 if shapes else 16
    assert list(compiled.input(0).shape) == [4, 3, height, 16]
    hint = compiled.get_property("PERFORMANCE_HINT")
    assert hint == "THROUGHPUT"
    assert len(queue) == choice.winner["requests"]
    queue.start_async({0: np.zeros((4, 3, height, 16), np.float32)})
    queue.wait_all()
