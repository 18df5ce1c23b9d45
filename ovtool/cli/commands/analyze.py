"""``ovtool analyze``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from ovtool.cli import console, options, progress
from ovtool.cli.command import TARGET, option
from ovtool.core import units
from ovtool.core.notes import Note, make_note
from ovtool.core.shapes import parse_named_shapes, shape_text, shapes_text

if TYPE_CHECKING:
    from ovtool.graph.counts import LayerCounts
    from ovtool.profiling.analyze import ModelAnalysis

EXAMPLES = ("ovtool analyze variants/fp32 --batch 8 --speed 4TFLOPS",)


def command(
    model: options.Model,
    batch: options.Batch = None,
    shape: options.Shapes = None,
    speed: Annotated[
        str | None,
        option(TARGET, "FLOPS", "Peak speed of a device, for a lower latency bound: 4TFLOPS."),
    ] = None,
    top: options.Top = 15,
    out: options.OutFolder = None,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Count operations, parameters and bytes of each layer; no inference runs."""
    from ovtool import api

    flops_per_s = None if speed is None else units.parse_speed(speed)
    with progress.show_progress() as bar:
        result = api.analyze(
            model,
            batch=batch,
            shapes=parse_named_shapes(shape or ()),
            out=out,
            progress=bar,
            force=force,
        )
    if json:
        bound = None if flops_per_s is None else result.lower_bound_s(flops_per_s) * units.MS_PER_S
        console.print_json(result.to_json() | {"lower_bound_ms": bound})
    else:
        _print_analysis(result, flops_per_s, top)


def _print_analysis(result: ModelAnalysis, flops_per_s: float | None, top: int) -> None:
    """Print the counts; with the peak speed of a device, also a lower bound of the latency."""
    from ovtool.graph.counts import BITS

    total, shapes = result.analysis.total, shapes_text(result.shapes)
    console.print_line(f"{result.variant}, batch {result.batch}, {shapes}: {total.layers} layers")
    console.print_line(
        f"{_count_text(total.macs)} MACs ({_count_text(2 * total.macs)} FLOPs, 2 per MAC) and"
        f" {_count_text(total.other_flops)} other operations: {_count_text(total.flops)} FLOPs"
        if total.known
        else "MACs and FLOPs: unknown, no layer is counted"
    )
    console.print_line(
        f"{_count_text(total.parameters)} parameters, {_mib_text(total.weight_bytes)} as stored;"
        f" {units.text(total.intensity)} FLOPs per byte read or written, layer by layer"
    )
    _print_layers(result, top)
    _print_types(result)
    headings = ("all layers in", "parameters", "activations read and written")
    rows = [(precision, *map(_mib_text, result.bytes_at(precision))) for precision in BITS]
    console.print_table(headings, rows, right=headings[1:])
    if flops_per_s is not None:
        console.print_line(
            f"lower bound at {_count_text(flops_per_s)} FLOPS:"
            f" {_time_text(result.lower_bound_s(flops_per_s))} per inference (FLOPs / speed,"
            " without memory and overhead)"
        )
    if result.files is not None:
        console.print_line(f"written: {result.files.csv}, {result.files.document}")
    console.print_notes(_uncounted_notes(result))


def _count_text(value: float | None) -> str:
    """Return a count as an integer below 10,000 and with a unit prefix above.

    >>> _count_text(60840), _count_text(3380), _count_text(None)
    ('60.8 k', '3380', '-')
    """
    if value is None or value < 10_000:
        return units.text(None if value is None else int(value))
    prefixes = {"T": 1e12, "G": 1e9, "M": 1e6, "k": 1e3}
    prefix, scale = next(item for item in prefixes.items() if value >= item[1])
    return f"{units.text(value / scale)} {prefix}"


def _mib_text(size: float) -> str:
    return f"{units.text(units.mib(size))} MiB"


def _time_text(seconds: float) -> str:
    """Return a time in us, ms or s.

    >>> _time_text(5.094432e-06), _time_text(0.0123)
    ('5.09 us', '12.3 ms')
    """
    for unit, scale in (("us", 1e6), ("ms", 1e3)):
        if seconds * scale < 1000:
            return f"{units.text(seconds * scale)} {unit}"
    return f"{units.text(seconds)} s"


def _print_layers(result: ModelAnalysis, top: int) -> None:
    """Print the layers with the most FLOPs."""
    ranked = sorted(result.analysis.layers, key=lambda layer: -(layer.flops or 0))
    total = result.analysis.total.flops or 1
    headings = ("FLOPs", "%", "parameters", "FLOP/byte", "type", "output", "layer")
    cells = [_layer_cells(layer, total) for layer in ranked[:top]]
    names, rest = [layer.name for layer in ranked[:top]], ranked[top:]
    share = 100 * sum(layer.flops or 0 for layer in rest) / total
    caption = f"and {len(rest)} more layers with {units.text(share)}% of the FLOPs" if rest else ""
    console.print_layer_table(headings, cells, names, caption, right=headings[:4])


def _layer_cells(layer: LayerCounts, total: int) -> list[str]:
    share = None if layer.flops is None else 100 * layer.flops / total
    return [
        _count_text(layer.flops),
        units.text(share),
        _count_text(layer.parameters),
        units.text(layer.intensity),
        layer.type,
        shape_text(layer.output_shape or ()),
    ]


def _print_types(result: ModelAnalysis) -> None:
    headings = ("type", "layers", "MACs", "other", "parameters", "MiB moved", "FLOP/byte")
    rows = [
        (
            name,
            str(sums.layers) + (f", {sums.uncounted} not counted" if sums.uncounted else ""),
            _count_text(sums.macs if sums.known else None),
            _count_text(sums.other_flops if sums.known else None),
            _count_text(sums.parameters),
            units.text(units.mib(sums.moved_bytes)),
            units.text(sums.intensity),
        )
        for name, sums in result.analysis.by_type().items()
    ]
    console.print_table(headings, rows, right=headings[1:])


def _uncounted_notes(result: ModelAnalysis) -> list[Note]:
    layers = result.analysis.not_counted
    if not layers:
        return []
    types = "; ".join(dict.fromkeys(f"{layer.type}: {layer.uncounted}" for layer in layers))
    names = units.listing([layer.name for layer in layers], 3)
    return [make_note("layers-not-counted", f"{len(layers)} layers ({types}): {names}")]
