"""The verb that counts what one inference of a model asks for, without running it."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovtool.benchmark import jobs
from ovtool.charts.layer_report import LayerFiles, write_layer_report
from ovtool.core import files
from ovtool.core.errors import InputError
from ovtool.core.progress import SILENT, Progress
from ovtool.core.variant import fix_shapes
from ovtool.graph import counts
from ovtool.models.references import Reference, variant_beside

if TYPE_CHECKING:
    from collections.abc import Mapping

    import openvino as ov

    from ovtool.core.shapes import Named
    from ovtool.core.trial import Trial
    from ovtool.core.variant import Variant
    from ovtool.graph.counts import Analysis, LayerCounts, Totals


@dataclass(frozen=True, slots=True)
class Analyzed:
    """What :func:`analyze` found.

    Args:
        variant: Its name.
        batch: Samples in the inference that was counted.
        shapes: Of the inputs.
        analysis: The layers.
        files: What was written; None without a folder.
    """

    variant: str
    batch: int
    shapes: Named
    analysis: Analysis
    files: LayerFiles | None = None

    def least_s(self, flops_per_s: float) -> float:
        """Return ``FLOPs / speed``: no inference is faster, memory and overhead are left out."""
        return self.analysis.total.flops / flops_per_s

    def bytes_at(self, precision: str) -> tuple[float, float]:
        """Return what all parameters, and all values read and written, take in a precision."""
        layers = self.analysis.layers
        return (
            sum(layer.parameter_bytes(precision) for layer in layers),
            sum(layer.activation_bytes(precision) for layer in layers),
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON types."""
        found = self.analysis
        return {
            "variant": self.variant,
            "batch": self.batch,
            "shapes": {name: list(shape) for name, shape in self.shapes},
            "total": _sums(found.total),
            "bytes_at": {
                precision: dict(
                    zip(("parameters", "activations"), self.bytes_at(precision), strict=True)
                )
                for precision in counts.BITS
            },
            "by_type": {name: _sums(sums) for name, sums in found.by_type().items()},
            "layers": [row(layer) for layer in found.layers],
            "not_counted": [layer.name for layer in found.not_counted],
        }


def _sums(totals: Totals) -> dict[str, Any]:
    found = asdict(totals) | {"flops": totals.flops, "intensity": totals.intensity}
    return found if totals.known else found | dict.fromkeys(("macs", "other_flops", "flops"))


def row(layer: LayerCounts) -> dict[str, Any]:
    """Return a layer as a row of the table: its counts, and its bytes at each precision."""
    return asdict(layer) | {
        "flops": layer.flops,
        "moved_bytes": layer.moved_bytes,
        "intensity": layer.intensity,
        **{f"parameter_bytes_{p}": layer.parameter_bytes(p) for p in counts.BITS},
        **{f"activation_bytes_{p}": layer.activation_bytes(p) for p in counts.BITS},
    }


def analyze(
    model: Reference,
    *,
    batch: int | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    out: str | Path | None = None,
    progress: Progress = SILENT,
    replace: bool = False,
) -> Analyzed:
    """Count the operations, parameters and bytes of each layer of a model; nothing is run.

    Args:
        model: A variant, its folder, or what :func:`ovtool.api.convert` takes.
        batch: Samples in an inference; None takes the batch in ``shapes``, else 1.
        shapes: Of inputs, where the model leaves dimensions open.
        out: Folder for a table and a document.
        progress: Told of the stages.
        replace: Whether a folder of that name may be replaced.

    Raises:
        InputError: A dimension stays open, or the model does not take the batch or the shapes.
    """
    from ovtool.core.trial_grid import plan_trials, single_spec

    spec = single_spec(batch=batch, shapes=shapes)
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ovtool-analyze-")))
        folder = stack.enter_context(files.new_folder(Path(out), replace)) if out else None
        variant = variant_beside(model, Path(out) if out else None, scratch, progress)
        (trial,) = plan_trials([variant], ["CPU"], spec)
        fixed = _shapes(trial, variant)
        found = Analyzed(variant.name, trial.batch, fixed, counts.analyze(_graph(variant, fixed)))
        return found if folder is None or out is None else _written(found, folder, Path(out))


def _shapes(trial: Trial, variant: Variant) -> Named:
    from ovtool.benchmark.session import TrialFailedError

    jobs.require_fixed_shapes(trial, variant, "counting")
    try:
        job = jobs.prepare_job(trial, variant)
    except TrialFailedError as error:
        raise InputError(str(error)) from error
    return tuple(zip(job.names, job.shapes, strict=True))


def _graph(variant: Variant, shapes: Named) -> ov.Model:
    import openvino as ov

    model = ov.Core().read_model(variant.xml)
    fix_shapes(model, shapes, variant.name)
    return model


def _written(found: Analyzed, folder: Path, target: Path) -> Analyzed:
    """Write the parts into a folder that will be called ``target``."""
    from ovtool.core.shapes import shape_text

    rows = [
        row(layer) | {"output_shape": shape_text(layer.output_shape or ())}
        for layer in found.analysis.layers
    ]
    columns = list(rows[0]) if rows else []
    parts = write_layer_report(folder, target, "analysis", found.to_json(), rows, columns)
    return replace(found, files=parts)
