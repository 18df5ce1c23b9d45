"""The data of a user's own model: its checks, and its split into calibration and evaluation."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovtool.core import units
from ovtool.core.errors import InputError
from ovtool.core.shapes import OPEN, shape_text
from ovtool.datasets.registry import check_data
from ovtool.datasets.samples import CachedSamples
from ovtool.datasets.spec import DataSpec, VariantSamples
from ovtool.evaluation.custom_metric import check_metric
from ovtool.evaluation.evaluator import read_sample_shapes
from ovtool.evaluation.language_evaluator import judge_text
from ovtool.evaluation.metrics import MetricRequest, make_judge
from ovtool.selection.limits import check_quality

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ovtool.core.columns import Metric
    from ovtool.core.progress import Progress
    from ovtool.core.variant import Variant
    from ovtool.datasets.samples import Samples
    from ovtool.models.options import SourceOptions
    from ovtool.selection.choice_spec import ChoiceSpec

EVALUATION_SAMPLES = 1000
"""Maximum number of samples that evaluate."""
_LIMITS = {"calibration": 300, "evaluation": EVALUATION_SAMPLES}
_LIMITS_WITH_VALIDATION = {"calibration": 300, "validation": 500, "evaluation": EVALUATION_SAMPLES}
"""Maximum number of samples by purpose, each of which is a part of equal size."""
_WINDOWS = 32
"""Maximum number of windows of a text that evaluate a text generator."""


@dataclass(frozen=True, slots=True)
class OwnData:
    """The data of a user's own model, which the draft splits; ``source`` None: without data."""

    source: str | None = None
    labels: str | None = None
    limit: int | None = None
    metric: Metric | None = None
    outputs: tuple[str, ...] = ()


def own_data(data: OwnData | DataSpec | str | None) -> OwnData:
    """Return the data in the form that has a metric and outputs."""
    if isinstance(data, DataSpec):
        return OwnData(data.source, data.labels, data.limit)
    return data if isinstance(data, OwnData) else OwnData(data)


def check_request(own: OwnData, choose: ChoiceSpec, *, trust: bool) -> None:
    """Check the data, the metric and the prices as far as no model is necessary.

    Raises:
        InputError: Some of them cannot be read, or the metric imports code without ``trust``.
    """
    if own.metric is not None:
        check_metric(own.metric, trust=trust)
    if own.source is not None:
        check_data(own.source, own.labels)
    elif own.labels or own.metric or own.outputs or choose.max_drop is not None:
        raise InputError("labels, a metric, outputs and --max-drop need samples", "add --data")
    choose.price_table()


@dataclass(frozen=True, slots=True)
class Split:
    """The data of a recipe, and the shapes of the samples for inputs with open dimensions."""

    data: dict[str, Any]
    shapes: dict[str, str]


def split(
    own: OwnData, start: Variant, choose: ChoiceSpec, options: SourceOptions, progress: Progress
) -> Split:
    """Return the parts of the data, or all of it for evaluation if nothing is calibrated.

    The weights of a text generator are compressed without data. Of other models, one half
    calibrates, the other one evaluates; a limit of the loss of quality takes a third part, by which
    INT8 is adjusted until it holds.

    Raises:
        InputError: A sample cannot be read, there are too few, the metric or the limit of quality
            does not fit them, or there are none to show the size of an open dimension.
    """
    generates = start.record.generates_text
    if own.source is None:
        if not generates:
            _refuse_open_dimensions(start)
        return Split({}, {})
    whole = DataSpec(absolute(own.source), absolute(own.labels) if own.labels else None)
    request = MetricRequest(own.metric, own.outputs, options.trust)
    if generates:
        judge_text(request, start, VariantSamples(whole))
    count = len(whole.load(start, progress))
    judged = {"metric": own.metric, "outputs": list(own.outputs)}
    if start.compressed or generates:
        limit = min(count, own.limit or (_WINDOWS if generates else EVALUATION_SAMPLES))
        parts = {"evaluation": replace(whole, limit=limit)}
        progress.note(f"data: {limit} of {units.count_text(count, 'sample')} evaluate")
    else:
        limits = dict(_LIMITS if choose.max_drop is None else _LIMITS_WITH_VALIDATION)
        if count < len(limits):
            raise InputError(
                f"{own.source} has {units.count_text(count, 'sample')}: at least {len(limits)} are"
                " necessary",
                f"one part each is for {', '.join(limits)}",
            )
        parts = {
            name: replace(
                whole,
                part=f"{index}/{len(limits)}",
                limit=min(_size_of_part(count, index, len(limits)), own.limit or most),
            )
            for index, (name, most) in enumerate(limits.items(), 1)
        }
        sizes = ", ".join(f"{part.limit} for {name}" for name, part in parts.items())
        progress.note(f"data: of {count} samples, {sizes}; none has two purposes")
    data = {
        name: present(asdict(part) | ({} if name == "calibration" else judged))
        for name, part in parts.items()
    }
    if generates:
        return Split(data, {})
    samples = {name: CachedSamples(part.load(start)) for name, part in parts.items()}
    _read_all(samples, progress)
    judge = make_judge(request, start, samples["evaluation"])
    if choose.min_quality is not None:
        check_quality(choose.min_quality, judge.column)
    shapes = read_sample_shapes(samples["evaluation"], start)
    return Split(data, {name: shape_text(shape) for name, shape in shapes})


def _size_of_part(count: int, index: int, parts: int) -> int:
    """Return the size of a part of samples, counted from 1, as :func:`parse_part` splits them."""
    return len(range(index - 1, count, parts))


def _refuse_open_dimensions(start: Variant) -> None:
    for port in start.record.inputs:
        wanted = [size for axis, size in enumerate(port.shape) if axis != port.batch_axis]
        if OPEN in wanted:
            raise InputError(
                f"input {port.name} is {shape_text(port.shape)}: only the batch may be open",
                f"fix the sizes, such as --shape {port.name}=?x3x224x224, or give samples: --data",
            )


def _read_all(samples: Mapping[str, Samples], progress: Progress) -> None:
    """Read every sample once, so that a damaged one is an error before the compression."""
    progress.start("reading the samples", sum(map(len, samples.values())))
    for part in samples.values():
        for _ in part:
            progress.advance()


def absolute(reference: str) -> str:
    """Return a path that is valid in every folder; return other references unchanged."""
    if not Path(reference).exists():
        return reference
    short = os.path.abspath(reference)  # noqa: PTH100 - targets of links may have no suffix
    same = Path(short).exists() and Path(short).samefile(reference)
    return short if same else str(Path(reference).absolute())


def present(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values that a recipe has to name."""
    return {key: value for key, value in values.items() if value not in (None, [], {})}
