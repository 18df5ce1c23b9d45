"""Field types of models that users write, and the messages for their mistakes."""

from typing import Annotated

import pytest
from pydantic import ValidationError

from ovtool.core.errors import InputError
from ovtool.core.fields import (
    Count,
    NotEmpty,
    ParsedShape,
    Positive,
    Record,
    ShapeSets,
    option_field,
    validated,
)


class Example(Record):
    count: Count = 1
    speed: Positive = 1.0
    names: Annotated[tuple[str, ...], NotEmpty] = ("a",)
    shape: ParsedShape = (1,)
    shapes: ShapeSets = option_field("Panel", "SHAPE", {}, "Shapes.", flag="--shape")


@pytest.mark.parametrize("shape", ["?x128", [-1, 128], ["?", 128]])
def test_shape_is_text_or_a_list(shape):
    assert Example(shape=shape).shape == (-1, 128)
    assert Example(shapes={"x": shape}).shapes == {"x": ((-1, 128),)}


def test_several_shapes_are_a_list():
    assert Example(shapes={"x": ["1x8", [1, 16]]}).shapes == {"x": ((1, 8), (1, 16))}


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({"count": 0}, ("count", "0")),
        ({"count": True}, ("count", "True")),
        ({"speed": 0}, ("speed", "0")),
        ({"speed": float("inf")}, ("speed", "inf")),
        ({"names": ()}, ("names",)),
        ({"names": 5}, ("names", "5")),
        ({"shape": {"?x128": None}}, ("shape", '"?x128"')),
        ({"shape": "axb"}, ("shape", "axb")),
        ({"shapes": {"x": ["1x1", "1x2"], "y": ["1x1", "1x2", "1x3"]}}, ("--shape", "x", "y")),
        ({"unknown": 1}, ("unknown",)),
    ],
)
def test_mistake_names_the_field_and_the_value(values, names):
    with pytest.raises(InputError) as caught:
        validated(Example, values, {"shapes": "--shape"})
    assert all(name in str(caught.value) for name in names)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValidationError):
        Example(**values)


def test_valid_values_give_the_model():
    assert validated(Example, {"count": 3}) == Example(count=3)


def test_option_has_its_panel_and_flag():
    field = Example.model_fields["shapes"]
    assert field.description == "Shapes."
    assert field.json_schema_extra["flag"] == "--shape"
    assert field.json_schema_extra["panel"] == "Panel"
