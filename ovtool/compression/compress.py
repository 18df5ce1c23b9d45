"""The verb that compresses a model by one method."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from ovtool.core.progress import SILENT, Progress
from ovtool.core.terminal import shows_progress
from ovtool.core.variant import RECORD, Variant
from ovtool.datasets.spec import DataSpec, as_data_spec
from ovtool.models.convert import ModelReference, load_or_convert

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ovtool.compression.method import MethodSettings
    from ovtool.core.columns import Metric
    from ovtool.datasets.samples import Samples
    from ovtool.evaluation.evaluator import GraphEvaluator
    from ovtool.evaluation.language_evaluator import TextGraphEvaluator
    from ovtool.models.network import Network
    from ovtool.models.options import SourceFields, SourceOptions


@dataclass(frozen=True, slots=True)
class CompressionData:
    """Samples and the loss for compression methods.

    ``validation`` are held-out samples that settings are chosen by, neither the calibration samples
    nor those of the final evaluation. ``metric``, ``outputs`` and ``trust`` are as for
    :func:`ovtool.evaluation.evaluate.evaluate_each`. ``loss`` returns the loss of a PyTorch
    network's outputs and the labels, in place of the cross-entropy.
    """

    calibration: DataSpec | str | None = None
    training: DataSpec | str | None = None
    validation: DataSpec | str | None = None
    metric: Metric | None = None
    outputs: tuple[str, ...] = ()
    trust: bool = False
    loss: Callable[[Any, Any], Any] | None = None


@shows_progress()
def compress(
    model: ModelReference,
    method: str,
    *,
    out: str | Path,
    settings: Mapping[str, Any] | None = None,
    max_drop: float | None = None,
    max_perplexity_rise: float | None = None,
    time_limit_s: float | None = None,
    data: CompressionData | DataSpec | str | Path | None = None,
    labels: str | Path | None = None,
    limit: int | None = None,
    train_data: DataSpec | str | Path | None = None,
    validation_data: DataSpec | str | Path | None = None,
    metric: Metric | None = None,
    outputs: Sequence[str] = (),
    name: str | None = None,
    options: SourceOptions | None = None,
    progress: Progress = SILENT,
    force: bool = False,
    **fields: Unpack[SourceFields],
) -> Variant:
    """Compress a model by one method into another variant; the files of the model are not changed.

    A model that is not a variant is first converted into ``<out>-source`` next to ``out``.

    Args:
        model: A variant, its folder, or a model that :func:`ovtool.api.convert` reads.
        method: Name of the method.
        out: Folder of the new variant.
        settings: Settings of the method by name.
        max_drop: Setting: maximum drop of the metric; 0.01 is a percentage point.
        max_perplexity_rise: Setting of ``weights``: maximum rise of the perplexity of a text
            generator, as a share. Without ``validation_data``, the first half of the text of
            ``data`` calibrates, and the second half judges.
        time_limit_s: Setting: time in seconds after which no further setting is tried.
        data: Samples for calibration, or all samples by their purpose.
        labels: Labels of a folder of images.
        limit: Maximum number of samples of each dataset.
        train_data: Labeled samples for training.
        validation_data: Held-out samples that select the settings.
        metric: Quality metric, see :func:`ovtool.evaluation.evaluate.evaluate_each`.
        outputs: Names of the outputs to judge; all by default.
        name: Name of the variant; by default that of the folder.
        options: How to read a model that is not a variant, and how to create the PyTorch network
            of a variant again; ``trust`` allows running the code that its record names.
        progress: Receives the stages.
        force: Whether to replace an existing variant.
        fields: Fields of ``options``: ``mean=127, trust=True``.

    Raises:
        InputError: A setting, the data or the model is wrong.
    """
    from ovtool.compression.method import MethodInputs, MissingInputError
    from ovtool.compression.pipeline import apply_method
    from ovtool.compression.registry import load_method, parse_settings
    from ovtool.models.options import source_options

    target = Path(out)
    searched = {
        "max_drop": max_drop,
        "max_perplexity_rise": max_perplexity_rise,
        "time_limit_s": time_limit_s,
    }
    given = {key: value for key, value in searched.items() if value is not None}
    parsed = parse_settings(method, {**(settings or {}), **given})
    options = network_options = source_options(options, fields)
    if not isinstance(data, CompressionData):
        data = CompressionData(
            calibration=as_data_spec(data, labels, limit),
            training=as_data_spec(train_data, limit=limit),
            validation=as_data_spec(validation_data, limit=limit),
            metric=metric,
            outputs=tuple(outputs),
            trust=options.trust,
        )
    if getattr(parsed, "max_perplexity_rise", None) is not None:
        data = _split_text(data, progress)
    needs = load_method(method).needs_for(parsed)
    specs = {n: getattr(data, n) for n in ("calibration", "training", "validation")}
    if missing := [need for need in needs if need in specs and specs[need] is None]:
        raise MissingInputError(method, missing)  # before the conversion of the source
    is_variant = isinstance(model, Variant) or (Path(model) / RECORD).is_file()
    if not is_variant:  # the user names the code on the command line, which permits running it
        network_options = network_options.model_copy(update={"trust": True})
    source = target.with_name(f"{target.name}-source")
    parent = load_or_convert(model, source, options=options, progress=progress)
    inputs = MethodInputs(
        calibration=_load_samples(data.calibration, parent, progress),
        training=_load_samples(data.training, parent, progress),
        evaluator=create_evaluator(data, parent, progress, parsed),
        network=_network_factory(parent, network_options),
        teacher=_teacher_factory(network_options),
        loss=data.loss,
    )
    return apply_method(
        parent,
        method,
        parsed.model_dump(),
        inputs,
        out=target,
        name=name or target.name,
        progress=progress,
        replace=force,
    )


def _split_text(data: CompressionData, progress: Progress) -> CompressionData:
    """Return data with a text to judge by: the second half, where only one text is given."""
    text = as_data_spec(data.calibration)
    if text is None or text.part is not None or data.validation is not None:
        return data
    progress.note(f"the first half of {text.source} calibrates, the second half judges")
    first, second = (replace(text, part=part) for part in ("1/2", "2/2"))
    return replace(data, calibration=first, validation=second)


def _load_samples(
    spec: DataSpec | str | None, variant: Variant, progress: Progress
) -> Samples | None:
    if spec is None:
        return None
    return as_data_spec(spec).load(variant, progress)


def create_evaluator(
    data: CompressionData, parent: Variant, progress: Progress, settings: MethodSettings
) -> GraphEvaluator | TextGraphEvaluator | None:
    """Return the evaluator of graphs made from a variant; None without validation samples.

    The settings of the method name the target device, which decides the kernels.
    """
    from ovtool.compression.calibration_rules import judging_properties
    from ovtool.datasets.text import TextSamples
    from ovtool.evaluation.evaluator import GraphEvaluator
    from ovtool.evaluation.language_evaluator import TextGraphEvaluator
    from ovtool.evaluation.metrics import MetricRequest

    samples = _load_samples(data.validation, parent, progress)
    if samples is None:
        return None
    if isinstance(samples, TextSamples):
        return TextGraphEvaluator(samples, parent)
    request = MetricRequest(data.metric, data.outputs, data.trust)
    return GraphEvaluator(samples, parent, request, judging_properties(settings))


def _network_factory(parent: Variant, options: SourceOptions) -> Callable[[], Network] | None:
    """Return a function that creates the PyTorch network of a variant; None if it has none."""
    from ovtool.compression.networks import is_trainable, restore_network
    from ovtool.models.network import is_torch_kind, load_source_network

    source = parent.record.source
    if not is_torch_kind(source.kind) or not is_trainable(parent):
        return None
    return lambda: restore_network(load_source_network(source, options), parent)


def _teacher_factory(options: SourceOptions) -> Callable[[str], Network]:
    def load(reference: str) -> Network:
        from ovtool.compression.networks import restore_network
        from ovtool.models.network import load_network, load_source_network

        if (Path(reference) / RECORD).is_file():
            variant = Variant.load(reference)
            return restore_network(load_source_network(variant.record.source, options), variant)
        return load_network(reference, options)

    return load
