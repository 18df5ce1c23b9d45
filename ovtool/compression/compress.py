"""The verb that compresses, and what its methods are given to work with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovtool.core.progress import SILENT, Progress
from ovtool.core.variant import RECORD, Variant
from ovtool.datasets.spec import DataSpec
from ovtool.models.references import Reference, as_variant

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ovtool.core.metrics import Metric
    from ovtool.evaluation.evaluator import GraphEvaluator
    from ovtool.models.network import Network
    from ovtool.models.options import SourceOptions


@dataclass(frozen=True, slots=True)
class Given:
    """What a user gives methods to work with, beside the model.

    Args:
        data: Calibration samples.
        training: Samples to train on.
        validation: Held-out samples that settings are chosen by; they should be neither those of
            calibration nor those that the result is judged by in the end.
        metric: Of the validation; by default that of the labels (top-1, or characters of
            texts), without labels agreement.
        loss: Takes a torch network's outputs and the labels, in place of the cross-entropy.
    """

    data: DataSpec | str | None = None
    training: DataSpec | str | None = None
    validation: DataSpec | str | None = None
    metric: Metric | None = None
    loss: Callable[[Any, Any], Any] | None = None


def compress(
    model: Reference,
    method: str,
    *,
    out: str | Path,
    settings: Mapping[str, Any] | None = None,
    given: Given | None = None,
    data: DataSpec | str | None = None,
    name: str | None = None,
    options: SourceOptions | None = None,
    progress: Progress = SILENT,
    replace: bool = False,
) -> Variant:
    """Compress a model by one method into another variant; the model's own files stay as they are.

    A source that is no variant yet is converted first, into ``<out>-source`` beside ``out``.

    Args:
        model: What to compress.
        method: A name of ``ovtool.compression.registry.METHODS``.
        out: The new variant's folder.
        settings: The method's settings; what is left out has its default.
        given: Samples by what they are for, for a method that needs them.
        data: Calibration samples, for short: ``Given(data=...)``.
        name: The variant's name; by default that of the folder.
        options: How to read a source that is no variant yet; also how the torch network of a
            variant is made again, with ``trust`` for code that its record names.
        progress: Told of the stages.
        replace: Whether a folder of that name may be replaced.

    Raises:
        InputError: A setting, the data or the model is wrong.
    """
    from ovtool.compression import registry as methods
    from ovtool.compression.method import Material, load, missing
    from ovtool.models.options import SourceOptions

    target = Path(out)
    parsed = methods.parse_settings(method, settings or {})
    has = given or Given(data=data)
    needed = load(method).needed(parsed)
    there = {"calibration": has.data, "training": has.training, "validation": has.validation}
    if lacking := [need for need in needed if need in there and there[need] is None]:
        raise missing(method, lacking)  # before the source is converted
    named_by_user = not isinstance(model, Variant) and not (Path(model) / RECORD).is_file()
    how = options or SourceOptions()
    if named_by_user:
        how = how.model_copy(update={"trust": True})  # whoever names code on the way in runs it
    beside = target.with_name(f"{target.name}-source")
    parent = as_variant(model, beside, options=options, progress=progress)
    material = Material(
        calibration=_samples(has.data, parent, progress),
        training=_samples(has.training, parent, progress),
        judge=judge_of(has, parent, progress),
        network=_network(parent, how),
        teacher=_teacher(how),
        loss=has.loss,
    )
    return methods.compress(
        parent,
        method,
        parsed.model_dump(),
        material,
        out=target,
        name=name or target.name,
        progress=progress,
        replace=replace,
    )


def _samples(spec: DataSpec | str | None, variant: Variant, progress: Progress) -> Any:
    if spec is None:
        return None
    return (DataSpec(spec) if isinstance(spec, str) else spec).load(variant, progress)


def judge_of(has: Given, parent: Variant, progress: Progress) -> GraphEvaluator | None:
    """Return what takes the quality of graphs made from a variant; None without validation."""
    from ovtool.datasets.samples import usual_metric
    from ovtool.evaluation.evaluator import GraphEvaluator

    samples = _samples(has.validation, parent, progress)
    if samples is None:
        return None
    return GraphEvaluator(samples, parent, has.metric or usual_metric(samples))


def _network(parent: Variant, options: SourceOptions) -> Callable[[], Network] | None:
    """Return what makes the torch network of a variant; None where there cannot be one."""
    from ovtool.compression.restore import restore, trainable
    from ovtool.models.trainable import makes_networks, network_of

    source = parent.record.source
    if not makes_networks(source.kind) or not trainable(parent):
        return None
    return lambda: restore(network_of(source, options), parent)


def _teacher(options: SourceOptions) -> Callable[[str], Network]:
    def load(reference: str) -> Network:
        from ovtool.compression.restore import restore
        from ovtool.models.trainable import network_named, network_of

        if (Path(reference) / RECORD).is_file():
            variant = Variant.load(reference)
            return restore(network_of(variant.record.source, options), variant)
        return network_named(reference, options)

    return load
