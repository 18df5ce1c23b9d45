"""How the verbs become commands: imported when they run, their options in panels."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from ovtool.core import errors, steps, units

MODEL = "Model"
DATA = "Data"
COMPRESSION = "Compression"
TARGET = "What to measure"
LOAD = "Load"
MEASUREMENT = "How to measure"
OBJECTIVE = "Objective"
LIMITS = "Limits"
INSTALL = "Installation"
OUTPUT = "Output"

PANELS = (MODEL, DATA, COMPRESSION, TARGET, LOAD, MEASUREMENT, OBJECTIVE, LIMITS, INSTALL, OUTPUT)
"""The panels of options, in the order in which ``--help`` prints them."""


def option(panel: str, metavar: str, text: str, /, *names: str, **rules: Any) -> Any:
    """Return an option in a panel of ``--help``; a flag has no ``metavar`` (placeholder).

    ``names`` such as ``--out`` default to the name of the parameter.
    """
    return typer.Option(*names, help=text, metavar=metavar or None, rich_help_panel=panel, **rules)


def argument(text: str, metavar: str | None = None) -> Any:
    """Return a positional argument."""
    return typer.Argument(help=text, metavar=metavar, show_default=False)


class PanelCommand(TyperCommand):
    """A command with its panels in the order of :data:`PANELS`, and ``--help`` in the last one."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments, and refuse numbers that no library takes, such as ``inf``."""
        rest = super().parse_args(ctx, args)
        for parameter in self.params:
            value = ctx.params.get(parameter.name)
            try:
                units.require_usable(value)
            except ValueError as error:
                raise errors.InputError(f"{parameter.opts[0]}: {error}") from error
        return rest

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the positional arguments, then the options panel by panel."""
        if (help_option := self.get_help_option(ctx)) is not None:
            help_option.rich_help_panel = OUTPUT
        order = (None, *PANELS)
        return sorted(
            super().get_params(ctx), key=lambda p: order.index(getattr(p, "rich_help_panel", None))
        )

    def invoke(self, ctx: Any) -> Any:
        """Run the verb; a supervised process is isolated first."""
        if steps.board is not None:
            from ovtool.cli.isolation import isolate

            isolate(str(ctx.info_name), ctx.params)
        return super().invoke(ctx)


class LazyGroup(TyperGroup):
    """A group of stubs: the module of a verb is imported only when the verb runs."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
        """Replace the stub that the command line names by its command."""
        name, stub, rest = super().resolve_command(ctx, args)
        return name, load_command(name) if name and stub else stub, rest


def load_command(verb: str) -> Any:
    """Import ``ovtool.cli.commands.<verb>`` and return its command.

    The module defines ``command`` and ``EXAMPLES``, or ``app`` if the verb has verbs itself.
    ``EXIT_CODES`` has the meaning of codes that the help of the verb explains in its own words.
    """
    module = importlib.import_module(f"ovtool.cli.commands.{verb}")
    if hasattr(module, "app"):
        return typer.main.get_command(module.app)
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    epilog = format_examples(*module.EXAMPLES)
    if hasattr(module, "EXIT_CODES"):
        epilog += f"\n\n{format_exit_codes(module.EXIT_CODES)}"
    app.command(verb, cls=PanelCommand, epilog=epilog)(module.command)
    return typer.main.get_command(app)


def format_examples(*examples: str) -> str:
    """Return commands as the last paragraphs of a help text."""
    from rich.markup import escape

    lines = [f"[bold]{escape(example)}[/bold]" for example in examples]
    return "\n\n".join(["Example:" if len(lines) == 1 else "Examples:", *lines])


def format_exit_codes(meanings: Mapping[int, str] | None = None) -> str:
    """Return all exit codes in one paragraph; ``meanings`` replaces those of some codes."""
    codes = errors.EXIT_CODES | dict(meanings or {})
    return f"Exit codes: {'; '.join(f'{code} {meaning}' for code, meaning in codes.items())}."
