"""``ovtool evaluate``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from ovtool.cli import console, options, progress
from ovtool.cli.command import DATA, LIMITS, TARGET, argument, option
from ovtool.core import units
from ovtool.core.columns import BY_NAME

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovtool.evaluation.evaluate import Quality

EXAMPLES = (
    "ovtool evaluate variants/int8 --data held-out/ --baseline variants/fp32",
    "ovtool evaluate variants/int8 --data held-out/ --device CPU,NPU --precision default,exact",
    "ovtool evaluate variants/llm-int4 --data text.txt --baseline variants/llm",
)


def command(
    model: Annotated[str, argument("Folder of a variant.", kind="MODEL")],
    data: options.HeldOutData,
    labels: options.Labels = None,
    limit: options.Limit = None,
    metric: options.MetricName = None,
    output: options.JudgedOutputs = None,
    trust: options.TrustMetric = False,
    baseline: Annotated[
        str | None,
        option(DATA, "MODEL", "Uncompressed model; its CPU f32 outputs are the reference."),
    ] = None,
    device: options.Devices = None,
    precision: Annotated[
        list[str] | None,
        option(
            TARGET,
            "PRECISIONS",
            "Inference precisions: default, f32, bf16, f16, or exact (the most accurate mode"
            " of the device).",
            show_default="default",
        ),
    ] = None,
    batch: options.Batch = None,
    tolerance: Annotated[
        str | None,
        option(
            LIMITS,
            "SHARE",
            "Maximum difference from f32 on the CPU, as a share of the largest output. Beyond"
            " it, ovtool locates the layer where the outputs diverge.",
            show_default="5%",
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Measure quality against labels, and how outputs agree with the uncompressed variant.

    On a few samples, the outputs are also compared with f32 on the CPU.
    """
    from ovtool import api

    devices = options.split_words(device) or ["CPU"]
    precisions = options.split_words(precision) or ["default"]
    share = None if tolerance is None else options.parse_share(tolerance, "--tolerance")
    with progress.show_progress() as bar:
        results = api.evaluate_each(
            model,
            data,
            labels=labels,
            limit=limit,
            baseline=baseline,
            devices=devices,
            precisions=precisions,
            batch=batch,
            tolerance=share,
            metric=metric,
            outputs=output or (),
            trust=trust,
            progress=bar,
        )
    print_quality(results, json=json)


_SIZES = ("quality_samples", "quality_tokens")
_ERROR = "error vs CPU f32"
_ERROR_MEANING = (
    "maximum output difference from f32 on the CPU, relative to the largest output, on {} samples"
)


def print_quality(results: Sequence[Quality], *, json: bool) -> None:
    """Print quality figures."""
    if json:
        console.print_json({"results": [asdict(quality) for quality in results]})
        return
    if len(results) == 1:
        _print_quality(results[0])
    else:
        _print_table(results)
    printed = {"images-stretched", "no-preprocessing"}  # when the images were loaded
    if len(results) == 1 and len(results[0].outputs) > 1:
        printed.add("worst-output")  # in the table of outputs
    for quality in results:
        console.print_notes([n for n in quality.notes if n.id not in printed])


def _print_quality(quality: Quality) -> None:
    columns = [BY_NAME[name] for name in _column_names(quality)]
    rows = [
        (c.title, units.with_unit(_figure_text(quality, c.name), c.unit), c.meaning)
        for c in columns
    ]
    if quality.difference is not None:
        meaning = _ERROR_MEANING.format(quality.difference.samples)
        rows.append((_ERROR, _error_text(quality), meaning))
    executed = quality.executed_precision or "an unknown precision"
    header = f"{_size_text(quality)} on {quality.device} in {executed}"
    decides = f"Quality is the {BY_NAME[quality.metric].title}: {quality.reason}."
    console.print_table((quality.variant, header, "meaning"), rows, decides)
    if len(quality.outputs) > 1:
        _print_outputs(quality)


def _print_outputs(quality: Quality) -> None:
    """Print the comparison of each output and channel group with the baseline."""
    rows = [
        (
            part.name,
            units.UNKNOWN if part.cosine is None else units.text(part.cosine.value),
            units.text(part.relative_error),
            units.text(part.max_abs_difference),
            part.reason,
        )
        for part in quality.outputs
    ]
    console.print_table(("output", "cosine", "relative error", "largest difference", ""), rows)


def _print_table(results: Sequence[Quality]) -> None:
    """Print a row for each device and precision, with the figures that rank a choice."""
    shares = ("accuracy_", "agreement_")
    columns = [
        n for n in _column_names(results[0]) if n.startswith(shares) or n == results[0].metric
    ]
    texts = results[0].metric == "perplexity"
    if texts:
        columns = _column_names(results[0])
    errors = () if texts else (_ERROR,)
    headings = ("device", "precision", "executed", *(BY_NAME[n].title for n in columns), *errors)
    rows = [
        (
            quality.device,
            quality.precision,
            quality.executed_precision or units.UNKNOWN,
            *(_figure_text(quality, name).replace(" [", "\n[") for name in columns),
            *(() if texts else (_error_text(quality),)),
        )
        for quality in results
    ]
    about = (
        f"{results[0].variant} on {_size_text(results[0])}; exact: the most accurate mode of the"
        " device."
    )
    if texts:
        console.print_table(headings, rows, about)
        return
    compared = next((q.difference.samples for q in results if q.difference is not None), 0)
    console.print_table(headings, rows, f"{about} {_ERROR}: {_ERROR_MEANING.format(compared)}.")


def _size_text(quality: Quality) -> str:
    """Return the number of samples, of a text that of its tokens."""
    tokens = quality.figures.get("quality_tokens")
    if tokens is not None:
        return units.count_text(int(tokens), "token")
    return units.count_text(int(quality.figures["quality_samples"]), "sample")


def _column_names(quality: Quality) -> list[str]:
    """Return the figures that have a column, without the ends of intervals."""
    return [n for n in quality.figures if n in BY_NAME and n not in _SIZES]


def _figure_text(quality: Quality, name: str) -> str:
    figures = quality.figures
    if name not in figures:
        return units.UNKNOWN
    low, high = figures.get(f"{name}_ci_low"), figures.get(f"{name}_ci_high")
    return units.interval_text(figures[name], low, high)


def _error_text(quality: Quality) -> str:
    if quality.difference is None:
        return "reference"
    error, divergence = quality.difference.error, quality.difference.divergence
    if error is None:
        return units.UNKNOWN
    place = f"\ndiverges at {divergence.name}" if divergence else ""
    return f"{units.text(100 * error)}%{place}"
