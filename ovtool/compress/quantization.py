"""8-bit weights and activations by post-training quantization (``nncf.quantize``)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from ovtool.compress.method import Compressed, Ignoring, Method, Work
from ovtool.compress.session import ignored_scope, quiet_nncf
from ovtool.errors import InputError
from ovtool.samples import Sample, Samples, batches, sample_axis

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ovtool.progress import Progress
    from ovtool.variant import Port


class Quantizing(Ignoring):
    """Settings of ``nncf.quantize`` of any graph, by its names."""

    preset: Literal["auto", "performance", "mixed"] = Field(
        "auto",
        description="activations symmetric (performance) or asymmetric (mixed, more accurate); "
        "auto: mixed for transformers, else performance",
    )
    subset_size: int = Field(300, ge=1, description="samples to calibrate on")
    model_type: Literal["none", "transformer"] = Field(
        "none", description="transformer: keeps what attention needs in float, and smooths"
    )


class Int8Settings(Quantizing):
    """Settings of ``nncf.quantize`` of an OpenVINO graph."""

    fast_bias_correction: bool = Field(
        True, description="false: the full correction, slower and often more accurate"
    )
    target_device: Literal["any", "cpu", "gpu", "npu", "cpu_spr"] = Field(
        "any", description="device whose quantization rules apply"
    )


class Feed:
    """Calibration batches as NNCF iterates them, telling the progress of it.

    NNCF reads the data once for each of its algorithms that needs statistics and drops the
    iterator when it has enough: then it is busy with corrections that it does not count.
    """

    def __init__(
        self, samples: Samples, inputs: Sequence[Port], limit: int, progress: Progress
    ) -> None:
        self._samples, self._inputs, self._progress = samples, inputs, progress
        self._count = min(limit, len(samples))
        axis = sample_axis(inputs[0])
        self._batch = 1 if axis is None else max(1, inputs[0].shape[axis])

    def __len__(self) -> int:
        """Return the number of batches."""
        return math.ceil(self._count / self._batch)

    def __iter__(self) -> Iterator[dict[int, Any]]:
        """Yield inputs by place, each time from the start."""
        self._progress.start("calibrating", self._count)
        try:
            for batch in batches(self._spread(), self._inputs, self._batch):
                self._progress.advance(batch.count)
                yield {i: batch.inputs[port.name] for i, port in enumerate(self._inputs)}
        finally:
            self._progress.start("quantizing and correcting")

    def _spread(self) -> Iterator[Sample]:
        """Yield the wanted number of samples from all over the data.

        The first ones alone would be of the first classes where a folder is sorted by class.
        """
        total = len(self._samples)
        wanted = {place * total // self._count for place in range(self._count)}
        return (sample for place, sample in enumerate(self._samples) if place in wanted)


def _apply(work: Work[Int8Settings]) -> Compressed:
    settings, samples = work.settings, work.material.calibration
    if samples is None:
        raise InputError("int8 is calibrated on data", "give some with --data")
    if len(samples) < settings.subset_size:
        work.progress.note(f"calibrating on all {len(samples)} samples of {samples.reference}")
    feed = Feed(samples, work.parent.record.inputs, settings.subset_size, work.progress)
    work.progress.start("reading the graph")
    with quiet_nncf("int8 quantization"):
        import nncf

        preset = settings.preset
        model = nncf.quantize(
            work.model,
            nncf.Dataset(feed),
            preset=None if preset == "auto" else nncf.QuantizationPreset(preset),
            target_device=nncf.TargetDevice(settings.target_device.upper()),
            subset_size=len(feed),
            fast_bias_correction=settings.fast_bias_correction,
            model_type=None if settings.model_type == "none" else nncf.ModelType.TRANSFORMER,
            ignored_scope=ignored_scope(work.model, settings),
        )
    return Compressed(model, {"calibration_samples": min(settings.subset_size, len(samples))})


INT8 = Method(Int8Settings, frozenset({"calibration"}), _apply, "size; speed on CPU, GPU and NPU")
