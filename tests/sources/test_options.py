import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ovtool.errors import InputError
from ovtool.sources.options import (
    SourceOptions,
    filled,
    parse_named,
    parse_named_shapes,
    parse_shape,
    shape_text,
)

sizes = st.integers(1, 10**12 - 1) | st.just(-1)


@given(st.lists(sizes, min_size=1, max_size=6))
def test_a_shape_is_read_as_it_is_written(shape):
    assert parse_shape(shape_text(shape)) == tuple(shape)


@given(st.text(max_size=12))
def test_any_other_text_is_refused(text):
    with contextlib.suppress(InputError):
        assert all(size == -1 or size > 0 for size in parse_shape(text))


@pytest.mark.parametrize("text", ["", "1x", "x1", "0x3", "1x-2", "1,3", "1x3.5", "1xx2", "1٣"])
def test_what_is_not_a_shape(text):
    with pytest.raises(InputError, match="not a shape"):
        parse_shape(text)


def test_open_dimensions_are_written_two_ways():
    assert parse_shape("1x3x?X-1") == (1, 3, -1, -1)


@given(st.text(min_size=1).map(str.strip).filter(bool), st.lists(sizes, min_size=1, max_size=4))
def test_a_name_may_hold_anything(name, shape):
    assert parse_named_shapes([f"{name}={shape_text(shape)}"]) == {name: tuple(shape)}


@pytest.mark.parametrize("texts", [["x"], ["=NCHW"], ["x="], ["x=a", "x=b"]])
def test_what_is_not_name_and_value(texts):
    with pytest.raises(InputError, match="--layout"):
        parse_named(texts, "--layout")


def test_open_dimensions_are_filled_for_a_run():
    assert filled((-1, 3, -1, -1)) == (1, 3, 64, 64)
    assert filled((-1, -1), batch_axis=1) == (8, 1)


def test_a_misspelt_or_senseless_option_is_refused():
    with pytest.raises(ValidationError):
        SourceOptions.model_validate({"shapes": {}})
    with pytest.raises(ValidationError):
        SourceOptions(tolerance=-1)
