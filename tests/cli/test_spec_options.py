"""Options that come from the fields of a spec."""

from typing import Literal

import pytest
import typer

from ovtool.cli.command import PanelCommand
from ovtool.cli.spec_options import with_options_of
from ovtool.core.errors import InputError
from ovtool.core.fields import Positive, option
from ovtool.core.sweep_spec import SweepSpec
from ovtool.core.variant import Record
from ovtool.selection.choice_spec import ChoiceSpec


class Search(Record):
    max_ms: Positive = option(..., "Limit.", panel="Load")


class Spec(Record):
    devices: tuple[str, ...] = option(("CPU",), "Devices.", panel="Load", flag="--device")
    rates: tuple[Positive | Literal["busy"], ...] = option((), "Rates.", panel="Load")
    seconds: Positive = option(2.0, "Time.", panel="Load", default_text="two")
    search: Search | None = option(None, "Search.", panel="Load")
    internal: int = 3


@pytest.fixture
def parse():
    """Return the spec that a command gets for some arguments."""
    received = []

    @with_options_of(Spec)
    def command(name: str, spec: Spec) -> None:
        received.append((name, spec))

    app = typer.Typer(add_completion=False)
    app.command(cls=PanelCommand)(command)

    def run(*arguments):
        app(["model", *arguments], standalone_mode=False)
        name, spec = received.pop()
        assert name == "model"
        return spec

    return run


def test_defaults_are_those_of_the_fields(parse):
    assert parse() == Spec()


def test_values_are_parsed_and_validated(parse):
    spec = parse("--device", "CPU,NPU", "--rates", "5,busy", "--seconds", "0.5")
    assert spec == Spec(devices=("CPU", "NPU"), rates=(5, "busy"), seconds=0.5)


def test_a_nested_spec_needs_its_flag_and_its_required_options(parse):
    assert parse("--search", "--max-ms", "20").search == Search(max_ms=20)
    for arguments in (["--search"], ["--max-ms", "20"]):
        with pytest.raises(InputError, match="--search and --max-ms"):
            parse(*arguments)


@pytest.mark.parametrize(
    ("arguments", "flag"), [(("--seconds", "-1"), "--seconds"), (("--rates", "soon"), "--rates")]
)
def test_an_invalid_value_names_its_option(parse, arguments, flag):
    with pytest.raises(InputError, match=flag):
        parse(*arguments)


def test_fields_without_option_metadata_are_not_options(parse):
    with pytest.raises(typer.TyperException, match="--internal"):
        parse("--internal", "4")


@pytest.mark.parametrize("model", [SweepSpec, ChoiceSpec])
def test_every_field_has_a_description(model):
    assert all(field.description for field in model.model_fields.values())
