"""``ovtool methods``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from ovtool.cli import console, options
from ovtool.cli.command import argument
from ovtool.cli.console import print_unwrapped
from ovtool.core.notation import method_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovtool.compression.registry import MethodInfo

EXAMPLES = ("ovtool methods int8",)


def command(
    method: Annotated[str | None, argument("Method, to print its settings.", kind="METHOD")] = None,
    json: options.Json = False,
) -> None:
    """List the compression methods, or the settings of one method."""
    from ovtool.compression import registry

    methods = (
        registry.list_methods()
        if method is None
        else [registry.describe_method(method_name(method))]
    )
    if json:
        console.print_json({"methods": [m.to_json() for m in methods]})
    elif method is None:
        _print_groups(methods)
    else:
        _print_method(methods[0])


def _print_groups(methods: Sequence[MethodInfo]) -> None:
    """Print a line for each method, under what it does to a model."""
    from ovtool.compression.registry import GROUPS

    by_name = {method.name: method for method in methods}
    width = max(map(len, by_name))
    for group, names in GROUPS.items():
        console.print_line(group, "bold")
        for method in map(by_name.__getitem__, names):
            needs = f" [{', '.join(sorted(method.needs))}]" if method.needs else ""
            print_unwrapped(f"  {method.name:{width}}  {method.summary}{needs}")
    console.print_status("[]: required data. Gains and settings: ovtool methods NAME")


def _print_method(method: MethodInfo) -> None:
    """Print a method and its settings, with the defaults as ``--set`` reads them."""
    print_unwrapped(f"{method.name}: {method.summary}")
    print_unwrapped(f"changes: {method.changes}")
    if method.untrained:
        print_unwrapped(f"without training: {method.untrained}")
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
