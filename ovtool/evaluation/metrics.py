"""The quality metric of a model: which one decides, why, and on which outputs.

The user's metric decides; else the labels; else, without labels, the graph: agreement decides
where it shows that every output is classes (a softmax, or the index of an ArgMax), else the cosine
of the worst output.  A linear layer shows nothing: it may be an embedding, landmarks or a rating.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ovtool.core.columns import METRIC_COLUMNS, metric_column
from ovtool.core.errors import InputError
from ovtool.core.paired import SampleScores
from ovtool.core.registry import suggestion
from ovtool.datasets.samples import label_kind, read_labels, sample_shape
from ovtool.evaluation.class_outputs import find_class_outputs
from ovtool.evaluation.custom_metric import call_metric, load_metric
from ovtool.evaluation.labeled import score_detections, score_masks
from ovtool.evaluation.loss import find_loss
from ovtool.evaluation.scores import (
    Score,
    check_classes,
    check_finite,
    compare_outputs,
    find_agreeing,
    has_classes,
    predict_classes,
    sample_errors,
    score_classes,
    score_error,
)
from ovtool.evaluation.text import load_alphabet, score_lines, score_texts, select_classes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ovtool.core.columns import Metric, QualityMetric
    from ovtool.core.ports import Port
    from ovtool.core.variant import Variant
    from ovtool.datasets.samples import Label, LabelKind, Samples
    from ovtool.evaluation.class_outputs import ClassOutput
    from ovtool.evaluation.outputs import Rows
    from ovtool.evaluation.text import Alphabet

    Outputs = Mapping[str, Rows]

_NEEDS: dict[Metric, LabelKind] = {
    "top1": "classes", "characters": "texts", "mae": "numbers", "map": "boxes", "iou": "numbers",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class MetricRequest:
    """What the user wants to be judged; the data decides the rest.

    Args:
        metric: A key of ``METRIC_COLUMNS``, or ``module:function``; None: by the data.
        outputs: Names of the outputs to judge; empty: all.
        trust: Whether a function of the user may be imported.
    """

    metric: Metric | None = None
    outputs: tuple[str, ...] = ()
    trust: bool = False


@dataclass(frozen=True, slots=True)
class Judge:
    """Scores the outputs of a model by the metric that decides, and by all others that apply.

    Args:
        reason: Why this metric decides.
        names: Names of all outputs.
        judged: Positions of the outputs that are judged.
        classes: Names of the judged outputs that are classes, with the threshold of one value a
            sample, see :func:`~ovtool.evaluation.scores.predict_classes`.
        target: Name of the output that labels are compared with; None without labels.
        labels: Labels of all samples; None without.
        alphabet: The texts of the classes, for labels that are texts.
        function: The user's metric.
    """

    metric: Metric
    reason: str
    names: tuple[str, ...]
    judged: tuple[int, ...]
    classes: Mapping[str, float | None] = field(default_factory=dict)
    target: str | None = None
    labels: tuple[Any, ...] | None = field(default=None, repr=False)
    alphabet: Alphabet | None = None
    function: Callable[..., Any] | None = None

    @property
    def column(self) -> QualityMetric:
        """The column of the metric."""
        return metric_column(self.metric)

    @property
    def compares(self) -> bool:
        """Whether the metric needs outputs of the uncompressed model."""
        return self.metric in ("agreement", "cosine")

    def reduce(self, rows: Rows) -> Rows:
        """Return what the score needs of an output: of recognizers only the highest classes."""
        if self.alphabet is None:
            return rows
        return select_classes(np.asarray(rows))

    def score(self, outputs: Outputs, references: Outputs | None, samples: int) -> Score:
        """Return all figures of the judged outputs, by name, and of the reference's.

        Raises:
            InputError: Labels do not fit the outputs.
        """
        result = Score({"quality_samples": float(samples)}).plus(
            self.score_labels(outputs, references)
        )
        if references is not None:
            result = result.plus(find_loss(self, result, outputs, references))
        if self._reads_texts:
            return result
        if references is not None:
            result = result.plus(compare_outputs(outputs, references, self.classes))
        if self.function is not None:
            value = call_metric(self.metric, self.function, outputs, self.labels)
            result.figures.update({} if value is None else {"custom_metric": value})
        notes = [note for n, rows in outputs.items() for note in check_finite(n, "output", rows)]
        return Score({}, tuple(notes)).plus(result)

    def sample_scores(self, outputs: Outputs, references: Outputs | None) -> SampleScores | None:
        """Return what each sample adds to the metric, or to its negative where lower is better.

        None for a metric that is no mean over samples, or whose scores compare with the reference:
        cosine. The output with the fewest agreeing samples counts, as for the figure.

        Raises:
            InputError: Labels do not fit the outputs.
        """
        flags = None
        if self.metric == "agreement" and references is not None and self.alphabet is None:
            known = [
                agreeing
                for name, threshold in self.classes.items()
                if name in outputs
                and (agreeing := find_agreeing(outputs[name], references[name], threshold))
                is not None
            ]
            flags = min(known, key=lambda agreeing: int(agreeing.sum()), default=None)
        elif self.target is None or self.labels is None or self.function is not None:
            return None
        elif self.metric == "characters" and self.alphabet is not None:
            lines: Any = outputs[self.target]
            return score_lines(lines, self.labels, self.alphabet)
        elif self.metric == "mae":
            errors = sample_errors(outputs[self.target], self.labels, self.target)
            return SampleScores(tuple((-errors).tolist()))
        elif self.metric == "top1":
            predicted = predict_classes(outputs[self.target], self.classes.get(self.target))
            flags = None if predicted is None else predicted == np.array(self.labels, np.int64)
        return None if flags is None else SampleScores(tuple(flags.tolist()))

    @property
    def _reads_texts(self) -> bool:
        return self.alphabet is not None and self.target is not None

    def score_labels(self, outputs: Outputs, references: Outputs | None = None) -> Score:
        """Return the figures by labels, and for texts the agreement with the reference's.

        Raises:
            InputError: Labels do not fit the outputs.
        """
        if self.alphabet is not None and self.target is not None:
            reference: Any = None if references is None else references[self.target]
            lines: Any = outputs[self.target]
            return score_texts(lines, self.labels or (), self.alphabet, reference)
        labels = None if self.function is not None else self.labels
        kind = label_kind(labels[0]) if labels else None
        if labels is not None and kind == "boxes":
            return score_detections(outputs, labels)
        if labels is None or self.target is None:
            return Score({})
        rows = outputs[self.target]
        if self.metric == "iou":
            return score_masks(self.target, rows, labels)
        if self.metric == "mae" or kind == "numbers":
            return score_error(rows, labels, self.target)
        classes = np.array(labels, np.int64)
        return score_classes(rows, classes, self.target, self.classes.get(self.target))


def make_judge(request: MetricRequest, variant: Variant, samples: Samples) -> Judge:
    """Return the judge of a variant and of all variants made from it.

    Args:
        request: The user's wishes.
        variant: The uncompressed variant, if there is one.
        samples: Held-out samples.

    Raises:
        InputError: An output is unknown, or the metric does not fit the labels or the outputs.
    """
    ports = variant.record.outputs
    judged = _find_outputs(ports, request.outputs)
    selected = [ports[index] for index in judged]
    label: Label = next(iter(samples)).label if samples.labelled else None
    classes = find_class_outputs(variant, selected)
    if label_kind(label) == "classes" and not _are_two_classes(classes, samples):
        classes = {name: c for name, c in classes.items() if c.threshold is None}
    function = None
    if request.metric is not None and request.metric not in METRIC_COLUMNS:
        function = load_metric(request.metric, trust=request.trust)
    decision = _decide(request.metric, label, selected, classes, samples.reference)
    texts = label_kind(label) == "texts" and decision.target is not None
    if texts:
        judged = tuple(i for i in judged if ports[i].name == decision.target)
    read = {name for name, output in classes.items() if output.shown}
    labels = _read_labels(samples, decision, label)
    if decision.metric == "top1" and labels is not None:
        shape = next((-1, *sample_shape(p)) for p in ports if p.name == decision.target)
        check_classes(np.array(labels, np.int64), shape[1] if has_classes(shape) else None)
    if decision.metric in ("top1", "agreement"):
        read |= set(classes) if decision.target is None else {decision.target}
    return Judge(
        metric=decision.metric,
        reason=decision.reason,
        names=tuple(port.name for port in ports),
        judged=judged,
        classes={name: output.threshold for name, output in classes.items() if name in read},
        target=decision.target,
        labels=labels,
        alphabet=load_alphabet(variant, judged[0]) if texts else None,
        function=function,
    )


def _are_two_classes(classes: Mapping[str, ClassOutput], samples: Samples) -> bool:
    """Return whether labels are 0 and 1 only; they are read where one value decides by them."""
    if all(output.threshold is None for output in classes.values()):
        return False
    return set(read_labels(samples) or ()) <= {0, 1}


@dataclass(frozen=True, slots=True)
class _Decision:
    metric: Metric
    reason: str
    target: str | None = None


def _decide(
    metric: Metric | None,
    label: Label,
    ports: Sequence[Port],
    classes: Mapping[str, ClassOutput],
    reference: str,
) -> _Decision:
    """Return the metric that decides, why, and the output that labels are compared with."""
    by_labels = _by_labels(label, ports, classes) if label is not None else None
    if metric is None:
        if by_labels is None and label_kind(label) == "numbers":
            raise InputError(
                f"no output fits the labels, which have {np.asarray(label).size} values a"
                f" sample: {_shapes(ports)}",
                "labels are a class, a mask or the values of an output; else --metric"
                " module:function",
            )
        why = "no labels" if label is None else "no output fits the labels"
        return by_labels or _without_labels(ports, classes, why)
    reason = "chosen with --metric"
    if metric not in METRIC_COLUMNS:
        return _Decision(metric, reason, by_labels.target if by_labels else None)
    if metric == "perplexity":
        raise InputError(
            "metric perplexity needs a text generator with its tokenizer",
            "convert the folder of a language model, or use another metric",
        )
    kind = label_kind(label)
    if metric == "agreement" and kind == "texts":
        return _Decision(metric, reason, ports[0].name)
    needed = _NEEDS.get(metric)
    if needed is not None and kind is None:
        raise InputError(
            f"metric {metric} needs labels; {reference} has none",
            "give labels, or use the metric agreement or cosine",
        )
    if needed not in (None, kind) and not (metric == "mae" and kind == "classes"):
        raise InputError(
            f"metric {metric} does not fit the labels of {reference}: they are {kind}",
            f"use {by_labels.metric if by_labels else 'agreement'} or cosine",
        )
    if metric in ("mae", "iou"):
        return _Decision(metric, reason, _target(metric, np.asarray(label), ports))
    if metric in ("agreement", "top1") and not classes:
        raise InputError(
            f"metric {metric} needs class scores [samples, classes], not {_shapes(ports)}",
            f"use the metric {'cosine' if metric == 'agreement' else 'mae'}",
        )
    fits = by_labels is not None and by_labels.metric in ("top1", "characters")
    return _Decision(metric, reason, by_labels.target if by_labels and fits else None)


def _target(metric: Metric, label: np.ndarray[Any, Any], ports: Sequence[Port]) -> str:
    """Return the output that numbers or masks are compared with."""
    if metric == "iou" and label.ndim < 2:
        raise InputError(
            f"metric iou needs masks [height, width], not labels of shape {list(label.shape)}",
            "use --metric module:function",
        )
    target = _matching(label, ports) if metric == "mae" else _class_map(ports)
    if target is None:
        raise InputError(
            f"metric {metric} does not fit the outputs {_shapes(ports)}",
            "name the output that the labels are for: --output",
        )
    return target


def _by_labels(
    label: Label, ports: Sequence[Port], classes: Mapping[str, ClassOutput]
) -> _Decision | None:
    """Return the decision by labels; None if no output fits them."""
    kind = label_kind(label)
    if kind == "boxes":
        return _Decision("map", "labels are boxes")
    if kind == "texts":
        return _Decision("characters", "labels are texts", ports[0].name)
    if kind == "classes" and classes:
        name = min(classes, key=lambda name: classes[name].rank)
        description = classes[name].description
        return _Decision("top1", f"labels are classes; output {name} is {description}", name)
    values = np.asarray(label)
    if values.ndim >= 2 and values.dtype.kind in "iu" and (target := _class_map(ports)):
        return _Decision("iou", f"labels are masks of classes, output {target} a map", target)
    if (target := _matching(values, ports)) is not None:
        return _Decision("mae", f"labels are numbers, as many as output {target} has", target)
    return None


def _without_labels(
    ports: Sequence[Port], classes: Mapping[str, ClassOutput], why: str
) -> _Decision:
    shown = {name: output for name, output in classes.items() if output.shown}
    if len(shown) == len(ports):
        listed = ", ".join(f"output {name} is {o.description}" for name, o in shown.items())
        return _Decision("agreement", f"{why}; {listed}")
    other = next(port.name for port in ports if port.name not in shown)
    reason = f"{why}; the graph does not show that output {other} is class scores"
    if all(port.name in classes for port in ports):
        reason += "; if it is, set --metric agreement"
    return _Decision("cosine", reason)


def _find_outputs(ports: Sequence[Port], names: Sequence[str]) -> tuple[int, ...]:
    known = [port.name for port in ports]
    for name in names:
        if name not in known:
            raise InputError(f"no output {name!r}", suggestion(name, known))
    return tuple(i for i, name in enumerate(known) if not names or name in names)


def _matching(label: np.ndarray[Any, Any], ports: Sequence[Port]) -> str | None:
    """Return the first output with as many values a sample as a label; open sizes fit any."""
    for port in ports:
        sizes = sample_shape(port)
        fixed = math.prod(size for size in sizes if size > 0)
        if label.size == fixed or (-1 in sizes and label.size % max(1, fixed) == 0):
            return port.name
    return None


def _class_map(ports: Sequence[Port]) -> str | None:
    """Return the first output [samples, height, width], with classes before or after."""
    return next((port.name for port in ports if len(sample_shape(port)) in (2, 3)), None)


def _shapes(ports: Sequence[Port]) -> str:
    return ", ".join(f"{port.name} {list(port.shape)}" for port in ports)


def _read_labels(samples: Samples, decision: _Decision, label: Label) -> tuple[Any, ...] | None:
    used = decision.target is not None or label_kind(label) == "boxes"
    custom = decision.metric not in METRIC_COLUMNS
    return read_labels(samples) if label is not None and (used or custom) else None
