"""How the sensitivity of layers is printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovtool.cli import console as terminal
from ovtool.core import units

if TYPE_CHECKING:
    from ovtool.compression.layer_costs import SensitivityFound
    from ovtool.compression.sensitivity import LayerCost


def sensitivity(answer: SensitivityFound, *, top: int, json: bool) -> None:
    """Print what quantizing each layer costs.

    Args:
        answer: What to print.
        top: Layers to print.
        json: Whether to print one JSON document, which has all layers.
    """
    if json:
        terminal.answer_json(answer.to_json())
        return
    found, out = answer.found, terminal.console()
    terminal.say(out, answer.caption)
    if found.metric is not None:
        terminal.say(out, f"{found.metric} without quantization: {units.text(found.in_float)}")
    headings = ["SQNR dB", "% of MACs", *["drop"] * (found.metric is not None), "type", "layer"]
    rest = len(found.layers) - top
    terminal.table(
        headings,
        [_cells(cost) for cost in found.layers[:top]],
        f"and {rest} less sensitive" if rest > 0 else "",
        right=("SQNR dB", "% of MACs", "drop"),
    )
    if answer.files is not None:
        charts = ", ".join(str(path) for path in answer.files.charts)
        terminal.say(out, f"written: {answer.files.csv}, {answer.files.document}, {charts}")
    if found.not_reached:
        terminal.say(
            terminal.console(stderr=True),
            f"warning: the time did not suffice for {len(found.not_reached)} layers, which have no"
            f" row: {', '.join(found.not_reached)}",
        )


def _cells(cost: LayerCost) -> list[str]:
    share = None if cost.macs_share is None else 100 * cost.macs_share
    drop = [] if cost.metric_drop is None else [f"{cost.metric_drop:.4f}"]
    return [f"{cost.sqnr_db:.1f}", units.text(share), *drop, cost.type, cost.name]
