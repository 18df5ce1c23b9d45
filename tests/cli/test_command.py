"""The commands behind the verbs: their examples, and the panels of their options."""

import re
import shlex

import pytest

from ovtool import api
from ovtool.cli.command import PANELS, load_command
from ovtool.cli.main import VERBS

GROUPS = ("recipes", "fleet")
COMMANDS = [
    *((verb,) for verbs in VERBS.values() for verb in verbs if verb not in GROUPS),
    ("recipes", "list"),
    ("recipes", "show"),
    ("recipes", "check"),
    *(("fleet", verb) for verb in ("certs", "up", "worker", "status", "down")),
]


def resolve(*words):
    """Return the command that a command line names."""
    command = load_command(words[0])
    return command if len(words) == 1 else command.commands[words[1]]


@pytest.mark.parametrize("words", COMMANDS, ids="-".join)
def test_every_example_is_accepted_by_the_parser(words):
    command = resolve(*words)
    examples = re.findall(r"^  (ovtool .*)$", command.epilog, re.MULTILINE)
    assert examples
    for example in examples:
        name, *arguments = shlex.split(example.partition(" > ")[0])
        assert (name, *arguments[: len(words)]) == ("ovtool", *words)
        with command.make_context(name, arguments[len(words) :]) as context:
            assert context.args == []


@pytest.mark.parametrize("words", COMMANDS, ids="-".join)
def test_every_option_is_in_a_panel(words):
    command = resolve(*words)
    with command.make_context("ovtool", [], resilient_parsing=True) as context:
        panels = [
            parameter.rich_help_panel
            for parameter in command.get_params(context)
            if parameter.param_type_name == "option"
        ]
    assert set(panels) <= set(PANELS)
    assert panels == sorted(panels, key=PANELS.index)


@pytest.mark.parametrize("verb", sorted({*(words[0] for words in COMMANDS)} - {"methods"}))
def test_every_verb_is_a_function_of_the_api(verb):
    assert verb in api.__all__


@pytest.mark.parametrize("function", ["list", "show", "check"])
def test_recipes_verbs_are_functions_of_the_api(function):
    assert callable(getattr(api.recipes, function))


@pytest.mark.parametrize("function", ["certs", "up", "worker", "status", "down", "sweep"])
def test_fleet_verbs_are_functions_of_the_api(function):
    assert callable(getattr(api.fleet, function))
