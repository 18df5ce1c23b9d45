import math
import re
import tokenize
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ovtool.core import units
from ovtool.core.errors import InputError
from ovtool.core.units import UNKNOWN, duration, interval_text, mib, percentages, shortened, text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0123456, "0.0123"),
        (1234.5, "1234"),
        (99.96, "100.0"),
        (2.0, "2.00"),
        (-0.5, "-0.500"),
        (0.0, "0"),
        (7, "7"),
        ("bf16", "bf16"),
        (None, UNKNOWN),
        (math.nan, UNKNOWN),
        (math.inf, "inf"),
    ],
)
def test_values_as_text(value, shown):
    assert text(value) == shown


@given(st.floats(1e-6, 1e6), st.integers(2, 6))
def test_text_keeps_the_significant_digits(value, digits):
    assert float(text(value, digits)) == pytest.approx(value, rel=10.0 ** (1 - digits))


def test_an_interval_has_the_decimals_of_its_value():
    assert interval_text(2.345, 2.31, 2.4) == "2.35 [2.31, 2.40]"
    assert interval_text(190.4, 188.26, 192.9) == "190 [188, 193]"


def test_close_limits_get_more_decimals():
    assert interval_text(0.0, 0.0, 0.161) == "0.00 [0.00, 0.16]"
    assert interval_text(905.4, 905.1, 905.3) == "905.40 [905.10, 905.30]"


@given(st.floats(0, 1e9), st.floats(0, 1e9), st.floats(1e-9, 1e9))
def test_different_limits_have_different_texts(value, low, width):
    assume(low + width > low)
    shown = interval_text(value, low, low + width).partition("[")[2].rstrip("]").split(", ")
    assert float(shown[0]) < float(shown[1])


@pytest.mark.parametrize(
    ("value", "low", "high", "shown"),
    [(None, 1.0, 2.0, "-"), (1.5, None, 2.0, "1.50"), (1.5, math.nan, math.nan, "1.50")],
)
def test_an_unknown_interval_is_omitted(value, low, high, shown):
    assert interval_text(value, low, high) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.2, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s"),
        (3599.7, "1 h 00 min"), (7800, "2 h 10 min"),
    ],
)  # fmt: skip
def test_durations(seconds, shown):
    assert duration(seconds) == shown


def test_mebibytes():
    assert mib(3 * 1024 * 1024) == 3


@pytest.mark.parametrize(("unit", "shown"), [("%", "2.5%"), ("ms", "2.5 ms"), ("", "2.5")])
def test_a_unit_has_a_space_before_it_except_percent(unit, shown):
    assert units.with_unit("2.5", unit) == shown


ROOT = Path(__file__).parents[2]
SPACED_PERCENT = re.compile(r"(?<=[0-9})])[ \u00a0\u202f]%(?![\w%(}])")


def texts(path):
    """Return the strings of a Python file, or the whole text of another one."""
    if path.suffix != ".py":
        return [path.read_text(encoding="utf-8")]
    with path.open(encoding="utf-8") as file:
        tokens = list(tokenize.generate_tokens(file.readline))
    return [token.string for token in tokens if token.type == tokenize.STRING]


@pytest.mark.slow
def test_percentages_are_written_without_a_space():
    pages = [*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")]
    sources = [p for kind in ("py", "j2", "js") for p in (ROOT / "ovtool").rglob(f"*.{kind}")]
    assert len(pages) > 10
    assert len(sources) > 100
    spaced = [p.name for p in (*pages, *sources) if any(map(SPACED_PERCENT.search, texts(p)))]
    assert spaced == []
    assert SPACED_PERCENT.search("5" + " %")


def test_shares_as_percentages():
    assert percentages({"i8": 0.984, "bf16": 0.016}) == "i8 98.4%, bf16 1.60%"
    assert percentages({"f32": 1}) == "f32 100%"
    assert percentages({}) == ""


@given(st.text(st.characters(exclude_characters="…"), max_size=40), st.integers(1, 45))
def test_a_shortened_name_fits_and_keeps_both_ends(name, width):
    short = shortened(name, width)
    assert len(short) <= width
    if len(name) <= width:
        assert short == name
    else:
        start, _, end = short.partition("…")
        assert name.startswith(start)
        assert name.endswith(end)
        assert len(short) == width


@pytest.mark.slow
@given(
    value=st.floats(1e-3, 1e6),
    prefix=st.sampled_from(["", "K", "M", "G", "T", "P"]),
    unit=st.sampled_from(["FLOPS", "flops", "FLOP/s"]),
)
def test_speeds_are_parsed_with_their_prefix(value, prefix, unit):
    scale = 10 ** (3 * ["", "K", "M", "G", "T", "P"].index(prefix))
    assert units.parse_speed(f"{value!r} {prefix}{unit}") == pytest.approx(value * scale)


@pytest.mark.parametrize("written", ["4", "TFLOPS", "4 TFLOP", "-1GFLOPS", "0FLOPS", "nanTFLOPS"])
def test_an_invalid_speed_is_reported(written):
    with pytest.raises(InputError, match=written):
        units.parse_speed(written)
