import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovtool.core.errors import InputError
from ovtool.core.shapes import (
    parse_named,
    parse_named_shapes,
    parse_shape,
    port_name,
    shape_sets,
    shape_text,
    shapes_text,
)

sizes = st.integers(1, 2**31 - 1) | st.just(-1)
shapes = st.lists(sizes, min_size=1, max_size=4).map(tuple)
names = st.text(min_size=1).map(str.strip).filter(bool)


@given(st.lists(sizes, min_size=1, max_size=6))
def test_shape_text_is_parsed_back(shape):
    assert parse_shape(shape_text(shape)) == tuple(shape)


@given(st.text(max_size=12))
def test_any_text_gives_a_shape_or_an_input_error(text):
    with contextlib.suppress(InputError):
        assert all(size == -1 or size > 0 for size in parse_shape(text))


@pytest.mark.parametrize("text", ["", "1x", "x1", "0x3", "1x-2", "1,3", "1x3.5", "1xx2", "1٣"])
def test_an_invalid_shape_is_reported(text):
    with pytest.raises(InputError, match=re.escape(repr(text))):
        parse_shape(text)


def test_open_dimensions_have_two_spellings():
    assert parse_shape("1x3x?X-1") == (1, 3, -1, -1)


@given(names, shapes)
def test_any_name_is_parsed(name, shape):
    text = f"{name}={shape_text(shape)}"
    assert parse_named_shapes([text]) == {name: shape}


@pytest.mark.parametrize("texts", [["x"], ["=NCHW"], ["x="], ["x=a", "x=b"]])
def test_an_invalid_pair_names_the_option(texts):
    with pytest.raises(InputError, match="--layout"):
        parse_named(texts, "--layout")


def test_shapes_as_text():
    assert shapes_text((("ids", (1, 128)), ("mask", (-1, 128)))) == "ids=1x128 mask=?x128"
    assert shapes_text(()) == ""


@given(st.dictionaries(names, st.lists(shapes, min_size=2, max_size=2), max_size=3))
def test_shapes_with_the_same_index_form_a_set(pairs):
    expected = [{name: pair[index] for name, pair in pairs.items()} for index in (0, 1)]
    assert list(shape_sets(pairs)) == (expected if pairs else [])


def test_a_single_shape_is_in_every_set():
    assert shape_sets({"ids": [(1, 128), (1, 256)], "scale": [(1,)]}) == (
        {"ids": (1, 128), "scale": (1,)},
        {"ids": (1, 256), "scale": (1,)},
    )


def test_different_numbers_of_shapes_are_refused():
    with pytest.raises(InputError, match="ids has 2, mask has 3"):
        shape_sets({"ids": [(1,), (2,)], "mask": [(1,), (2,), (3,)]})


def test_a_port_has_its_first_name_or_its_index():
    assert port_name({"b", "a"}, "input", 3) == "a"
    assert port_name(set(), "input", 3) == "input_3"
