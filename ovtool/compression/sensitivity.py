"""The verb that measures what quantizing each layer of a model costs."""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass
from dataclasses import replace as with_fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovtool.charts.layer_report import LayerFiles, write_layer_report
from ovtool.compression.compress import CompressionData, create_evaluator
from ovtool.core import files, temporary, units
from ovtool.core.errors import InputError
from ovtool.core.progress import SILENT, Progress
from ovtool.core.tabular import Tabular
from ovtool.core.terminal import shows_progress
from ovtool.core.third_party import read_graph
from ovtool.datasets.fingerprint import fingerprint, shared_notes, used_samples
from ovtool.datasets.spec import DataSpec, as_data_spec
from ovtool.models.convert import ModelReference, load_or_convert_next_to

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ovtool.compression.layer_sensitivity import Sensitivity
    from ovtool.core.columns import Metric
    from ovtool.core.notes import Note
    from ovtool.core.variant import Variant
    from ovtool.datasets.samples import Samples

METHODS = ("int8", "fp8")


@dataclass(frozen=True, slots=True, repr=False)
class SensitivityReport(Tabular):
    """Costs of the layers of a variant; ``files`` are None without an output folder.

    ``notes`` are warnings about the samples.
    """

    variant: str
    method: str
    settings: Mapping[str, Any]
    result: Sensitivity
    notes: tuple[Note, ...] = ()
    files: LayerFiles | None = None

    def _title(self) -> str:
        return self.caption

    def _rows(self) -> list[dict[str, Any]]:
        return [cost.to_json() for cost in self.result.layers]

    @property
    def caption(self) -> str:
        """Description of the measurement in two sentences."""
        together = units.text(self.result.sqnr_db)
        return (
            f"{self.variant}, {self.method}, one layer quantized at a time: signal to quantization"
            f" noise of the worst output on {self.result.samples} calibration samples, without bias"
            f" correction. All layers together: {together} dB."
        )

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON types, with None for infinite values."""
        result = self.result
        document: dict[str, Any] = units.finite(
            {
                "variant": self.variant,
                "method": self.method,
                "settings": dict(self.settings),
                "samples": result.samples,
                "metric": result.metric,
                "in_float": result.in_float,
                "all_layers_sqnr_db": result.sqnr_db,
                "layers": [cost.to_json() for cost in result.layers],
                "not_reached": result.not_reached,
                "notes": [asdict(note) for note in self.notes],
            }
        )
        return document


@shows_progress()
def sensitivity(
    model: ModelReference,
    *,
    data: DataSpec | str | Path,
    labels: str | Path | None = None,
    limit: int | None = None,
    method: str = "int8",
    settings: Mapping[str, Any] | None = None,
    validation_data: DataSpec | str | Path | None = None,
    metric: Metric | None = None,
    outputs: Sequence[str] = (),
    trust: bool = False,
    max_rows: int | None = None,
    time_limit_s: float | None = None,
    out: str | Path | None = None,
    progress: Progress = SILENT,
    force: bool = False,
) -> SensitivityReport:
    """Measure what quantizing each layer of a model costs, the most sensitive layer first.

    A model that is not a variant in float is converted into ``<out>-source`` next to ``out``, or
    temporarily without ``out``. ``method`` is ``int8`` or ``fp8``; its settings ``max_drop``
    and ``time_limit_s`` have no effect, and no settings are searched. ``data`` are for calibration
    and to compare outputs on; the metric is measured on all ``validation_data``, for each layer;
    ``metric``, ``outputs`` and ``trust`` are as for
    :func:`ovtool.evaluation.evaluate.evaluate_each`. ``max_rows`` and ``time_limit_s`` are as for
    :func:`~ovtool.compression.layer_sensitivity.measure_sensitivity`.
    ``out`` is the folder for a table, a document and a chart.

    Raises:
        InputError: A setting, the data or the model is wrong.
    """
    from ovtool.compression.calibration_rules import decide
    from ovtool.compression.layer_sensitivity import MAX_ROWS, measure_sensitivity
    from ovtool.compression.ptq import check_not_quantized
    from ovtool.compression.registry import parse_settings
    from ovtool.core.registry import suggestion

    if method not in METHODS:
        raise InputError(
            f"method {method!r} does not quantize layers", suggestion(method, list(METHODS))
        )
    parsed: Any = parse_settings(method, settings or {})
    target = Path(out) if out is not None else None
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(files.new_folder(target, force)) if target else None
        scratch = stack.enter_context(temporary.scratch_folder("sensitivity"))
        variant = load_or_convert_next_to(model, target, scratch, progress)
        graph = read_graph(variant.xml, mapped=False)
        check_not_quantized(graph, variant.name)
        parsed, _ = decide(graph, parsed)
        spec = as_data_spec(data, labels, limit)
        inputs = CompressionData(
            validation=as_data_spec(validation_data, limit=limit),
            metric=metric,
            outputs=tuple(outputs),
            trust=trust,
        )
        calibration = spec.load(variant, progress)
        evaluator = create_evaluator(inputs, variant, progress, parsed)
        result = measure_sensitivity(
            graph,
            calibration,
            variant.record.inputs,
            parsed,
            evaluator=evaluator,
            max_rows=max_rows or MAX_ROWS,
            time_limit_s=time_limit_s,
            progress=progress,
        )
        report = SensitivityReport(
            variant.name,
            method,
            parsed.model_dump(mode="json"),
            result,
            _data_notes(variant, calibration, evaluator.samples if evaluator else None),
        )
        if folder is None or target is None:
            return report
        progress.start("writing the chart")
        return with_fields(report, files=_write_files(folder, target, report))


def _data_notes(
    variant: Variant, calibration: Samples, validation: Samples | None
) -> tuple[Note, ...]:
    """Return the warnings about the samples, and about samples that serve two purposes."""
    notes = calibration.notes
    if validation is not None:
        own = {"calibration of sensitivity": fingerprint(calibration).samples}
        used = dict(used_samples(variant.record)) | own
        other = fingerprint(validation).samples
        notes += validation.notes + shared_notes(used, other, "validation of sensitivity")
    return tuple(dict.fromkeys(notes))


def _write_files(folder: Path, target: Path, report: SensitivityReport) -> LayerFiles:
    """Write the table, the document and the chart into a folder that becomes the target."""
    from ovtool.charts.layers import draw_noise_by_layer

    document = report.to_json()
    rows = document["layers"]
    columns = ["name", "type", "macs_share", "sqnr_db", "noise", "metric_drop"]
    charts = [draw_noise_by_layer(rows, report.caption)]
    return write_layer_report(folder, target, "sensitivity", document, rows, columns, charts)
