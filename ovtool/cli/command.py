"""How the verbs become commands: imported when they run, their options in panels."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from ovtool.cli import completion
from ovtool.core import errors, steps, terminal, units

MODEL = "Model"
DATA = "Data"
COMPRESSION = "Compression"
TARGET = "What to measure"
LOAD = "Load"
TEXT = "Text generators"
MEASUREMENT = "How to measure"
OBJECTIVE = "Objective"
LIMITS = "Limits"
INSTALL = "Installation"
OUTPUT = "Output"
OTHER = "Options"

PANELS = (
    MODEL, DATA, COMPRESSION, TARGET, LOAD, TEXT, MEASUREMENT, OBJECTIVE, LIMITS, INSTALL, OUTPUT,
)  # fmt: skip
"""The panels of options, in the order in which ``--help`` prints them."""


def option(panel: str, metavar: str, text: str, /, *names: str, **rules: Any) -> Any:
    """Return an option in a panel of ``--help``; a flag has no ``metavar`` (placeholder).

    ``names`` such as ``--out`` default to the name of the parameter.
    """
    return typer.Option(
        *names,
        help=text,
        metavar=metavar or None,
        rich_help_panel=panel,
        autocompletion=completion.for_placeholder(metavar),
        **rules,
    )


def argument(text: str, metavar: str | None = None, *, kind: str = "") -> Any:
    """Return a positional argument; ``kind`` is the placeholder whose completion it has.

    ``kind`` defaults to ``metavar``.
    """
    return typer.Argument(
        help=text,
        metavar=metavar,
        show_default=False,
        autocompletion=completion.for_placeholder(kind or metavar),
    )


QUIET = "Print no progress: only the answer, warnings and errors."
VERBOSE = "Print the log of the libraries and tracebacks on stderr."
SHORT = {
    "--device": "-d",
    "--batch": "-b",
    "--out": "-o",
    "--set": "-s",
}
"""Short names, the same in every verb; ``-d``, ``-b`` and ``-m`` are those of benchmark_app."""
ENVIRONMENT = (
    "--device", "--precision", "--hint", "--rounds", "--round-s", "--max-seconds", "--target-pct",
    "--seed", "--strict", "--top", "--objective", "--percentile", "--prices", "--quiet",
    "--verbose",
)  # fmt: skip
"""Options whose default may come from the environment, in every verb that has them."""
HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
"""Settings of every command: the names of the help option, and columns of the help."""
_MODELS = ("model", "source", "variant", "variants")
"""Arguments that ``--model`` may give, as the first argument of ``run``."""
_MODEL, _LOUDNESS = "model_option", ("quiet", "verbose")


def environment_variable(option: str) -> str:
    """Return the variable of an option.

    >>> environment_variable("--max-seconds")
    'OVTOOL_MAX_SECONDS'
    """
    return f"OVTOOL_{option.removeprefix('--').replace('-', '_').upper()}"


def is_from_environment(ctx: Any, name: str) -> bool:
    """Whether the value of a parameter comes from an environment variable."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "ENVIRONMENT"


def _shared(
    quiet: Annotated[
        bool,
        option(
            OUTPUT,
            "",
            QUIET,
            "--quiet",
            "-q",
            expose_value=False,
            callback=terminal.set_quiet,
        ),
    ] = False,
    verbose: Annotated[
        bool,
        option(
            OUTPUT,
            "",
            VERBOSE,
            "--verbose",
            "-v",
            expose_value=False,
            callback=terminal.set_verbose,
        ),
    ] = False,
    model_option: Annotated[
        list[str] | None,
        option(
            MODEL,
            "MODEL",
            "The model, in place of the first argument.",
            "--model",
            "-m",
            expose_value=False,
        ),
    ] = None,
) -> None:
    """Define the options that :class:`PanelCommand` adds to every verb."""


@functools.cache
def _shared_options() -> dict[str, Any]:
    app = typer.Typer(add_completion=False)
    app.command()(_shared)
    return {parameter.name: parameter for parameter in typer.main.get_command(app).params}


def _write_sections(formatter: Any, records: Iterable[tuple[str, tuple[str, str]]]) -> None:
    """Write the rows of each panel below its name."""
    panels: dict[str, list[tuple[str, str]]] = {}
    for panel, row in records:
        panels.setdefault(panel, []).append(row)
    for panel, rows in panels.items():
        with formatter.section(panel):
            formatter.write_dl(rows)


