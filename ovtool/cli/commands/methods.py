"""``ovtool methods``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ovtool.cli import console, options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovtool.compression.registry import MethodInfo

EXAMPLES = ("ovtool methods int8",)


def command(
    method: Annotated[
        str | None,
        typer.Argument(help="Method, to print its settings.", show_default=False),
    ] = None,
    json: options.Json = False,
) -> None:
    """List the compression methods, or the settings of one method."""
    from ovtool.compression import registry

    if method is None:
        print_methods(registry.list_methods(), json=json)
    else:
        print_method(registry.describe_method(method), json=json)


def print_methods(found: Sequence[MethodInfo], *, json: bool) -> None:
    """Print the methods of compression."""
    if json:
        console.print_json([method.to_json() for method in found])
        return
    rows = [(m.name, m.summary, _needs(m), m.changes) for m in found]
    console.print_table(("method", "what it does", "needs", "changes"), rows)


def print_method(found: MethodInfo, *, json: bool) -> None:
    """Print a method with its settings, the defaults as ``--set`` takes them."""
    if json:
        console.print_json(found.to_json())
        return
    print(f"{found.name}: {found.summary}")
    print(f"changes: {found.changes}")
    if needs := _needs(found):
        print(f"needs: {needs}")
    rows = [(s.name, f"{s.description} ({s.kind})", _default(s.default)) for s in found.settings]
    if rows:
        console.print_table(("setting", "meaning", "default"), rows)


def _needs(found: MethodInfo) -> str:
    """Return what a method needs whatever its settings, and what is installed for it."""
    return ", ".join([*sorted(found.needs), *([f"ovtool[{found.extra}]"] if found.extra else [])])


def _default(value: object) -> str:
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return "" if value == () else str(value)
