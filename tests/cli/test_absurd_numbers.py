"""Absurd numbers: each option of each verb refuses them in one line, or takes them."""

import math

import pytest
import typer
from hypothesis import example, given
from hypothesis import strategies as st
from typer.core import TyperOption

from ovtool.cli.command import load_command
from ovtool.cli.main import VERBS
from ovtool.cli.options import build_source_options, parse_percent, parse_settings
from ovtool.cli.spec_options import _options, _parse_spec
from ovtool.compression import registry
from ovtool.core.errors import OvtoolError
from ovtool.core.shapes import parse_named_numbers
from ovtool.core.sweep_spec import SweepSpec
from ovtool.core.units import LARGEST_COUNT, LARGEST_NUMBER
from ovtool.selection.choice_spec import ChoiceSpec

ABSURD = [
    *("1e23", "99999999999", "inf", "-inf", "nan", "-1", "1e400", "9" * 400, "9" * 5000),
    *("", " ", "-0", "0", "1e-320", "\u0663", "1_0", "0x10", "1,inf", "1e309%", "1e30", "1/0"),
]
texts = st.one_of(
    st.sampled_from(ABSURD), st.floats().map(repr), st.integers().map(str), st.text(max_size=8)
)


def typed_options():
    """Return (verb, option, arguments that the verb requires) of each int or float option."""
    for verbs in VERBS.values():
        for verb in verbs:
            command = load_command(verb)
            for option in command.params:
                kind = getattr(getattr(option, "type_descriptor", None), "annotation", None)
                names = str(kind)
                if isinstance(option, TyperOption) and ("int" in names or "float" in names):
                    yield pytest.param(verb, option.opts[0], id=f"{verb}{option.opts[0]}")


TYPED = list(typed_options())


def test_options_are_found():
    assert len(TYPED) > 20


@pytest.mark.slow
@pytest.mark.parametrize(("verb", "option"), TYPED)
def test_an_option_takes_a_usable_number_or_is_named(verb, option):
    command = load_command(verb)
    required = [p for p in command.params if getattr(p, "required", False)]
    arguments = ["x" for p in required if not isinstance(p, TyperOption)]
    arguments += [w for p in required if isinstance(p, TyperOption) for w in (p.opts[0], "x")]
    name = next(p.name for p in command.params if option in p.opts)
    for text in ABSURD:
        refusal = None
        try:
            context = command.make_context(verb, [*arguments, option, text])
        except OvtoolError as error:
            refusal = f"{error}"
        except typer.TyperException as error:
            refusal = error.format_message()
        if refusal is not None:
            assert option in refusal
            continue
        value = context.params[name]
        assert abs(value) <= (LARGEST_COUNT if isinstance(value, int) else LARGEST_NUMBER)


@pytest.mark.slow
@pytest.mark.parametrize("model", [SweepSpec, ChoiceSpec])
@given(text=texts)
@example("9" * 5000)
@example("1e400")
def test_specs_take_usable_numbers_or_name_the_option(model, text):
    for name, field in _options(model):
        annotation = str(field.annotation)
        if "int" not in annotation and "float" not in annotation and name not in model.model_fields:
            continue
        values = {name: [text] if "tuple" in annotation or "dict" in annotation else text}
        try:
            spec = _parse_spec(model, values)
        except OvtoolError:
            continue
        for each in leaves(spec.model_dump()):
            assert abs(each) <= LARGEST_COUNT if isinstance(each, int) else math.isfinite(each)


def leaves(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for each in value:
            yield from leaves(each)
    elif isinstance(value, int | float):
        yield value


@pytest.mark.slow
@given(text=texts)
def test_shapes_and_lists_take_usable_numbers_or_are_refused(text):
    for name, value in (
        ("shape", [f"x={text}"]),
        ("shape", [f"x={text}x3"]),
        ("mean", text),
        ("scale", text),
        ("size", f"{text}x{text}"),
        ("tolerance", text),
    ):
        try:
            options = build_source_options(**{name: value})
        except OvtoolError:
            continue
        assert all(abs(each) <= LARGEST_COUNT for each in leaves(options.model_dump()))
    for read in (
        lambda: parse_percent(text, "--noise"),
        lambda: parse_named_numbers([f"x={text}"], "--value")["x"],
    ):
        try:
            assert abs(read()) < float("inf")
        except OvtoolError:
            continue


@pytest.mark.parametrize("method", [each.name for each in registry.list_methods()])
def test_settings_of_methods_take_usable_numbers_or_are_refused(method):
    kind = registry.load_method(method).settings
    for name in kind.model_fields:
        for text in ABSURD:
            try:
                settings = registry.parse_settings(method, parse_settings([f"{name}={text}"]))
            except OvtoolError:
                continue
            value = getattr(settings, name)
            assert all(abs(each) <= LARGEST_COUNT for each in leaves(value))
