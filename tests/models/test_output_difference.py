import numpy as np
import pytest

from ovtool.core.errors import InputError
from ovtool.models.output_difference import OutputHistory, compare_output


def test_values_that_are_nan_in_the_source_are_not_compared():
    source = np.array([1.0, np.nan, np.inf, 4.0])
    same = compare_output("y", source, source)
    assert (same.compared, same.source_not_finite, same.mismatched) == (2, 2, 0)
    assert compare_output("y", np.array([1.0, 7.0, np.inf, 4.0]), source).mismatched == 0


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_only_the_conversion_not_finite_is_a_mismatch(wrong):
    source = np.array([1.0, 2.0, np.inf])
    compared = compare_output("y", np.array([1.0, wrong, np.inf]), source)
    assert compared.mismatched == 1
    assert compared.max_abs_difference == 0
    assert not compared.agrees(1.0)
    assert compare_output("y", np.array([1.0, 2.0, 5.0]), source).mismatched == 1


def test_large_integers_are_compared_exactly():
    source = np.array([2**60, 3])
    assert compare_output("y", source + 1, source).max_abs_difference == 1
    assert compare_output("y", source, source).max_abs_difference == 0


def test_complex_values_are_pairs():
    source = np.array([1 + 2j, 3 - 4j])
    compared = compare_output("y", np.array([[1.0, 2.0], [3.0, -4.5]]), source)
    assert (compared.compared, compared.max_abs_difference) == (4, 0.5)


def test_texts_are_compared():
    source = np.array(["a", "b"], object)
    assert compare_output("y", np.array(["a", "c"]), source).max_abs_difference == 1
    assert compare_output("y", np.array(["a", "b"]), source).max_abs_difference == 0


def test_other_shape_raises():
    with pytest.raises(InputError, match=r"'y'.*2x3.*3x2"):
        compare_output("y", np.zeros((2, 3)), np.zeros((3, 2)))


@pytest.mark.parametrize(
    ("arrays", "varies", "status"),
    [
        ([[]], True, "empty"),
        ([[0, 0], [0]], True, "constant"),
        ([[0, 0], [0]], False, "checked"),
        ([[3, 3], [3]], True, "constant"),
        ([[3], [4]], True, "checked"),
        ([[1e-9, 0]], True, "constant"),
        ([[np.nan], [np.inf]], True, "not-finite"),
        ([[np.nan, 1], [np.inf, 2]], True, "checked"),
        ([], True, "empty"),
    ],
)
def test_status_says_whether_agreement_is_evidence(arrays, varies, status):
    history = OutputHistory("y", varies)
    for array in arrays:
        values = np.array(array, np.float32)
        history.comparisons.append(compare_output("y", values, values))
    record = history.to_record()
    assert record.status == status
    assert (record.max_abs_difference is None) == (status != "checked")


def test_random_output_is_never_checked():
    history = OutputHistory("y", random=True)
    assert (history.status, history.to_record().compared) == ("random", 0)


@pytest.mark.filterwarnings("error")
def test_memory_that_nothing_was_written_to_is_compared_without_a_warning():
    signaling = np.array([0x7F800001], np.uint32).view(np.float32)
    compared = compare_output("y", signaling, np.ones(1, np.float32))
    assert (compared.mismatched, compared.total) == (1, 1)
