"""The quality of a graph that is not saved yet, for methods that choose their settings by it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ovtool.core.errors import InputError
from ovtool.core.metrics import COLUMNS
from ovtool.core.statistics import Interval
from ovtool.datasets.samples import batches, check_metric, labels_of
from ovtool.evaluation import alphabet, classes, judged_output, score_texts
from ovtool.evaluation.scores import score
from ovtool.graph.reference_run import ReferenceModel

if TYPE_CHECKING:
    import openvino as ov
    from numpy.typing import NDArray

    from ovtool.core.metrics import Metric, QualityMetric
    from ovtool.core.variant import Variant
    from ovtool.datasets.samples import Samples


@dataclass(slots=True)
class GraphJudge:
    """Takes the quality of graphs with the ports of one variant, on the CPU in f32.

    Args:
        samples: Validation samples, preprocessed for the variant.
        variant: Whose ports the graphs have, and the uncompressed one that agreement is with.
        kind: ``top1`` needs classes for labels, ``characters`` texts, ``agreement`` none.
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
        check_metric(self.kind, self.samples)
        labels = None if self.kind == "agreement" else labels_of(self.samples)
        reference = self._uncompressed() if self.kind == "agreement" else None
        found = self._outputs(model)
        if isinstance(labels, tuple):
            figures = score_texts(found, labels, alphabet(self.variant)).figures
        else:
            figures = score(found, labels, reference).figures
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
        inputs = self.variant.record.inputs
        index = judged_output(self.variant.record.outputs)
        reference = ReferenceModel(model)
        collected = []
        for batch in batches(self.samples, inputs, 1):
            arrays = {place: batch.inputs[port.name] for place, port in enumerate(inputs)}
            output = reference.run(arrays)[index]
            collected.append(classes(output) if self.kind == "characters" else output)
        return np.concatenate(collected)
