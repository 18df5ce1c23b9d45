"""The Python program of a choice."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from ovtool.core.notes import make_note
from ovtool.core.ports import Preprocessing
from ovtool.core.sweep_folder import PlannedVariant
from ovtool.core.trial import Trial
from ovtool.datasets.image_transform import load_image, make_transform
from ovtool.results.table import load_results
from ovtool.selection.choice import choose_from
from ovtool.selection.snippet import NO_PREPROCESSING
from tests.helpers import graphs as models
from tests.helpers import sweeps


@pytest.mark.slow
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
    assert len(names["results"]) == len(queue)
    expected = compiled([np.zeros((4, 3, height, 16), np.float32)])
    for outputs in names["results"].values():
        np.testing.assert_allclose(outputs[0], expected[0], rtol=1e-4)


def make_snippet(folder, made, row=None, *, notes=(), **changes):
    """Return the program of a trial of a variant; ``row`` has figures of the row."""
    script = sweeps.Model("small", made.model_mib, {"default": 1.0})
    trial = Trial(made.id, "small", "CPU", **{"batch": 1, "hint": "latency", **changes})
    measured = sweeps.measure(replace(trial, variant=script.id), [script])
    measured = replace(measured, figures={**measured.figures, **(row or {})})
    planned = PlannedVariant(
        name="small", folder=str(made.folder), model_mib=1.0, compressed=False, notes=notes
    )
    sweeps.make(folder, [replace(measured, trial=trial)], [script], variants={made.id: planned})
    return choose_from(load_results([folder])).snippet


def ran(program, *arguments):
    """Run a program in a process; return its names."""
    names = {}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "argv", ["program.py", *map(str, arguments)])
        exec(compile(program, "snippet", "exec"), names)
    return names


@pytest.mark.slow
@pytest.mark.parametrize("requests", [1, 3])
def test_program_runs_inferences_one_at_a_time_or_in_a_queue(tmp_path, capsys, requests):
    made = models.save(tmp_path / "small", models.convolutional())
    names = ran(make_snippet(tmp_path / "s", made, {"requests": requests}))
    assert ("queue" in names) == (requests > 1)
    results = names["results"]
    assert sorted(results) == list(range(requests))
    expected = names["compiled"]([np.zeros((1, 3, 16, 16), np.float32)])[0]
    for (outputs,) in results.values():
        np.testing.assert_allclose(outputs, expected, rtol=1e-4)
    assert len(capsys.readouterr().out.splitlines()) == requests


@pytest.mark.slow
def test_program_gives_open_dimensions_the_measured_sizes(tmp_path):
    made = models.save(tmp_path / "small", models.convolutional())
    shapes = {"shapes": (("x", (-1, 3, -1, -1)),), "data_shapes": (("x", (2, 3, 20, 18)),)}
    names = ran(make_snippet(tmp_path / "s", made, batch=2, **shapes))
    assert names["inputs"][0].shape == (2, 3, 20, 18)
    assert names["compiled"].input(0).partial_shape.is_dynamic
    assert len(names["results"][0][0]) == 2


@pytest.mark.slow
@pytest.mark.parametrize("notes", [(), (make_note("images-stretched", "x"),)])
@pytest.mark.parametrize(
    "steps",
    [
        Preprocessing(size=(16, 16), channels="BGR", mean=(10, 20.5, 30), scale=(40,)),
        Preprocessing(resize="crop", mean=(127.123456789,), scale=(64, 65, 66)),
        Preprocessing(resize="crop", crop_fraction=1.0),
        Preprocessing(resize="stretch", channels="RGB"),
    ],
)
def test_program_reads_images_as_the_sweep_did(tmp_path, steps, notes):
    made = models.save(tmp_path / "small", models.convolutional(), preprocessing=steps)
    names = ran(make_snippet(tmp_path / "s", made, notes=notes))
    assert not names["inputs"][0].any()
    transform = make_transform(made.record.inputs, steps, located=bool(notes))
    rng = np.random.default_rng(1)
    for number, size in enumerate([(16, 16), (31, 20), (17, 40)]):
        path = tmp_path / f"{number}.png"
        Image.fromarray(rng.integers(0, 256, (*size, 3)).astype(np.uint8)).save(path)
        np.testing.assert_allclose(names["read_image"](path), load_image(path, transform),
                                   rtol=1e-5, atol=1e-5)  # fmt: skip
    filled = ran(make_snippet(tmp_path / "t", made, notes=notes), path)
    np.testing.assert_allclose(filled["inputs"][0][0], load_image(path, transform),
                               rtol=1e-5, atol=1e-5)  # fmt: skip
    assert len(filled["results"][0]) == len(filled["compiled"].outputs)


@pytest.mark.slow
def test_program_says_that_no_preprocessing_is_recorded(tmp_path):
    made = models.save(tmp_path / "small", models.convolutional())
    noted = make_snippet(tmp_path / "s", made, notes=(make_note("no-preprocessing", "x"),))
    assert NO_PREPROCESSING in noted
    assert "read_image" in ran(noted)
    plain = make_snippet(tmp_path / "t", made)
    assert NO_PREPROCESSING not in plain
    assert "read_image" not in ran(plain)
