"""Lines, tables and JSON on a terminal and in a file."""

import json
import math
import re
from pathlib import Path

import pytest
from rich.console import Console

from ovtool.cli import console


def test_json_has_null_for_nan_and_infinity(capsys):
    console.print_json(
        {"a": math.nan, "b": [1.5, -math.inf], "c": {"d": (math.inf,)}, "e": Path("f")}
    )
    document = json.loads(capsys.readouterr().out)
    assert document.pop("schema") == console.JSON_SCHEMA
    assert document == {"a": None, "b": [1.5, None], "c": {"d": [None]}, "e": "f"}


@pytest.mark.parametrize(("terminal", "lines"), [(True, 3), (False, 1)])
def test_only_a_terminal_wraps_lines(terminal, lines):
    output = Console(width=20, force_terminal=terminal, highlight=False)
    with output.capture() as captured:
        console.write_line(output, "seven words [that] do not fit twenty columns")
    assert len(captured.get().splitlines()) == lines
    assert "[that]" in captured.get(), "text that looks like markup is printed as it is"


@pytest.mark.parametrize("width", [60, 200])
def test_layer_names_are_shortened_to_the_terminal(monkeypatch, capsys, width):
    output = Console(width=width, force_terminal=True, no_color=True, highlight=False)
    monkeypatch.setattr(console, "get_console", lambda **_: output)
    name = "encoder/" * 10 + "product"
    console.print_layer_table(("ms", "layer"), [["2.000"]], [name], right=("ms",))
    text = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    assert (name in text) == (width == 200)
    assert any("oduct" in line for line in lines)


@pytest.mark.parametrize("terminal", [True, False])
def test_no_output_lets_a_name_control_the_terminal(monkeypatch, capsys, terminal):
    output = Console(width=90, force_terminal=terminal, no_color=True, highlight=False)
    monkeypatch.setattr(console, "get_console", lambda **_: output)
    name = "a\x1b]0;title\x07\x9b2J\rb"
    console.print_line(name)
    console.print_unwrapped(name)
    console.print_status(name)
    console.print_table((name,), [[name]], caption=name)
    console.print_json({"name": name})
    printed = "".join(capsys.readouterr())
    assert not set(re.sub(r"\x1b\[[0-9;]*m", "", printed)) & set("\x1b\x07\x9b\r")
