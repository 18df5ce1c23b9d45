from dataclasses import replace
from pathlib import Path

import pytest

from ovtool.benchmark.jobs import build_job
from ovtool.benchmark.session import TrialFailedError
from ovtool.core.ports import Port
from ovtool.core.trial import Trial
from ovtool.core.variant import Source, Variant, VariantRecord

TRIAL = Trial("v", "net", "CPU", 4)


def variant(*inputs, batch="dynamic", note=""):
    record = VariantRecord(
        name="net",
        source=Source(kind="test", reference="net"),
        inputs=inputs,
        outputs=(),
        batch=batch,
        batch_note=note,
        sha256="0" * 64,
        xml_bytes=1,
        bin_bytes=1,
        created="",
        versions={},
    )
    return Variant(Path("net"), record)


def port(*shape, layout=None, name="x"):
    return Port(name=name, shape=shape, dtype="f32", layout=layout)


@pytest.mark.parametrize(
    ("given", "shape", "axis"),
    [
        (port(-1, 3, 8, layout="NCH"), (4, 3, 8), 0),
        (port(3, -1, layout="CN"), (3, 4), 1),
        (port(4, 3, layout="NC"), (4, 3), 0),
    ],
)
def test_batch_is_in_the_dimension_of_the_layout(given, shape, axis):
    job = build_job(TRIAL, variant(given), {"A": "B"}, Path("in.npz"))
    assert (job.shapes, job.batch_axes, job.names) == ((shape,), (axis,), ("x",))
    assert (job.trial, job.xml, job.properties) == (TRIAL, Path("net/model.xml"), {"A": "B"})
    assert job.inputs == Path("in.npz")


def test_input_without_a_batch_keeps_its_shape():
    inputs = port(-1, 3, layout="NC"), port(2, name="scale", layout="C")
    job = build_job(TRIAL, variant(*inputs), {})
    assert job.shapes == ((4, 3), (2,))
    assert job.batch_axes == (0, None)


def test_fixed_batch_fails_with_the_batch_note():
    fixed = variant(port(1, 3, layout="NC"), batch="static", note="a Reshape bakes it in")
    with pytest.raises(TrialFailedError) as caught:
        build_job(TRIAL, fixed, {})
    for value in ("net", "1", "4", "a Reshape bakes it in"):
        assert value in str(caught.value)
    assert build_job(replace(TRIAL, batch=1), fixed, {}).shapes == ((1, 3),)


def test_first_dimension_of_one_is_the_batch():
    single = variant(port(1, 3), batch="static")
    assert build_job(replace(TRIAL, batch=1), single, {}).batch_axes == (0,)


def test_model_without_a_batch_has_one_sample():
    without = variant(port(8, 3, layout="??"), port(name="scale"), batch="none")
    assert build_job(replace(TRIAL, batch=1), without, {}).batch_axes == (None, None)
    with pytest.raises(TrialFailedError, match="batch 4") as caught:
        build_job(TRIAL, without, {})
    assert "--layout x=N?" in str(caught.value)
    tried = variant(port(8, 3, layout="??"), batch="none", note="output 'y' mixes")
    with pytest.raises(TrialFailedError, match="output 'y' mixes"):
        build_job(TRIAL, tried, {})


def test_open_dimension_fails_with_the_option():
    with pytest.raises(TrialFailedError, match="dimension 2 of input x") as caught:
        build_job(TRIAL, variant(port(-1, 3, -1, layout="NCH")), {})
    assert "--shape x=?x3x128" in str(caught.value)


def test_given_shape_fixes_open_dimensions():
    trial = replace(TRIAL, shapes=(("x", (-1, 3, 16)),))
    open_variant = variant(port(-1, 3, -1, layout="NCH"))
    assert build_job(trial, open_variant, {}).shapes == ((4, 3, 16),)


def test_shape_of_another_rank_fails():
    trial = replace(TRIAL, shapes=(("x", (-1, 3)),))
    with pytest.raises(TrialFailedError, match=r"x.* 3 .* 2"):
        build_job(trial, variant(port(-1, 3, -1, layout="NCH")), {})


def test_shape_with_another_batch_fails():
    trial = replace(TRIAL, shapes=(("x", (2, 3)),))
    with pytest.raises(TrialFailedError, match=r"2x3 .* x .*2.*4"):
        build_job(trial, variant(port(-1, 3, layout="NC")), {})


TEXT = variant(port(-1, -1, layout="NC", name="ids"), port(-1, -1, layout="NC", name="mask"))


def with_data(shapes=(), **data_shapes):
    return replace(TRIAL, shapes=shapes, data_shapes=tuple(data_shapes.items()))


def test_data_shapes_default_to_the_compiled_shapes():
    job = build_job(replace(TRIAL, shapes=(("ids", (4, 16)), ("mask", (-1, 16)))), TEXT, {})
    assert job.shapes == job.data_shapes == ((4, 16), (4, 16))


def test_open_dimensions_stay_open_with_data_shapes():
    job = build_job(with_data(ids=(4, 100), mask=(-1, 100)), TEXT, {})
    assert job.shapes == ((-1, -1), (-1, -1))
    assert job.data_shapes == ((4, 100), (4, 100))


def test_data_shapes_fill_open_dimensions_of_the_shape():
    shapes = (("ids", (4, -1)), ("mask", (-1, 100)))
    job = build_job(with_data(shapes, ids=(-1, 100)), TEXT, {})
    assert job.shapes == ((4, -1), (-1, 100))
    assert job.data_shapes == ((4, 100), (4, 100))


@pytest.mark.parametrize(
    ("model", "trial", "values"),
    [
        (TEXT, with_data(ids=(4, 100)), ("dimension 1 of input mask", "mask=?x?")),
        (TEXT, with_data(ids=(4, -1), mask=(4, 9)), ("dimension 1 of input ids",)),
        (TEXT, with_data(ids=(4, 9, 1)), ("ids", "2", "3")),
        (
            TEXT,
            with_data((("ids", (-1, 64)),), ids=(4, 100), mask=(4, 100)),
            ("4x100", "ids ?x64", "dimension 1", "64"),
        ),
        (TEXT, with_data(ids=(4, 9), mask=(2, 9)), ("2x9", "mask", "batch 2", "4")),
        (
            TEXT,
            with_data((("ids", (8, -1)),), ids=(4, 9), mask=(4, 9)),
            ("8x?", "ids", "8", "4"),
        ),
        (
            variant(port(1, -1, layout="NC"), batch="static"),
            with_data(x=(4, 9)),
            ("net", "1", "4"),
        ),
        (variant(port(9, -1, layout="??")), with_data(x=(9, 9)), ("net", "batch 4")),
    ],
)
def test_data_shape_that_does_not_fit_fails(model, trial, values):
    with pytest.raises(TrialFailedError) as caught:
        build_job(trial, model, {})
    for value in values:
        assert value in str(caught.value)
