"""``ovtool compare``."""

from __future__ import annotations

from typing import Annotated

import typer

from ovtool.cli import options

NAME = "compare"
EXAMPLE = (
    "Example: ovtool compare sweeps/2026.3 sweeps/2026.4 --fail-on-regression 5% --out change.md"
)


def command(
    a: Annotated[
        str, typer.Argument(metavar="A", help="Sweep to compare with.", show_default=False)
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="Sweep to judge.", show_default=False)],
    fail_on_regression: Annotated[
        str | None,
        typer.Option(
            metavar="PERCENT",
            help="Exit with 1 if speed or quality of a trial is worse by at least so much, beyond"
            " chance, or a trial of A fails in B.",
        ),
    ] = None,
    rerun: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SWEEP",
            help="Another sweep of what A measured, again for more: measures the variation between"
            " runs instead of allowing for it.",
        ),
    ] = None,
    noise: Annotated[
        str | None,
        typer.Option(
            metavar="PERCENT",
            help="Standard deviation of a throughput between two runs, where it is not measured.",
            show_default="3%",
        ),
    ] = None,
    within: Annotated[
        str, typer.Option(metavar="PERCENT", help="Changes less than this count as none.")
    ] = "10%",
    out: Annotated[
        str | None, typer.Option("--out", "-o", help="File to write it to, as Markdown.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Say what became better or worse from sweep A to B: releases, drivers, machines, commits."""
    from ovtool import api
    from ovtool.cli import show_compare

    limit_pct = options.percent(fail_on_regression, "--fail-on-regression")
    found = api.compare(
        a,
        b,
        reruns=rerun or (),
        noise_pct=options.percent(noise, "--noise"),
        within_pct=options.percent(within, "--within"),
        out=out,
    )
    show_compare.comparison(found, out, json=json)
    if limit_pct is not None:
        found.check(limit_pct)
