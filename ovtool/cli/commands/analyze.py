"""``ovtool analyze``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ovtool.cli import console, options
from ovtool.cli.command import WHAT
from ovtool.core import units
from ovtool.core.notes import Note, make_note
from ovtool.core.shapes import parse_named_shapes, shape_text, shapes_text

if TYPE_CHECKING:
    from ovtool.graph.counts import LayerWork
    from ovtool.profiling.analyze import Analyzed

EXAMPLES = ("ovtool analyze variants/fp32 --batch 8 --speed 4TFLOPS",)


def command(
    model: options.Model,
    batch: options.OpenBatch = None,
    shape: options.Shapes = None,
    speed: Annotated[
        str | None,
        typer.Option(
            metavar="FLOPS",
            help="Peak speed of a device, such as 4TFLOPS, for a lower bound of the latency.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    top: options.Top = 15,
    out: options.OutFolder = None,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Count operations, parameters and bytes of each layer; no inference runs."""
    from ovtool import api
    from ovtool.cli import progress

    flops_per_s = None if speed is None else units.parse_speed(speed)
    with progress.show_progress() as shown:
        found = api.analyze(
            model,
            batch=batch,
            shapes=parse_named_shapes(shape or ()),
            out=out,
            progress=shown,
            replace=force,
        )
    print_analysis(found, flops_per_s=flops_per_s, top=top, json=json)


def print_analysis(found: Analyzed, *, flops_per_s: float | None, top: int, json: bool) -> None:
    """Print what was counted.

    Args:
        found: What to print.
        flops_per_s: Of a device that a lower bound is wanted for.
        top: Layers to print.
        json: Whether to print one JSON document, which has all layers.
    """
    if json:
        bound = None if flops_per_s is None else found.least_s(flops_per_s) * units.MS_PER_S
        console.print_json(found.to_json() | {"lower_bound_ms": bound})
        return
    total, shapes = found.analysis.total, shapes_text(found.shapes)
    console.print_line(f"{found.variant}, batch {found.batch}, {shapes}: {total.layers} layers")
    console.print_line(
        f"{_count(total.macs)} MACs ({_count(2 * total.macs)} FLOPs, 1 MAC = 2) and"
        f" {_count(total.other_flops)} other operations: {_count(total.flops)} FLOPs"
        if total.told
        else "MACs and FLOPs unknown: no layer can be counted"
    )
    console.print_line(
        f"{_count(total.parameters)} parameters, {_mib(total.weight_bytes)} as they are stored;"
        f" {units.text(total.intensity)} FLOPs a byte read or written layer by layer"
    )
    _layers(found, top)
    _types(found)
    _precisions(found)
    if flops_per_s is not None:
        console.print_line(
            f"at {_count(flops_per_s)} FLOPS no inference takes less than"
            f" {_time(found.least_s(flops_per_s))} (FLOPs / speed: a lower bound, memory and"
            " overhead are left out)"
        )
    if found.files is not None:
        console.print_line(f"written: {found.files.csv}, {found.files.document}")
    console.print_notes(_not_counted(found))


def _count(value: float | None) -> str:
    """Return a count: whole below 10,000, with a prefix above.

    >>> _count(60840), _count(3380), _count(None)
    ('60.8 k', '3380', '-')
    """
    if value is None or value < 10_000:
        return units.text(None if value is None else int(value))
    for prefix, scale in (("T", 1e12), ("G", 1e9), ("M", 1e6)):
        if value >= scale:
            return f"{units.text(value / scale)} {prefix}"
    return f"{units.text(value / 1e3)} k"


def _mib(size: float) -> str:
    return f"{units.text(units.mib(size))} MiB"


def _time(seconds: float) -> str:
    """Return a time in the unit that it is read in best.

    >>> _time(5.094432e-06), _time(0.0123)
    ('5.09 us', '12.3 ms')
    """
    for unit, scale in (("us", 1e6), ("ms", 1e3)):
        if seconds * scale < 1000:
            return f"{units.text(seconds * scale)} {unit}"
    return f"{units.text(seconds)} s"


def _layers(found: Analyzed, top: int) -> None:
    """Print the layers of most FLOPs."""
    ranked = sorted(found.analysis.layers, key=lambda layer: -(layer.flops or 0))
    total = found.analysis.total.flops or 1
    headings = ("FLOPs", "%", "parameters", "FLOP/byte", "type", "output", "layer")
    cells = [_cells(layer, total) for layer in ranked[:top]]
    names = [layer.name for layer in ranked[:top]]
    rest = ranked[top:]
    share = 100 * sum(layer.flops or 0 for layer in rest) / total
    caption = f"and {len(rest)} more with {units.text(share)} % of the FLOPs" if rest else ""
    console.print_layer_table(headings, cells, names, caption, right=headings[:4])


def _cells(layer: LayerWork, total: int) -> list[str]:
    share = None if layer.flops is None else 100 * layer.flops / total
    return [
        _count(layer.flops),
        units.text(share),
        _count(layer.parameters),
        units.text(layer.intensity),
        layer.type,
        shape_text(layer.output_shape or ()),
    ]


def _types(found: Analyzed) -> None:
    headings = ("type", "layers", "MACs", "other", "parameters", "MiB moved", "FLOP/byte")
    console.print_table(
        headings,
        [
            (
                name,
                str(sums.layers) + (f", {sums.uncounted} not counted" if sums.uncounted else ""),
                _count(sums.macs if sums.told else None),
                _count(sums.other_flops if sums.told else None),
                _count(sums.parameters),
                units.text(units.mib(sums.moved_bytes)),
                units.text(sums.intensity),
            )
            for name, sums in found.analysis.by_type().items()
        ],
        right=headings[1:],
    )


def _precisions(found: Analyzed) -> None:
    from ovtool.graph.counts import BITS

    headings = ("if all were in", "parameters", "activations read and written")
    console.print_table(
        headings,
        [(precision, *map(_mib, found.bytes_at(precision))) for precision in BITS],
        right=headings[1:],
    )


def _not_counted(found: Analyzed) -> list[Note]:
    left = found.analysis.not_counted
    if not left:
        return []
    types = "; ".join(dict.fromkeys(f"{layer.type}: {layer.uncounted}" for layer in left))
    names = ", ".join(layer.name for layer in left[:3]) + (" ..." if len(left) > 3 else "")
    return [make_note("layers-not-counted", f"{len(left)} layers ({types}): {names}")]
