"""The verb that says what quantizing each layer of a model costs."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass
from dataclasses import replace as with_fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovtool.charts.layer_report import LayerFiles, write_layer_report
from ovtool.compression.compress import Given, judge_of
from ovtool.core import files, units
from ovtool.core.errors import InputError
from ovtool.core.progress import SILENT, Progress
from ovtool.datasets.spec import DataSpec
from ovtool.models.references import Reference, variant_beside

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ovtool.compression.sensitivity import Sensitivity
    from ovtool.core.metrics import Metric

METHODS = ("int8", "fp8")


@dataclass(frozen=True, slots=True)
class SensitivityFound:
    """What :func:`sensitivity` found.

    Args:
        variant: Its name.
        method: What layers were quantized by.
        settings: Of the method.
        found: The layers.
        files: What was written; None without a folder.
    """

    variant: str
    method: str
    settings: Mapping[str, Any]
    found: Sensitivity
    files: LayerFiles | None = None

    @property
    def caption(self) -> str:
        """What was measured, in a sentence or two."""
        together = units.text(self.found.sqnr_db)
        return (
            f"{self.variant}, {self.method}, one layer quantized at a time: signal to quantization"
            f" noise of the first output on {self.found.samples} calibration samples, without bias"
            f" correction. All layers together: {together} dB."
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON types; what is infinite is None."""
        found = self.found
        told: dict[str, Any] = units.finite(
            {
                "variant": self.variant,
                "method": self.method,
                "settings": dict(self.settings),
                "samples": found.samples,
                "metric": found.metric,
                "in_float": found.in_float,
                "all_layers_sqnr_db": found.sqnr_db,
                "layers": [cost.to_json() for cost in found.layers],
                "not_reached": found.not_reached,
            }
        )
        return told


def sensitivity(
    model: Reference,
    *,
    data: DataSpec | str,
    method: str = "int8",
    settings: Mapping[str, Any] | None = None,
    validation: DataSpec | str | None = None,
    metric: Metric | None = None,
    most: int | None = None,
    time_limit_s: float | None = None,
    out: str | Path | None = None,
    progress: Progress = SILENT,
    replace: bool = False,
) -> SensitivityFound:
    """Say what quantizing each layer of a model costs, the most sensitive layer first.

    Args:
        model: A variant in float, its folder, or what :func:`ovtool.api.convert` takes: that is
            converted into ``<out>-source`` beside ``out``, or for this time only.
        data: Samples to calibrate and to compare outputs on.
        method: ``int8`` or ``fp8``.
        settings: Of the method; ``max_drop`` and ``time_limit_s`` have no meaning here.
        validation: Samples to take the metric on too, all of them for each layer.
        metric: By default top-1 where there are labels, else agreement.
        most: Rows; a model of more layers is measured in blocks of neighbours.
        time_limit_s: Begin no further layer after this long.
        out: Folder for a table, a document and a chart.
        progress: Told of the layers.
        replace: Whether a folder of that name may be replaced.

    Raises:
        InputError: A setting, the data or the model is wrong.
    """
    import openvino as ov

    from ovtool.compression.registry import parse_settings
    from ovtool.compression.sensitivity import MOST, measure
    from ovtool.core.registry import suggestion

    if method not in METHODS:
        raise InputError(f"{method!r} quantizes no layers", suggestion(method, list(METHODS)))
    parsed: Any = parse_settings(method, settings or {})
    target = Path(out) if out is not None else None
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(files.new_folder(target, replace)) if target else None
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="ovtool-sensitivity-"))
        variant = variant_beside(model, target, Path(scratch), progress)
        spec = DataSpec(data) if isinstance(data, str) else data
        found = SensitivityFound(
            variant.name,
            method,
            parsed.model_dump(mode="json"),
            measure(
                ov.Core().read_model(variant.xml, config={"ENABLE_MMAP": False}),
                spec.load(variant, progress),
                variant.record.inputs,
                parsed,
                judge=judge_of(Given(validation=validation, metric=metric), variant, progress),
                most=most or MOST,
                time_limit_s=time_limit_s,
                progress=progress,
            ),
        )
        if folder is None or target is None:
            return found
        progress.start("writing the chart")
        return _written(found, folder, target)


def _written(found: SensitivityFound, folder: Path, target: Path) -> SensitivityFound:
    """Write the parts into a folder that will be called ``target``."""
    from ovtool.charts.noise_by_layer import draw_noise_by_layer

    document = found.to_json()
    rows = document["layers"]
    columns = ["name", "type", "macs_share", "sqnr_db", "noise", "metric_drop"]
    chart = draw_noise_by_layer(rows, found.caption)
    parts = write_layer_report(folder, target, "sensitivity", document, rows, columns, [chart])
    return with_fields(found, files=parts)
