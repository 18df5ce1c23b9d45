"""How users write words, shares and lists of integers."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovtool.core import notation
from ovtool.core.errors import InputError
from ovtool.core.units import LARGEST_COUNT

COUNTS = st.integers(1, LARGEST_COUNT)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("4", [4]),
        ("1,4,8-10", [1, 4, 8, 9, 10]),
        ("1-8", [1, 2, 3, 4, 5, 6, 7, 8]),
        ("1..8:3", [1, 4, 7]),
        ("1..32:x2", [1, 2, 4, 8, 16, 32]),
        ("3-20:X3", [3, 9]),
        (" 2 , 1-3 ", [2, 1, 3]),
        ("5-5", [5]),
        ("2147483646-2147483647:x2", [2147483646]),
    ],
)
def test_lists_of_integers(text, numbers):
    assert list(notation.parse_counts(text)) == numbers


@given(COUNTS, st.integers(0, 500), st.integers(1, 50), st.sampled_from(["-", ".."]))
def test_a_range_has_every_step_up_to_its_end(first, width, step, sign):
    last = min(first + width, LARGEST_COUNT)
    numbers = notation.parse_counts(f"{first}{sign}{last}:{step}")
    assert numbers == tuple(n for n in range(first, last + 1) if (n - first) % step == 0)


@given(COUNTS, COUNTS, st.integers(2, LARGEST_COUNT))
def test_a_factor_multiplies_up_to_the_end(first, last, factor):
    first, last = sorted((first, last))
    numbers = notation.parse_counts(f"{first}..{last}:x{factor}")
    assert numbers[0] == first
    assert all(b == a * factor for a, b in itertools.pairwise(numbers))
    assert numbers[-1] <= last < numbers[-1] * factor


@given(st.lists(COUNTS, min_size=1, max_size=50))
def test_a_list_keeps_its_order_and_has_each_number_once(numbers):
    assert notation.parse_counts(",".join(map(str, numbers))) == tuple(dict.fromkeys(numbers))


@given(st.text(max_size=30) | st.text("0123456789-.:x, ", max_size=30))
def test_any_text_is_a_short_list_of_positive_integers_or_an_input_error(text):
    try:
        numbers = notation.parse_counts(text)
    except InputError as error:
        refused = error
    else:
        refused = None
    if refused is not None:
        assert refused.hint
        assert len(str(refused)) <= 100
        return
    assert 1 <= len(numbers) <= notation.MOST_COUNTS
    assert all(1 <= number <= LARGEST_COUNT for number in numbers)


@pytest.mark.parametrize(
    "text",
    ["", ",", "0", "8-1", "1-", "-8", "1..8:x1", "1..8:0", "1--8", "1-8:y2", "1.5", "٣", "1-2-3",
     "1-1001", "1-500,501-1001", "4294967296", "1-2147483647", "x2", "busy"],
)  # fmt: skip
def test_other_lists_of_integers_are_refused(text):
    with pytest.raises(InputError):
        notation.parse_counts(text)


@pytest.mark.parametrize(
    ("text", "share"), [("5%", 0.05), (" 0.5 % ", 0.005), ("0.005", 0.005), ("150%", 1.5)]
)
def test_a_share_is_a_fraction_or_has_a_sign(text, share):
    assert notation.parse_share(text) == pytest.approx(share)
    assert notation.parse_percent(text) == pytest.approx(100 * share)


@given(st.integers(0, 10_000))
def test_a_percentage_is_not_rounded(hundredths):
    text = f"{hundredths / 100:g}"
    assert notation.parse_percent(f"{text}%") == float(text)


@pytest.mark.parametrize("text", ["int8", "I8", "UINT4"])
def test_an_integer_type_is_no_precision_of_inference(text):
    with pytest.raises(InputError) as refused:
        notation.parse_precision(text)
    assert refused.value.hint
    assert notation.parse_precision("FP16") == "f16"


@pytest.mark.parametrize("text", ["5", "1.01", "inf%", "nan", "%", "", "5%%", "1e400%"])
def test_other_shares_are_refused(text):
    with pytest.raises(InputError):
        notation.parse_share(text)


def test_a_percentage_is_not_below_zero():
    with pytest.raises(InputError):
        notation.parse_percent("-1%")


@pytest.mark.parametrize(
    ("text", "name"),
    [("FP32", "f32"), ("float16", "f16"), ("BFloat16", "bf16"), ("BF16", "bf16"), ("INT64", "i64"),
     ("uint8", "u8"), ("Bool", "boolean"), ("F32", "f32"), ("Exact", "exact"), ("other", "other")],
)  # fmt: skip
def test_types_have_the_spelling_of_openvino(text, name):
    assert notation.type_name(text) == name
