"""What a compression method is, and the inputs that it needs."""

from pathlib import Path

import openvino as ov
import pytest
from pydantic import ValidationError

from ovtool.compression.method import (
    IgnoredScopeSettings,
    Method,
    MethodContext,
    MethodInputs,
    MethodResult,
    MissingInputError,
)
from ovtool.core.ports import Preprocessing
from ovtool.core.progress import SILENT
from tests.compression.samples import Listed


def method(**changes):
    fields = {
        "settings": IgnoredScopeSettings,
        "needs": frozenset({"calibration"}),
        "apply": lambda context: MethodResult(context.model),
        "changes": "nothing",
    }
    return Method(**(fields | changes))


def test_names_and_patterns_are_text_or_lists():
    settings = IgnoredScopeSettings(ignored_names=" a, b ,", ignored_patterns="x{1,2}")
    assert settings.ignored_names == ("a", "b")
    assert settings.ignored_patterns == ("x{1,2}",)
    assert IgnoredScopeSettings(ignored_types=["MatMul"]).ignored_types == ("MatMul",)
    with pytest.raises(ValidationError, match=r"'a\('"):
        IgnoredScopeSettings(ignored_patterns=["ok", "a("])


def test_needs_depend_on_the_settings():
    plain = method()
    conditional = method(
        conditional_needs=lambda s: frozenset({"validation"} if s.ignored_names else ())
    )
    some = IgnoredScopeSettings(ignored_names="a")
    assert plain.needs_for(some) == {"calibration"}
    assert conditional.needs_for(IgnoredScopeSettings()) == {"calibration"}
    assert conditional.needs_for(some) == {"calibration", "validation"}


def test_preprocessing_changes_only_where_the_method_says_so():
    before, settings = Preprocessing(size=(8, 8)), IgnoredScopeSettings()
    assert method().preprocessing(before, settings) is before
    resize = method(update_preprocessing=lambda p, _: p.model_copy(update={"size": (4, 4)}))
    assert resize.preprocessing(before, settings).size == (4, 4)
    assert resize.preprocessing(None, settings) is None


@pytest.mark.parametrize(
    ("needs", "first"),
    [
        (["network", "training"], "training"),
        (["validation", "calibration"], "calibration"),
        (["network", "validation"], "validation"),
    ],
)
def test_missing_input_is_the_first_that_a_user_adds(needs, first):
    error = MissingInputError("qat", needs)
    assert error.need == first
    assert "qat" in str(error)
    assert error.hint


def test_inputs_are_given_or_missing_by_name():
    samples = Listed([])
    inputs = MethodInputs(calibration=samples)
    available = [n for n in ("calibration", "training", "validation", "network") if inputs.has(n)]
    assert available == ["calibration"]
    context = MethodContext(
        ov.Model([], [], "m"), IgnoredScopeSettings(), None, inputs, Path(), SILENT
    )
    assert context.samples("calibration", "x") is samples
    for action, need in (
        (lambda: context.samples("training", "x"), "training"),
        (lambda: context.create_network("x"), "network"),
    ):
        with pytest.raises(MissingInputError) as caught:
            action()
        assert caught.value.need == need
