from dataclasses import replace
from pathlib import Path

import pytest

from ovtool.benchmark.jobs import build_job
from ovtool.benchmark.session import TrialFailedError
from ovtool.core.trial import Trial
from ovtool.core.variant import Port, Source, Variant, VariantRecord

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
def test_the_batch_goes_where_the_layout_says(given, shape, axis):
    made = build_job(TRIAL, variant(given), {"A": "B"}, Path("in.npz"))
    assert (made.shapes, made.batch_axes, made.names) == ((shape,), (axis,), ("x",))
    assert (made.trial, made.xml, made.properties) == (TRIAL, Path("net/model.xml"), {"A": "B"})
    assert made.inputs == Path("in.npz")


def test_an_input_without_a_batch_keeps_its_shape_beside_one_with():
    inputs = port(-1, 3, layout="NC"), port(2, name="scale", layout="C")
    made = build_job(TRIAL, variant(*inputs), {})
    assert made.shapes == ((4, 3), (2,))
    assert made.batch_axes == (0, None)


def test_a_fixed_batch_fails_with_the_reason_that_conversion_gave():
    fixed = variant(port(1, 3, layout="NC"), batch="static", note="a Reshape bakes it in")
    with pytest.raises(TrialFailedError) as caught:
        build_job(TRIAL, fixed, {})
    assert str(caught.value) == (
        "the batch of net is fixed at 1, asked for 4: a Reshape bakes it in"
    )
    assert build_job(replace(TRIAL, batch=1), fixed, {}).shapes == ((1, 3),)


def test_a_first_dimension_of_one_counts_as_one_sample():
    single = variant(port(1, 3), batch="static")
    assert build_job(replace(TRIAL, batch=1), single, {}).batch_axes == (0,)


@pytest.mark.parametrize("batch", [1, 8])
def test_samples_are_not_counted_where_the_batch_dimension_is_not_known(batch):
    unknown = variant(port(8, 3), batch="static")
    with pytest.raises(TrialFailedError, match="the batch dimension of net is not known") as e:
        build_job(replace(TRIAL, batch=batch), unknown, {})
    assert "(--layout x=N?)" in str(e.value)
    assert "(--layout x=??)" in str(e.value)


def test_a_model_without_a_batch_takes_one_sample():
    without = variant(port(8, 3, layout="??"), batch="static")
    assert build_job(replace(TRIAL, batch=1), without, {}).batch_axes == (None,)
    with pytest.raises(TrialFailedError, match="batch 4 is impossible"):
        build_job(TRIAL, without, {})


def test_a_dimension_that_stays_open_says_how_to_fix_it():
    with pytest.raises(TrialFailedError, match="dimension 2 of input x is open") as caught:
        build_job(TRIAL, variant(port(-1, 3, -1, layout="NCH")), {})
    assert "--shape x=?x3x?" in str(caught.value)


def test_a_shape_that_was_given_fixes_what_is_open():
    trial = replace(TRIAL, shapes=(("x", (-1, 3, 16)),))
    open_one = variant(port(-1, 3, -1, layout="NCH"))
    assert build_job(trial, open_one, {}).shapes == ((4, 3, 16),)


def test_a_shape_of_another_rank_is_refused():
    trial = replace(TRIAL, shapes=(("x", (-1, 3)),))
    with pytest.raises(TrialFailedError, match="has 3 dimensions, the shape given has 2"):
        build_job(trial, variant(port(-1, 3, -1, layout="NCH")), {})


def test_a_shape_whose_batch_is_another_is_refused():
    trial = replace(TRIAL, shapes=(("x", (2, 3)),))
    with pytest.raises(TrialFailedError, match="2x3 of input x fixes the batch at 2, asked for 4"):
        build_job(trial, variant(port(-1, 3, layout="NC")), {})


TEXT = variant(port(-1, -1, layout="NC", name="ids"), port(-1, -1, layout="NC", name="mask"))


def with_data(shapes=(), **data_shapes):
    return replace(TRIAL, shapes=shapes, data_shapes=tuple(data_shapes.items()))


def test_without_data_shapes_what_is_compiled_is_inferred():
    made = build_job(replace(TRIAL, shapes=(("ids", (4, 16)), ("mask", (-1, 16)))), TEXT, {})
    assert made.shapes == made.data_shapes == ((4, 16), (4, 16))


def test_with_data_shapes_open_dimensions_stay_open():
    made = build_job(with_data(ids=(4, 100), mask=(-1, 100)), TEXT, {})
    assert made.shapes == ((-1, -1), (-1, -1))
    assert made.data_shapes == ((4, 100), (4, 100))


def test_data_shapes_fill_what_the_shape_leaves_open():
    shapes = (("ids", (4, -1)), ("mask", (-1, 100)))
    made = build_job(with_data(shapes, ids=(-1, 100)), TEXT, {})
    assert made.shapes == ((4, -1), (-1, 100))
    assert made.data_shapes == ((4, 100), (4, 100))


@pytest.mark.parametrize(
    ("model", "trial", "said"),
    [
        (TEXT, with_data(ids=(4, 100)), "dimension 1 of input mask is open: .* mask=?x?, a"),
        (TEXT, with_data(ids=(4, -1), mask=(4, 9)), "dimension 1 of input ids is open"),
        (TEXT, with_data(ids=(4, 9, 1)), "input ids has 2 dimensions, the data shape given has 3"),
        (
            TEXT,
            with_data((("ids", (-1, 64)),), ids=(4, 100), mask=(4, 100)),
            "the data shape 4x100 does not fit input ids ?x64: its dimension 1 is fixed at 64",
        ),
        (TEXT, with_data(ids=(4, 9), mask=(2, 9)), "2x9 of input mask has batch 2, asked for 4"),
        (
            TEXT,
            with_data((("ids", (8, -1)),), ids=(4, 9), mask=(4, 9)),
            "the shape 8x? of input ids fixes the batch at 8, asked for 4",
        ),
        (
            variant(port(1, -1, layout="NC"), batch="static"),
            with_data(x=(4, 9)),
            "the batch of net is fixed at 1, asked for 4",
        ),
        (variant(port(-1, -1)), with_data(x=(4, 9)), "the batch dimension of net is not known"),
    ],
)
def test_a_data_shape_that_does_not_fit_says_which(model, trial, said):
    with pytest.raises(TrialFailedError, match=said.replace("?", r"\?")):
        build_job(trial, model, {})
