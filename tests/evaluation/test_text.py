import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovtool.core.errors import InputError
from ovtool.evaluation.text import UNREADABLE, decode_line, score_texts, select_classes

LETTERS = ("", "a", "b", "c", " ")
WORDS = st.text("abc ", max_size=8)


def steps(text):
    """Return the classes of a text as a recognizer may: each letter twice, then a blank."""
    return [step for letter in text for step in [LETTERS.index(letter)] * 2 + [0]] or [0]


def lines(*texts):
    longest = max(len(steps(text)) for text in texts)
    return np.array([steps(text) + [0] * (longest - len(steps(text))) for text in texts])


@given(WORDS)
def test_decoding_restores_the_text(text):
    assert decode_line(np.array(steps(text)), LETTERS) == text


def test_repeated_classes_are_merged_unless_a_blank_separates_them():
    assert decode_line(np.array([1, 1, 0, 1, 2, 2]), LETTERS) == "aab"


def edit_distance(a, b):
    """The least number of insertions, deletions and replacements (Levenshtein 1966)."""
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, right in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (left != right))
    return row[-1]


@given(WORDS, WORDS.filter(bool))
def test_accuracy_of_a_line_counts_its_edits(read, label):
    figures = score_texts(lines(read), [label], LETTERS).figures
    expected = 1 - edit_distance(read, label) / len(label)
    assert figures["accuracy_characters"] == pytest.approx(expected)


def test_accuracy_counts_the_characters_of_all_lines():
    read = lines("abc", "a", "cc cc")
    result = score_texts(read, ["abb", "a", "cc cc"], LETTERS, lines("abc", "b", "cc cc"))
    assert result.figures["accuracy_characters"] == pytest.approx(1 - 1 / 9)
    low, high = (result.figures[f"accuracy_characters_ci_{end}"] for end in ("low", "high"))
    assert low < 1 - 1 / 9 < high <= 1
    assert result.figures["agreement_top1"] == pytest.approx(2 / 3)
    assert result.figures["quality_samples"] == 3


@given(st.lists(st.tuples(WORDS, WORDS.filter(bool)), min_size=2, max_size=6))
def test_interval_contains_the_accuracy(pairs):
    read, texts = zip(*pairs, strict=True)
    figures = score_texts(lines(*read), texts, LETTERS).figures
    ends = [figures.get(f"accuracy_characters_ci_{end}") for end in ("low", "high")]
    if None not in ends:
        assert ends[0] <= figures["accuracy_characters"] <= ends[1] <= 1


def test_the_lower_limit_is_negative_only_with_insertions():
    """Few lines widen the interval; an accuracy below 0 needs a line with more edits than text."""
    texts = ["abcabcabca", "abc"]
    for read, lowest in ((lines("abcabcabca", "bca"), 0.0), (lines("abc" * 8, "abc"), -10.0)):
        figures = score_texts(read, texts, LETTERS).figures
        low = figures["accuracy_characters_ci_low"]
        assert lowest <= low <= figures["accuracy_characters"]
        assert (low < 0) is (lowest < 0)


def test_interval_of_perfect_lines_has_a_lower_limit():
    figures = score_texts(lines("abc", "a"), ["abc", "a"], LETTERS).figures
    assert figures["accuracy_characters"] == 1
    assert 0.2 < figures["accuracy_characters_ci_low"] < 0.5


def test_line_with_nan_has_no_text_and_is_reported():
    outputs = np.eye(5, dtype=np.float32)[lines("ab", "ab")]
    outputs[1, 2, 3] = np.nan
    steps = select_classes(outputs)
    assert (steps[1] == UNREADABLE).sum() == 1
    result = score_texts(steps, ["ab", "ab"], LETTERS)
    assert result.figures["accuracy_characters"] == 0.5
    assert result.notes[0].id == "output-not-finite"


@pytest.mark.parametrize(
    ("steps", "texts", "values"),
    [
        (np.zeros((0, 3), int), [], "one sample"),
        (np.zeros((2, 3), int), ["a"], "1 labels.* 2 samples"),
        (np.zeros((2, 3), int), ["a", ""], "sample 1 "),
    ],
)
def test_labels_that_do_not_match_are_rejected(steps, texts, values):
    with pytest.raises(InputError, match=values):
        score_texts(steps, texts, LETTERS)


def test_outputs_without_steps_are_rejected():
    with pytest.raises(InputError, match=r"\[2, 5\]"):
        select_classes(np.zeros((2, 5)))
