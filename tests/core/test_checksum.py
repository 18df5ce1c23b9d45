"""A flipped bit in a JSON document is an error."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovtool.core.checksum import KEY, add_checksum, verify_checksum
from ovtool.core.errors import InputError

documents = st.dictionaries(
    st.text().filter(lambda key: key != KEY), st.integers() | st.text() | st.none(), min_size=1
)


@given(documents, st.sampled_from([None, 1, 2]))
def test_a_document_is_the_same_after_it_was_verified(document, indent):
    content = add_checksum(json.dumps(document, indent=indent))
    assert list(json.loads(content))[-1] == KEY
    assert json.loads(verify_checksum(content, "f")) == document
    assert verify_checksum(verify_checksum(content, "f"), "f") == verify_checksum(content, "f")


def test_every_flipped_bit_is_an_error_or_another_key():
    document = {"a": 1, "b": [0.25, "text"]}
    content = add_checksum(json.dumps(document, indent=1))
    for place in range(len(content)):
        for bit in range(8):
            flipped = content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]
            try:
                found = json.loads(verify_checksum(flipped, "the file"))
            except InputError as error:
                assert "the file" in f"{error}"  # noqa: PT017 - or it is no document
            except ValueError:
                continue
            else:
                assert found == document or len(found) == 3  # a key that no record has


def test_the_hint_says_what_to_do():
    with pytest.raises(InputError) as caught:
        verify_checksum(add_checksum('{"a": 1}').replace(b"1", b"2", 1), "f", "do this")
    assert caught.value.hint == "do this"
