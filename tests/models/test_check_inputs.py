import numpy as np
import openvino as ov
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openvino import opset15 as op

from ovtool.models.check_inputs import FIRST, FURTHER, SMALL, CheckInputs, Variation, padding_mask
from tests.helpers.graphs import embedding

SHAPES = {"ids": (4, 20), "mask": (4, 20)}


@given(
    st.lists(st.integers(1, 9), max_size=4).map(tuple),
    st.sampled_from(["tail", "head", "ones"]),
    st.integers(0, 9),
)
def test_every_row_of_a_mask_has_a_one_and_only_one_change(shape, kind, seed):
    mask = padding_mask(shape, kind, np.random.default_rng(seed))
    assert mask.shape == shape
    rows = mask.reshape(-1, shape[-1]) if shape else mask.reshape(1, 1)
    assert (rows.max(-1) == 1).all()
    steps = np.diff(rows, axis=-1)
    assert (steps <= 0).all() if kind == "tail" else (steps >= 0).all()
    if kind != "ones" and shape and shape[-1] > 1:
        assert (rows.min(-1) == 0).all()


def test_variations_differ_in_masks_and_values():
    inputs = CheckInputs(embedding(), 0, {})
    drawn = [inputs.draw(SHAPES, variation) for variation in (*FIRST, *FURTHER)]
    assert [one["mask"][0, [0, -1]].tolist() for one in drawn[:3]] == [[1, 0], [1, 1], [0, 1]]
    assert all((drawn[0]["ids"] != other["ids"]).any() for other in drawn[1:])


def wide_model():
    flag, ids, x = (
        op.parameter([-1, 3], kind, name=name)
        for name, kind in (("flag", ov.Type.boolean), ("ids", ov.Type.i64), ("x", ov.Type.f32))
    )
    scalar = op.parameter([], ov.Type.f32, name="rate")
    for port in (flag, ids, x, scalar):
        port.output(0).set_names({port.get_friendly_name()})
    total = op.multiply(op.add(op.convert(ids, "f32"), x), scalar)
    chosen = op.select(flag, total, x)
    return ov.Model([op.result(chosen)], [flag, ids, x, scalar], "m")


def test_unlimited_integers_are_large_and_fixed_values_fill():
    shapes = {"flag": (2, 3), "ids": (200, 3), "x": (2, 3), "rate": ()}
    inputs = CheckInputs(wide_model(), 0, {"rate": 16000})
    assert inputs.wide == {"ids": 2**62}
    drawn = inputs.draw(shapes, Variation())
    assert SMALL // 2 < drawn["ids"].max() <= SMALL
    assert (drawn["rate"].shape, float(drawn["rate"])) == ((), 16000)
    wide = inputs.draw(shapes, Variation(), {"ids": (0, 2**62)})
    assert wide["ids"].max() > 2**60
    assert all(isinstance(array, np.ndarray) for array in drawn.values())
    assert CheckInputs(wide_model(), 0, {"ids": 3, "rate": 1}).wide == {}


@pytest.mark.parametrize("variation", FURTHER)
def test_further_real_values_cover_other_ranges(variation):
    shapes = {"flag": (2, 3), "ids": (2, 3), "x": (500, 3), "rate": ()}
    x = CheckInputs(wide_model(), 0, {}).draw(shapes, variation)["x"]
    assert np.isfinite(x).all()
    assert x.std() > 0
    if variation.real == "negative":
        assert (x < 0).all()
