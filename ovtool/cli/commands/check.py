"""``ovtool check``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ovtool.cli import console, options, progress
from ovtool.cli.command import MEASUREMENT, TARGET, argument, option
from ovtool.core import units
from ovtool.core.shapes import parse_named_shapes, shapes_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovtool.compile_check.compile_check import CompileCheck
    from ovtool.compile_check.suspects import Search, Suspect

EXAMPLES = ("ovtool check variants/resnet-int8 --device NPU.3720,NPU.4000,NPU.5010",)


def command(
    variant: Annotated[str, argument("Variant.", kind="MODEL")],
    device: Annotated[
        list[str] | None,
        option(
            TARGET,
            "DEVICES",
            "Devices, or NPU platforms that need not be present: NPU.3720 (Meteor Lake),"
            " NPU.4000 (Lunar Lake), NPU.5010 (Panther Lake).",
            show_default="CPU",
        ),
    ] = None,
    shape: options.Shapes = None,
    batch: options.Batch = None,
    precision: options.Precision = "default",
    timeout: Annotated[
        float, option(MEASUREMENT, "SECONDS", "Maximum time of one compilation.", min=1)
    ] = 600.0,
    json: options.Json = False,
) -> None:
    """Compile a variant for devices; exit with 1 if one cannot compile it.

    No inference runs. An NPU that is not present is checked with the NPU compiler, which
    'ovtool devices --install-npu-compiler' installs on Linux.
    """
    from ovtool import api

    with progress.show_progress() as bar:
        checks = api.check(
            variant,
            devices=options.split_words(device) or ["CPU"],
            batch=batch,
            precision=precision,
            shapes=parse_named_shapes(shape or ()),
            timeout_s=timeout,
            progress=bar,
        )
    if json:
        console.print_json({"checks": [check.to_json() for check in checks]})
    else:
        _print_checks(checks)
    if not all(check.compiles for check in checks):
        raise typer.Exit(1)


ESTIMATE = "compiler's estimate, ms"
"""Heading of the estimates, which are not measurements."""
_FIGURES = ("compiled size, MiB", "compile, s", ESTIMATE)


def _print_checks(checks: Sequence[CompileCheck]) -> None:
    rows = [
        (
            check.device,
            "yes" if check.compiles else "no",
            units.text(check.blob_mib),
            units.text(check.compile_s),
            units.text(check.compiler_estimate_ms),
        )
        for check in checks
    ]
    first = checks[0]
    caption = f"{first.variant}, {shapes_text(first.shapes)}: trial compile, no inference ran."
    if any(check.compiler_estimate_ms is not None for check in checks):
        caption += " The compiler's estimate is for one inference and is not a measurement."
    if split := [check.device for check in checks if check.of_one_sample]:
        caption += (
            f" On {', '.join(split)} the plugin runs a batch sample by sample: size and estimate"
            " are for one sample."
        )
    console.print_table(("device", "compiles", *_FIGURES), rows, caption, right=_FIGURES)
    for by in dict.fromkeys(check.by for check in checks):
        names = ", ".join(check.device for check in checks if check.by == by)
        console.print_line(f"{names}: compiled by {by}")
    for check in checks:
        if check.compiles:
            continue
        console.print_line(f"\n{check.device} does not compile the model: {check.error}.")
        if check.search is not None:
            _print_suspects(check.search)
        console.print_line(f"  Compiler error: {check.compiler_error}")
        console.print_line(f"  Remedy: {check.remedy}.")


def _print_suspects(search: Search) -> None:
    for suspect in search.suspects:
        console.print_line(f"  - {_suspect_text(suspect)}")
    if search.suspects:
        rest = " All other operations compile." if search.rest_compiles else ""
        console.print_line(f"  Tested {search.compiles} parts of the graph.{rest}")
    if search.note:
        console.print_line(f"  {search.note[0].upper()}{search.note[1:]}.")


def _suspect_text(suspect: Suspect) -> str:
    named = f"{suspect.type} {suspect.name!r}"
    if not suspect.fails_alone:
        return f"{named}: fails only after the operations from {suspect.fails_from!r} on"
    more = suspect.untested_same_type
    return f"{named}: fails alone{f'; {more} more of this type, not tested' if more else ''}"
