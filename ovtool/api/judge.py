"""The quality of a graph that is not saved yet, for methods that choose their settings by it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ovtool.devices import rules
from ovtool.errors import InputError
from ovtool.metrics import COLUMNS
from ovtool.quality import judged_output, score
from ovtool.samples import batches
from ovtool.statistics import Interval

if TYPE_CHECKING:
    import openvino as ov
    from numpy.typing import NDArray

    from ovtool.metrics import Metric, QualityMetric
    from ovtool.samples import Samples
    from ovtool.variant import Variant


@dataclass(slots=True)
class GraphJudge:
    """Takes the quality of graphs with the ports of one variant, on the CPU in f32.

    Args:
        samples: Validation samples, preprocessed for the variant.
        variant: Whose ports the graphs have, and the uncompressed one that agreement is with.
        kind: ``top1`` needs labels; ``agreement`` does not.
    """

    samples: Samples
    variant: Variant
    kind: Metric
    _reference: NDArray[Any] | None = field(default=None, init=False)

    @property
    def metric(self) -> QualityMetric:
        """The metric's column."""
        return COLUMNS[self.kind]

    def __call__(self, model: ov.Model) -> Interval:
        """Return the metric of a graph.

        Raises:
            InputError: It does not run, or the samples have no labels for the metric.
        """
        labels = None
        if self.kind == "top1":
            if not self.samples.labelled:
                raise InputError(
                    f"{self.samples.reference} has no labels, which the metric top1 needs",
                    "give labels, or use the metric agreement",
                )
            labels = np.array([s.label for s in self.samples], np.int64)
        reference = self._uncompressed() if self.kind == "agreement" else None
        figures = score(self._outputs(model), labels, reference).figures
        if self.metric not in figures:
            raise InputError(f"{self.variant.name} has no {self.metric}: it is no classifier")
        value = figures[self.metric]
        low = figures.get(f"{self.metric}_ci_low", value)
        return Interval(value, low, figures.get(f"{self.metric}_ci_high", value))

    def _uncompressed(self) -> NDArray[Any]:
        if self._reference is None:
            import openvino as ov

            self._reference = self._outputs(ov.Core().read_model(self.variant.xml))
        return self._reference

    def _outputs(self, model: ov.Model) -> NDArray[Any]:
        import openvino as ov

        inputs = self.variant.record.inputs
        index = judged_output(self.variant.record.outputs)
        found = []
        try:
            compiled = ov.Core().compile_model(model, "CPU", dict(rules.reference_properties()))
            for batch in batches(self.samples, inputs, 1):
                feed = {place: batch.inputs[port.name] for place, port in enumerate(inputs)}
                found.append(np.array(compiled(feed)[index]))
        except RuntimeError as error:
            raise InputError(f"the graph does not run on the CPU: {error}") from error
        return np.concatenate(found)
