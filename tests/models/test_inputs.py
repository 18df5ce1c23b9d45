import numpy as np
import openvino as ov
import pytest
from openvino import opset15 as op

from ovtool.core.errors import InputError
from ovtool.models.check_inputs import random_inputs
from ovtool.models.convert import convert
from ovtool.models.inputs import reject_text
from tests.helpers.graphs import ROWS, embedding

SHAPES = {"ids": (4, 200), "mask": (4, 200)}


def test_random_inputs_cover_the_table_and_both_mask_values():
    made = random_inputs(embedding(), SHAPES, seed=0)
    assert set(np.unique(made["ids"])) == set(range(ROWS))
    assert set(np.unique(made["mask"])) == {0, 1}
    assert {name: (array.shape, str(array.dtype)) for name, array in made.items()} == {
        name: (shape, "int64") for name, shape in SHAPES.items()
    }


def test_random_inputs_are_seeded():
    one, same, other = (random_inputs(embedding(), SHAPES, seed)["ids"] for seed in (1, 1, 2))
    assert (one == same).all()
    assert (one != other).any()


def test_type_without_numpy_equivalent_raises():
    x = op.parameter([2], ov.Type.bf16, name="x")
    x.output(0).set_names({"x"})
    with pytest.raises(InputError, match=r"input x.*bf16"):
        random_inputs(ov.Model([op.result(op.relu(x))], [x], "m"), {"x": (2,)}, 0)


@pytest.mark.slow
def test_text_model_keeps_dynamic_dimensions(tmp_path):
    ov.save_model(embedding(), tmp_path / "text.xml")
    variant = convert(tmp_path / "text.xml", out=tmp_path / "out")
    assert variant.record.batch == "dynamic"
    assert [port.shape for port in variant.record.inputs] == [(-1, -1)] * 2
    assert "ids 2x8, mask 2x8" in variant.record.check.inputs


def test_text_is_refused_by_the_name_of_the_port():
    text = op.parameter([2], ov.Type.string, name="words")
    text.output(0).set_names({"words"})
    with pytest.raises(InputError, match="'words'") as caught:
        reject_text(ov.Model([op.result(text)], [text], "labels"))
    assert caught.value.hint
