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
        str | None, typer.Argument(help="Method, to print its settings.", show_default=False)
    ] = None,
    json: options.Json = False,
) -> None:
    """List the compression methods, or the settings of one method."""
    from ovtool.compression import registry

    if method is None:
        print_methods(registry.list_methods(), json=json)
    else:
        print_method(registry.describe_method(method), json=json)


def print_methods(methods: Sequence[MethodInfo], *, json: bool) -> None:
    """Print the compression methods."""
    if json:
        console.print_json([method.to_json() for method in methods])
        return
    rows = [(m.name, m.summary, _needs_text(m), m.changes) for m in methods]
    console.print_table(("method", "effect", "needs", "changes"), rows)


def print_method(method: MethodInfo, *, json: bool) -> None:
    """Print a method and its settings, with the defaults as ``--set`` reads them."""
    if json:
        console.print_json(method.to_json())
        return
    print(f"{method.name}: {method.summary}")
    print(f"changes: {method.changes}")
    if needs := _needs_text(method):
        print(f"needs: {needs}")
    rows = [
        (s.name, f"{s.description} ({s.kind})", _default_text(s.default)) for s in method.settings
    ]
    if rows:
        console.print_table(("setting", "meaning", "default"), rows)


def _needs_text(method: MethodInfo) -> str:
    """Return the data that a method always needs, and its optional dependency group."""
    extra = [f"ovtool[{method.extra}]"] if method.extra else []
    return ", ".join([*sorted(method.needs), *extra])


def _default_text(value: object) -> str:
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return "" if value == () else str(value)