def _write_parameters(parameters: Iterable[Any], ctx: Any, formatter: Any) -> None:
    records = []
    for parameter in parameters:
        if (row := parameter.get_help_record(ctx)) is None:
            continue
        if parameter.param_type_name == "argument":
            records.append(("Arguments", (_placeholder(parameter), row[1])))
        else:
            records.append((parameter.rich_help_panel or OTHER, row))
    _write_sections(formatter, records)


def _placeholder(argument: Any) -> str:
    """Return a positional argument as the usage line has it."""
    name = (argument.metavar or argument.name).upper() + ("..." if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


class PanelCommand(TyperCommand):
    """A command with the conventions of all verbs.

    Its panels have the order of :data:`PANELS`.  Options have the same short names and environment
    variables in every verb, and the first argument, if it is a model, is also ``--model``.
    """

    def __init__(self, *args: Any, params: list[Any], **rules: Any) -> None:
        shared = dict(_shared_options())
        first = params[0].name if params else ""
        if first not in _MODELS and rules.get("name") != "run":
            del shared[_MODEL]
        rules |= {"rich_markup_mode": None, "context_settings": HELP}
        super().__init__(*args, params=[*params, *shared.values()], **rules)
        own: list[Any] = self.params
        for parameter in own:
            for name in [*parameter.opts]:
                if name in SHORT and SHORT[name] not in parameter.opts:
                    parameter.opts.append(SHORT[name])
                if name in ENVIRONMENT:
                    parameter.envvar = environment_variable(name)
                    parameter.show_envvar = False  # the epilog lists them
        variables = [p.envvar for p in own if p.envvar and p.name not in _LOUDNESS]
        if variables:
            self.epilog = f"{self.epilog}\n\nDefaults from the environment: {', '.join(variables)}."

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments, and refuse numbers that no library takes, such as ``inf``.

        The models of ``--model`` become the first arguments.
        """
        values, _, _ = self.make_parser(ctx).parse_args([*args])
        rest = super().parse_args(ctx, [*values.get(_MODEL, ()), *args])
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

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the parts of the usage line."""
        arguments = [p for p in self.get_params(ctx) if p.param_type_name == "argument"]
        return [*filter(None, [self.options_metavar]), *map(_placeholder, arguments)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the positional arguments and the options, panel by panel."""
        _write_parameters(self.get_params(ctx), ctx, formatter)

    def invoke(self, ctx: Any) -> Any:
        """Run the verb; a supervised process is isolated first.

        The options that come from the environment are printed, for they change the result.
        """
        given = [
            f"{parameter.opts[0]} ({parameter.envvar})"
            for parameter in self.params
            if is_from_environment(ctx, parameter.name) and parameter.name not in _LOUDNESS
        ]
        if given:
            from ovtool.cli import console

            console.print_status(f"set in the environment: {', '.join(given)}")
        if steps.board is not None:
            from ovtool.cli.isolation import isolate

            isolate(str(ctx.info_name), ctx.params)
        return super().invoke(ctx)


class PanelGroup(TyperGroup):
    """A group of verbs: its help lists them panel by panel.

    Help is written without rich, which takes longer to import than all the rest.
    """

    def __init__(self, *args: Any, **rules: Any) -> None:
        super().__init__(*args, **(rules | {"rich_markup_mode": None, "context_settings": HELP}))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Print the help, and exit with 0, if there is no verb."""
        if not args and not ctx.resilient_parsing:
            print(ctx.get_help())
            ctx.exit()
        return super().parse_args(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the verbs and the options."""
        stubs: dict[str, Any] = dict(self.commands)
        verbs = [
            (stub.rich_help_panel or "Verbs", (name, stub.get_short_help_str(formatter.width)))
            for name, stub in stubs.items()
        ]
        _write_sections(formatter, verbs)
        _write_parameters(self.get_params(ctx), ctx, formatter)


class LazyGroup(PanelGroup):
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
    # Click keeps the line breaks of a paragraph that begins with \b.
    lines = [f"  {example}" for example in examples]
    return "\n".join(["\b", "Example:" if len(lines) == 1 else "Examples:", *lines])


def format_exit_codes(meanings: Mapping[int, str] | None = None) -> str:
    """Return all exit codes in one paragraph; ``meanings`` replaces those of some codes."""
    codes = errors.EXIT_CODES | dict(meanings or {})
    return f"Exit codes: {'; '.join(f'{code} {meaning}' for code, meaning in codes.items())}."
