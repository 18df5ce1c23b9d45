"""Limits of what a file may become in memory."""

import pytest

from ovtool.core import input_limits
from ovtool.core.errors import InputError
from ovtool.core.input_limits import largest_size, parse_json, require_memory


def test_half_of_the_memory_is_the_limit(monkeypatch):
    assert 0 < largest_size() < 1 << 50
    monkeypatch.setattr(input_limits, "largest_size", lambda: 1 << 30)
    require_memory(1 << 30, "a.npz")
    for size in ((1 << 30) + 1, 10**30, 2**600):
        with pytest.raises(InputError) as caught:
            require_memory(size, "a.npz")
        assert "a.npz" in f"{caught.value}"
        assert input_limits.VARIABLE in caught.value.hint
        assert len(f"{caught.value}") <= 100
        assert len(caught.value.hint) <= 100


@pytest.mark.parametrize("content", ["[" * 100_000, b'{"a":' * 100_000, "{", b"\xff"])
def test_deep_or_damaged_json_is_a_value_error(content):
    with pytest.raises(ValueError, match=r"."):
        parse_json(content)
    assert parse_json("[1]") == [1]
