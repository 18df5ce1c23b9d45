"""``ovtool evaluate``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from ovtool.cli import console, options
from ovtool.cli.command import DATA, LIMITS, WHAT
from ovtool.core import units
from ovtool.core.columns import BY_NAME

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovtool.evaluation.evaluate import Quality

EXAMPLES = (
    "ovtool evaluate variants/int8 --data held-out/ --baseline variants/fp32",
    "ovtool evaluate variants/int8 --data held-out/ --device CPU,NPU --precision default,exact",
)


def command(
    model: Annotated[str, typer.Argument(help="Folder of a variant.", show_default=False)],
    data: options.HeldOutData,
    labels: options.Labels = None,
    limit: options.Limit = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="VARIANT",
            help="Uncompressed variant; its f32 outputs on the CPU are the reference.",
            rich_help_panel=DATA,
        ),
    ] = None,
    device: options.Devices = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PRECISIONS",
            help="Inference precisions: default, f32, bf16, f16, or exact (the most accurate mode"
            " of the device).",
            show_default="default",
            rich_help_panel=WHAT,
        ),
    ] = None,
    batch: options.Batch = 1,
    tolerance: Annotated[
        float | None,
        typer.Option(
            metavar="RATIO",
            help="Maximum difference from f32 on the CPU, relative to the largest output. Beyond"
            " it, ovtool locates the layer where the outputs diverge.",
            show_default="0.05",
            rich_help_panel=LIMITS,
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Measure quality against labels, or agreement with the uncompressed variant.

    On a few samples, the outputs are also compared with f32 on the CPU.
    """
    from ovtool import api
    from ovtool.cli import progress

    spec = options.data_spec(data, labels, limit)
    assert spec is not None  # noqa: S101 - --data is required
    with progress.show_progress() as shown:
        found = api.evaluate_each(
            model,
            spec,
            baseline=baseline,
            devices=options.words(device) or ["CPU"],
            precisions=options.words(precision) or ["default"],
            batch=batch,
            tolerance=tolerance,
            progress=shown,
        )
    print_quality(found, json=json)


_MEANING = (
    "largest difference of any output from the same variant's on the CPU in f32, as a share of"
    " its largest output there, on {} samples"
)


def print_quality(found: Sequence[Quality], *, json: bool) -> None:
    """Print quality figures; with ``json`` one of one device and precision is no list."""
    if json:
        documents = [asdict(one) for one in found]
        console.print_json(documents if len(documents) > 1 else documents[0])
        return
    if len(found) == 1:
        _every_figure(found[0])
    else:
        _side_by_side(found)
    for one in found:
        console.print_notes(one.notes)


def _every_figure(found: Quality) -> None:
    rows = [
        (BY_NAME[name].title, f"{_figure(found, name)} {BY_NAME[name].unit}".strip(),
         BY_NAME[name].meaning)
        for name in _names(found)
    ]  # fmt: skip
    if found.difference is not None:
        meaning = _MEANING.format(found.difference.samples)
        rows.append(("off CPU f32", _off(found), meaning))
    samples = int(found.figures["quality_samples"])
    executed = found.executed_precision or "an unknown precision"
    ran = f"{samples} samples on {found.device} in {executed}"
    console.print_table((found.variant, ran, "meaning"), rows)


def _side_by_side(found: Sequence[Quality]) -> None:
    """Print a line for each device and precision, with the figures that a choice may go by."""
    told = [n for n in _names(found[0]) if n.startswith(("accuracy_", "agreement_"))]
    headings = ("device", "precision", "runs in", *(BY_NAME[n].title for n in told), "off CPU f32")
    rows = [
        (
            one.device,
            one.precision,
            one.executed_precision or units.UNKNOWN,
            *(_figure(one, name).replace(" [", "\n[") for name in told),
            _off(one),
        )
        for one in found
    ]
    samples = int(found[0].figures["quality_samples"])
    compared = next((one.difference.samples for one in found if one.difference is not None), 0)
    caption = (
        f"{found[0].variant} on {samples} samples; exact: the device's most accurate mode."
        f" Off CPU f32: {_MEANING.format(compared)}."
    )
    console.print_table(headings, rows, caption)


def _names(found: Quality) -> list[str]:
    """Return the figures that are columns of their own, and no ends of intervals."""
    return [n for n in found.figures if n in BY_NAME and n != "quality_samples"]


def _figure(found: Quality, name: str) -> str:
    figures = found.figures
    if name not in figures:
        return units.UNKNOWN
    low, high = figures.get(f"{name}_ci_low"), figures.get(f"{name}_ci_high")
    return units.interval_text(figures[name], low, high)


def _off(found: Quality) -> str:
    if found.difference is None:
        return "it is that"
    error, divergence = found.difference.error, found.difference.divergence
    return f"{units.text(100 * error)} %" + (f"\nfrom {divergence.name} on" if divergence else "")
