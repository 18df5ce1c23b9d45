"""``ovtool check``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ovtool.cli import console, options
from ovtool.cli.command import HOW, WHAT
from ovtool.core import units
from ovtool.core.shapes import parse_named_shapes, shapes_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovtool.compile_check.compile_check import CompileCheck
    from ovtool.compile_check.suspects import Search, Suspect

EXAMPLES = ("ovtool check variants/resnet-int8 --device NPU.3720,NPU.4000,NPU.5010",)


def command(
    variant: Annotated[str, typer.Argument(help="Variant.", show_default=False)],
    device: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DEVICES",
            help="Devices, or NPU platforms that need not be present: NPU.3720 (Meteor Lake),"
            " NPU.4000 (Lunar Lake), NPU.5010 (Panther Lake).",
            show_default="CPU",
            rich_help_panel=WHAT,
        ),
    ] = None,
    shape: options.Shapes = None,
    batch: options.OpenBatch = None,
    precision: options.Precision = "default",
    timeout: Annotated[
        float,
        typer.Option(
            min=1, metavar="SECONDS", help="Maximum time of one compilation.", rich_help_panel=HOW
        ),
    ] = 600.0,
    json: options.Json = False,
) -> None:
    """Compile a variant for devices; exit with 1 if one cannot compile it.

    No inference runs. An NPU that is not present is checked with the NPU compiler, which
    'ovtool devices --install-npu-compiler' installs on Linux.
    """
    from ovtool import api
    from ovtool.cli import progress

    with progress.show_progress() as shown:
        found = api.check(
            variant,
            devices=options.words(device) or ["CPU"],
            batch=batch,
            precision=precision,
            shapes=parse_named_shapes(shape or ()),
            timeout_s=timeout,
            progress=shown,
        )
    print_checks(found, json=json)
    if not all(check.compiles for check in found):
        raise typer.Exit(1)


ESTIMATE = "compiler's estimate, ms"
_FIGURES = ("compiled size, MiB", "compile, s", ESTIMATE)


def print_checks(found: Sequence[CompileCheck], *, json: bool) -> None:
    """Print trial compiles of one variant."""
    if json:
        console.print_json([check.to_json() for check in found])
        return
    rows = [
        (
            check.device,
            "yes" if check.compiles else "no",
            units.text(check.blob_mib),
            units.text(check.compile_s),
            units.text(check.compiler_estimate_ms),
        )
        for check in found
    ]
    first = found[0]
    caption = f"{first.variant}, {shapes_text(first.shapes)}: a trial compile, nothing was run."
    if any(check.compiler_estimate_ms is not None for check in found):
        caption += " The estimate is the compiler's own of one inference, no measurement."
    if split := [check.device for check in found if check.of_one_sample]:
        caption += (
            f" On {', '.join(split)} the plugin runs a batch sample by sample: size and estimate"
            " are of one sample."
        )
    console.print_table(("device", "compiles", *_FIGURES), rows, caption, right=_FIGURES)
    for by in dict.fromkeys(check.by for check in found):
        names = ", ".join(check.device for check in found if check.by == by)
        console.print_line(f"{names}: by {by}")
    for check in found:
        if not check.compiles:
            _failed(check)


def _failed(check: CompileCheck) -> None:
    console.print_line(f"\n{check.device} does not compile it: {check.error}.")
    if check.search is not None:
        _suspects(check.search)
    console.print_line(f"  The compiler says: {check.compiler_error}")
    console.print_line(f"  What to do: {check.remedy}.")


def _suspects(search: Search) -> None:
    for suspect in search.suspects:
        console.print_line(f"  - {_described(suspect)}")
    if search.suspects:
        rest = " Everything else compiles." if search.rest_compiles else ""
        tried = f"{search.compiles} parts of the graph were compiled to find that."
        console.print_line(f"  {tried}{rest}")
    if search.note:
        console.print_line(f"  {search.note[0].upper()}{search.note[1:]}.")


def _described(suspect: Suspect) -> str:
    named = f"{suspect.type} {suspect.name!r}"
    if not suspect.fails_alone:
        return f"{named}: fails only together with the operations from {suspect.fails_from!r} on"
    more = (
        f"; {suspect.untested_same_type} more of its type, not tried"
        if suspect.untested_same_type
        else ""
    )
    return f"{named}: fails by itself{more}"
