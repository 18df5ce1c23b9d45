"""How an analysis is printed: readable at 80 columns, with whole names where there is room."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovtool.cli import console as terminal
from ovtool.core import units
from ovtool.core.measurement import Note
from ovtool.core.shapes import shape_text, shapes_text
from ovtool.graph.counts import BITS

if TYPE_CHECKING:
    from ovtool.graph.counts import LayerWork
    from ovtool.profiling.analyze import Analyzed

_LEAST_NAME = 12


def analysis(found: Analyzed, *, flops_per_s: float | None, top: int, json: bool) -> None:
    """Print what was counted.

    Args:
        found: What to print.
        flops_per_s: Of a device that a lower bound is wanted for.
        top: Layers to print.
        json: Whether to print one JSON document, which has all layers.
    """
    if json:
        bound = None if flops_per_s is None else found.least_s(flops_per_s) * units.MS_PER_S
        terminal.answer_json(found.to_json() | {"least_ms": bound})
        return
    total, shapes = found.analysis.total, shapes_text(found.shapes)
    _say(f"{found.variant}, batch {found.batch}, {shapes}: {total.layers} layers")
    _say(
        f"{_count(total.macs)} MACs ({_count(2 * total.macs)} FLOPs, 1 MAC = 2) and"
        f" {_count(total.other_flops)} other operations: {_count(total.flops)} FLOPs"
        if total.told
        else "MACs and FLOPs unknown: no layer can be counted"
    )
    _say(
        f"{_count(total.parameters)} parameters, {_mib(total.weight_bytes)} as they are stored;"
        f" {units.text(total.intensity)} FLOPs a byte read or written layer by layer"
    )
    _layers(found, top)
    _types(found)
    _precisions(found)
    if flops_per_s is not None:
        _say(
            f"at {_count(flops_per_s)} FLOPS no inference takes less than"
            f" {_time(found.least_s(flops_per_s))} (FLOPs / speed: a lower bound, memory and"
            " overhead are left out)"
        )
    if found.files is not None:
        _say(f"written: {found.files.csv}, {found.files.document}")
    terminal.notes(_not_counted(found))


def _say(text: str) -> None:
    terminal.say(terminal.console(), text)


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
    widths = [max(map(len, column)) for column in zip(headings, *cells, strict=False)]
    room = max(_LEAST_NAME, terminal.console().width - sum(widths) - 2 * len(widths) - 2)
    table = [
        [*line, units.shortened(layer.name, room)]
        for line, layer in zip(cells, ranked, strict=False)
    ]
    rest = ranked[top:]
    share = 100 * sum(layer.flops or 0 for layer in rest) / total
    caption = f"and {len(rest)} more with {units.text(share)} % of the FLOPs" if rest else ""
    terminal.table(headings, table, caption, right=headings[:4])


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
    terminal.table(
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
    headings = ("if all were in", "parameters", "activations read and written")
    terminal.table(
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
    return [
        Note(
            "not-counted",
            f"{len(left)} layers are not counted, so the sums are too low ({types})",
            names,
        )
    ]
