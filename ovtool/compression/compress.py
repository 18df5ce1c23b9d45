"""The verb that compresses a model by one method."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovtool.core.progress import SILENT, Progress
from ovtool.core.variant import RECORD, Variant
from ovtool.datasets.spec import DataSpec
from ovtool.models.convert import ModelReference, load_or_convert

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ovtool.compression.method import MethodSettings
    from ovtool.core.columns import Metric
    from ovtool.datasets.samples import Samples
    from ovtool.evaluation.evaluator import GraphEvaluator
    from ovtool.models.network import Network
    from ovtool.models.options import SourceOptions


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


def compress(
    model: ModelReference,
    method: str,
    *,
    out: str | Path,
    settings: Mapping[str, Any] | None = None,
    data: CompressionData | DataSpec | str | None = None,
    name: str | None = None,
    options: SourceOptions | None = None,
    progress: Progress = SILENT,
    replace: bool = False,
) -> Variant:
    """Compress a model by one method into another variant; the files of the model are not changed.

    A model that is not a variant is first converted into ``<out>-source`` next to ``out``. ``data``
    are samples by their purpose, or a single set for calibration. ``options`` define how to read a
    model that is not a variant, and how to create the PyTorch network of a variant again; ``trust``
    allows running the code that its record names. ``name`` defaults to the name of the folder.

    Raises:
        InputError: A setting, the data or the model is wrong.
    """
    from ovtool.compression.method import MethodInputs, MissingInputError
    from ovtool.compression.pipeline import apply_method
    from ovtool.compression.registry import load_method, parse_settings
    from ovtool.models.options import SourceOptions

    target = Path(out)
    parsed = parse_settings(method, settings or {})
    if not isinstance(data, CompressionData):
        data = CompressionData(calibration=data)
    needs = load_method(method).needs_for(parsed)
    specs = {n: getattr(data, n) for n in ("calibration", "training", "validation")}
    if missing := [need for need in needs if need in specs and specs[need] is None]:
        raise MissingInputError(method, missing)  # before the conversion of the source
    is_variant = isinstance(model, Variant) or (Path(model) / RECORD).is_file()
    network_options = options or SourceOptions()
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
        replace=replace,
    )


def _load_samples(
    spec: DataSpec | str | None, variant: Variant, progress: Progress
) -> Samples | None:
    if spec is None:
        return None
    return (DataSpec(spec) if isinstance(spec, str) else spec).load(variant, progress)


def create_evaluator(
    data: CompressionData, parent: Variant, progress: Progress, settings: MethodSettings
) -> GraphEvaluator | None:
    """Return the evaluator of graphs made from a variant; None without validation samples.

    The settings of the method name the target device, which decides the kernels.
    """
    from ovtool.compression.calibration_rules import judging_properties
    from ovtool.evaluation.evaluator import GraphEvaluator
    from ovtool.evaluation.metrics import MetricRequest

    samples = _load_samples(data.validation, parent, progress)
    if samples is None:
        return None
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
