"""The Python program of a choice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ovtool.core.notes import make_note
from ovtool.core.ports import Preprocessing
from ovtool.core.sweep_folder import PlannedVariant
from ovtool.core.trial import Trial
from ovtool.results.table import load_results
from ovtool.selection.choice import choose_from
from ovtool.selection.snippet import NO_PREPROCESSING
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


@pytest.mark.slow
def test_snippet_states_the_preprocessing_of_images(tmp_path):
    steps = Preprocessing(size=(16, 16), channels="BGR", mean=(10, 20, 30), scale=(40,))
    made = models.save(tmp_path / "small", models.convolutional(), preprocessing=steps)
    script = sweeps.Model("small", made.model_mib, {"default": 1.0})
    trial = Trial(made.id, "small", "CPU", 1, hint="latency")
    measured = sweeps.measure(replace(trial, variant=script.id), [script])

    def snippet(*notes):
        variant = PlannedVariant(
            name="small", folder=str(made.folder), model_mib=1.0, compressed=False, notes=notes
        )
        rows = [replace(measured, trial=trial)]
        folder = tmp_path / f"s{len(notes)}"
        sweeps.make(folder, rows, [script], variants={made.id: variant})
        return choose_from(load_results([folder])).snippet

    assert "BGR" in snippet()
    assert "[10.0, 20.0, 30.0]) / [40.0]" in snippet()
    assert NO_PREPROCESSING in snippet(make_note("no-preprocessing", "x"))
    assert NO_PREPROCESSING not in snippet()
    assert "resized by crop" in snippet()
    assert "resized by stretch" in snippet(make_note("images-stretched", "x"))
