"""``ovtool methods``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from ovtool.cli import console, options
from ovtool.cli.command import argument
from ovtool.cli.console import print_unwrapped

if TYPE_CHECKING:
    from ovtool.compression.registry import MethodInfo

EXAMPLES = ("ovtool methods int8",)


def command(
    method: Annotated[str | None, argument("Method, to print its settings.")] = None,
    json: options.Json = False,
) -> None:
    """List the compression methods, or the settings of one method."""
    from ovtool.compression import registry

    methods = registry.list_methods() if method is None else [registry.describe_method(method)]
    if json:
        documents = [m.to_json() for m in methods]
        console.print_json(documents if method is None else documents[0])
    elif method is None:
        rows = [(m.name, m.summary, _needs_text(m), m.changes) for m in methods]
        console.print_table(("method", "effect", "needs", "changes"), rows)
    else:
        _print_method(methods[0])


def _print_method(method: MethodInfo) -> None:
    """Print a method and its settings, with the defaults as ``--set`` reads them."""
    print_unwrapped(f"{method.name}: {method.summary}")
    print_unwrapped(f"changes: {method.changes}")
    if needs := _needs_text(method):
        print_unwrapped(f"needs: {needs}")
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
