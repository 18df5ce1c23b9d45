"""The verb ``analyze``: count operations, parameters and bytes of one inference."""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovtool.benchmark import jobs
from ovtool.charts.layer_report import LayerFiles, write_layer_report
from ovtool.core import files, temporary
from ovtool.core.errors import InputError
from ovtool.core.ports import fix_shapes
from ovtool.core.progress import SILENT, Progress
from ovtool.core.tabular import Tabular
from ovtool.core.terminal import shows_progress
from ovtool.core.third_party import read_graph
from ovtool.graph import counts
from ovtool.models.convert import ModelReference, load_or_convert_next_to

if TYPE_CHECKING:
    from collections.abc import Mapping

    import openvino as ov

    from ovtool.core.shapes import Named
    from ovtool.core.trial import Trial
    from ovtool.core.variant import Variant
    from ovtool.graph.counts import Analysis, LayerCounts, Totals


@dataclass(frozen=True, slots=True, repr=False)
class ModelAnalysis(Tabular):
    """Operations, parameters and bytes of one inference of ``batch`` samples."""

    variant: str
    batch: int
    shapes: Named
    analysis: Analysis
    files: LayerFiles | None = None
    _SHOWN = ("name", "type", "output_shape", "flops", "parameters", "moved_bytes", "intensity")

    def _title(self) -> str:
        total = self.analysis.total
        flops = f"{total.flops:,} FLOPs" if total.known else "unknown FLOPs"
        size = f"{total.layers} layers, {flops}, {total.parameters:,} parameters"
        return f"{self.variant}, batch {self.batch}: {size}"

    def _rows(self) -> list[dict[str, Any]]:
        return [row(layer) for layer in self.analysis.layers]

    def lower_bound_s(self, flops_per_s: float) -> float:
        """Return ``FLOPs / speed``, a lower bound of the latency without memory and overhead."""
        return self.analysis.total.flops / flops_per_s

    def bytes_at(self, precision: str) -> tuple[float, float]:
        """Return the bytes of all parameters and of all activations in a precision."""
        layers = self.analysis.layers
        return (
            sum(layer.parameter_bytes(precision) for layer in layers),
            sum(layer.activation_bytes(precision) for layer in layers),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the analysis as JSON types."""
        analysis = self.analysis
        return {
            "variant": self.variant,
            "batch": self.batch,
            "shapes": {name: list(shape) for name, shape in self.shapes},
            "total": _sums(analysis.total),
            "bytes_at": {
                precision: dict(
                    zip(("parameters", "activations"), self.bytes_at(precision), strict=True)
                )
                for precision in counts.BITS
            },
            "by_type": {name: _sums(sums) for name, sums in analysis.by_type().items()},
            "layers": [row(layer) for layer in analysis.layers],
            "not_counted": [layer.name for layer in analysis.not_counted],
        }


def _sums(totals: Totals) -> dict[str, Any]:
    sums = asdict(totals) | {"flops": totals.flops, "intensity": totals.intensity}
    return sums if totals.known else sums | dict.fromkeys(("macs", "other_flops", "flops"))


def row(layer: LayerCounts) -> dict[str, Any]:
    """Return a layer as a row of the table: its counts, and its bytes at each precision."""
    return asdict(layer) | {
        "flops": layer.flops,
        "moved_bytes": layer.moved_bytes,
        "intensity": layer.intensity,
        **{f"parameter_bytes_{p}": layer.parameter_bytes(p) for p in counts.BITS},
        **{f"activation_bytes_{p}": layer.activation_bytes(p) for p in counts.BITS},
    }


@shows_progress()
def analyze(
    model: ModelReference,
    *,
    batch: int | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    out: str | Path | None = None,
    progress: Progress = SILENT,
    force: bool = False,
) -> ModelAnalysis:
    """Count the operations, parameters and bytes of each layer of a model, without inference.

    Args:
        model: A variant, its folder, or a model that :func:`ovtool.api.convert` reads.
        batch: Samples per inference; None: the batch in ``shapes``, the model's fixed batch, or 1.
        shapes: Input shapes for the model's open dimensions.
        out: Folder for a table and a document.
        progress: Receives the stages.
        force: Whether an existing folder may be replaced.

    Raises:
        InputError: A dimension stays open, or the model does not support the batch or the shapes.
    """
    from ovtool.core.trial_grid import plan_inferences, single_spec

    spec = single_spec(batch=batch, shapes=shapes)
    with contextlib.ExitStack() as stack:
        scratch = stack.enter_context(temporary.scratch_folder("analyze"))
        folder = stack.enter_context(files.new_folder(Path(out), force)) if out else None
        variant = load_or_convert_next_to(model, Path(out) if out else None, scratch, progress)
        (trial,) = plan_inferences([variant], ["CPU"], spec)
        fixed = _fixed_shapes(trial, variant)
        analysis = counts.analyze(_read_graph(variant, fixed))
        result = ModelAnalysis(variant.name, trial.batch, fixed, analysis)
        return result if folder is None or out is None else _write(result, folder, Path(out))


def _fixed_shapes(trial: Trial, variant: Variant) -> Named:
    from ovtool.benchmark.session import TrialFailedError

    jobs.require_fixed_shapes(trial, variant, "counting")
    try:
        job = jobs.prepare_job(trial, variant)
    except TrialFailedError as error:
        raise InputError(str(error)) from error
    return tuple(zip(job.names, job.shapes, strict=True))


def _read_graph(variant: Variant, shapes: Named) -> ov.Model:
    model = read_graph(variant.xml)
    fix_shapes(model, shapes, variant.name)
    return model


def _write(result: ModelAnalysis, folder: Path, target: Path) -> ModelAnalysis:
    """Write the files into a folder that will be renamed to ``target``."""
    from ovtool.core.shapes import shape_text

    rows = [
        row(layer) | {"output_shape": shape_text(layer.output_shape or ())}
        for layer in result.analysis.layers
    ]
    columns = list(rows[0]) if rows else []
    parts = write_layer_report(folder, target, "analysis", result.to_json(), rows, columns)
    return replace(result, files=parts)
