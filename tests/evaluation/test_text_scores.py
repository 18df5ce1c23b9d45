import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovtool.core.errors import InputError
from ovtool.evaluation import classes, score_texts
from ovtool.evaluation.text_scores import UNREADABLE, decode, edit_distance

LETTERS = ("", "a", "b", "c", " ")
WORDS = st.text("abc ", max_size=8)


def steps(text):
    """Write a text as a recogniser may: each letter twice, a blank between."""
    return [step for letter in text for step in [LETTERS.index(letter)] * 2 + [0]] or [0]


def lines(*texts):
    longest = max(len(steps(text)) for text in texts)
    return np.array([steps(text) + [0] * (longest - len(steps(text))) for text in texts])


@given(WORDS)
def test_a_text_is_read_back(text):
    assert decode(np.array(steps(text)), LETTERS) == text


def test_repeats_are_one_letter_unless_a_blank_is_between():
    assert decode(np.array([1, 1, 0, 1, 2, 2]), LETTERS) == "aab"


def slow_distance(a, b):
    if not a or not b:
        return len(a) + len(b)
    return min(
        slow_distance(a[1:], b) + 1,
        slow_distance(a, b[1:]) + 1,
        slow_distance(a[1:], b[1:]) + (a[0] != b[0]),
    )


@given(st.text("ab", max_size=5), st.text("ab", max_size=5))
def test_the_distance_is_that_of_its_definition(a, b):
    assert edit_distance(a, b) == slow_distance(a, b)


def test_accuracy_counts_characters_of_all_lines_together():
    read = lines("abc", "a", "cc cc")
    made = score_texts(read, ["abb", "a", "cc cc"], LETTERS, lines("abc", "b", "cc cc"))
    assert made.figures["accuracy_characters"] == pytest.approx(1 - 1 / 9)
    low, high = (made.figures[f"accuracy_characters_ci_{end}"] for end in ("low", "high"))
    assert low < 1 - 1 / 9 < high <= 1
    assert made.figures["agreement_top1"] == pytest.approx(2 / 3)
    assert made.figures["quality_samples"] == 3


@given(st.lists(st.tuples(WORDS, WORDS.filter(bool)), min_size=2, max_size=6))
def test_the_interval_holds_the_figure(pairs):
    read, texts = zip(*pairs, strict=True)
    figures = score_texts(lines(*read), texts, LETTERS).figures
    ends = [figures.get(f"accuracy_characters_ci_{end}") for end in ("low", "high")]
    if None not in ends:
        assert ends[0] <= figures["accuracy_characters"] <= ends[1] <= 1


def test_faultless_lines_do_not_prove_a_faultless_model():
    figures = score_texts(lines("abc", "a"), ["abc", "a"], LETTERS).figures
    assert figures["accuracy_characters"] == 1
    assert 0.2 < figures["accuracy_characters_ci_low"] < 0.5


def test_outputs_that_are_not_finite_are_read_as_nothing_and_reported():
    outputs = np.eye(5, dtype=np.float32)[lines("ab", "ab")]
    outputs[1, 2, 3] = np.nan
    found = classes(outputs)
    assert (found[1] == UNREADABLE).sum() == 1
    made = score_texts(found, ["ab", "ab"], LETTERS)
    assert made.figures["accuracy_characters"] == 0.5
    assert made.notes[0].id == "output-not-finite"


@pytest.mark.parametrize(
    ("found", "texts", "message"),
    [
        (np.zeros((0, 3), int), [], "at least one sample"),
        (np.zeros((2, 3), int), ["a"], "1 labels for 2 samples"),
        (np.zeros((2, 3), int), ["a", ""], "label of sample 1 is empty"),
    ],
)
def test_what_cannot_be_scored_is_refused(found, texts, message):
    with pytest.raises(InputError, match=message):
        score_texts(found, texts, LETTERS)


def test_outputs_of_no_steps_are_no_text():
    with pytest.raises(InputError, match="no text"):
        classes(np.zeros((2, 5)))
