"""Less computation: images of another size, or a pooling layer before a layer.

``size`` changes the inputs and keeps the weights. Graphs with global pooling support this; a graph
with a built-in size raises an error. Training samples of the parent are resized bilinearly with
antialiasing, which is close to preprocessing for the new size and works for arrays too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from ovtool.compression.distillation import DistillationSettings, retrain, training_needs
from ovtool.compression.layer_selection import find_module
from ovtool.compression.method import Method, MethodContext, MethodResult
from ovtool.compression.networks import (
    close_batch,
    compare_flops,
    convert_with_cost,
    count_parameters,
    replace_module,
    run_example,
    training_details,
)
from ovtool.core.errors import InputError
from ovtool.core.ports import ports
from ovtool.core.shapes import parse_shape
from ovtool.core.third_party import reason
from ovtool.datasets.samples import DerivedSamples, Sample

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import openvino as ov
    import torch

    from ovtool.compression.method import Need
    from ovtool.core.ports import Port, Preprocessing
    from ovtool.core.variant import Step
    from ovtool.datasets.samples import Samples
    from ovtool.models.network import Network

_SIZE_HINT = "use a size that its layers support, or set layer instead of size"


def _size(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return parse_shape(value)
    except InputError as error:
        raise ValueError(f"{error}; e.g. 160x160") from error


Side = Annotated[int, Field(ge=1)]


class DownsampleSettings(DistillationSettings):
    """Settings of downsampling: either ``size`` or ``layer`` with ``pooling`` and ``stride``."""

    size: Annotated[tuple[Side, Side], BeforeValidator(_size)] | None = Field(
        None, description="height and width of the images, e.g. 160x160"
    )
    layer: str | None = Field(None, description="module to insert a pooling layer before")
    pooling: Literal["average", "max"] = Field("average", description="kind of the pooling layer")
    stride: int = Field(2, ge=2, description="stride and kernel size of the pooling layer")

    @model_validator(mode="after")
    def _check_one(self) -> DownsampleSettings:
        if (self.size is None) == (self.layer is None):
            raise ValueError("set either size or layer")
        return self


def _conditional_needs(settings: DownsampleSettings) -> frozenset[Need]:
    network = settings.layer is not None or settings.epochs
    return training_needs(settings) | (frozenset({"network"}) if network else frozenset())


def _apply(context: MethodContext[DownsampleSettings]) -> MethodResult:
    if context.settings.size is not None:
        return _resize(context, context.settings.size)
    return _pool(context)


def _resize(context: MethodContext[DownsampleSettings], size: tuple[int, int]) -> MethodResult:
    """Return the graph for images of another size, and its network if the parent has one."""
    before = context.model.clone()
    inputs = resized_ports(context.parent.record.inputs, size)
    details: dict[str, Any] = {}
    network = None
    if context.inputs.network is None:
        model = context.model
        _reshape(model, inputs, size)
    else:
        network = context.inputs.network()
        images = {port.name: port.layout or "" for port in inputs if _is_image(port)}
        count = count_parameters(network.module)
        details = {"parameters_before": count, "parameters_after": count, "images": images}
        _resize_example(network, images, size)
        run_example(network, _unsupported(size), _SIZE_HINT)
        trained = retrain(network, _with_resized_samples(context, size))
        details |= training_details(trained)
        context.progress.start("converting")
        model = network.to_openvino(inputs)
    _check_batch(before, model, size)
    return MethodResult(model, details | compare_flops(before, model), network)


def resized_ports(inputs: tuple[Port, ...], size: tuple[int, int]) -> tuple[Port, ...]:
    """Return the inputs with another height and width for images (layouts with H and W).

    Raises:
        InputError: No input is an image, or the size is unchanged.
    """
    sides = dict(zip("HW", size, strict=True))
    if not any(_is_image(port) for port in inputs):
        raise InputError(
            "size: no input has H and W in its layout", "convert with --layout, e.g. x=NCHW"
        )

    def resize(port: Port) -> Port:
        if not _is_image(port):
            return port
        old = zip(port.layout or "", port.shape, strict=True)
        return port.model_copy(update={"shape": tuple(sides.get(axis, side) for axis, side in old)})

    resized = tuple(map(resize, inputs))
    if resized == inputs:
        raise InputError(f"size: the images are {size[0]}x{size[1]} already")
    return resized


def _is_image(port: Port) -> bool:
    return port.layout is not None and {"H", "W"} <= set(port.layout)


def _reshape(model: ov.Model, inputs: tuple[Port, ...], size: tuple[int, int]) -> None:
    import openvino as ov

    shapes = {index: ov.PartialShape(list(port.shape)) for index, port in enumerate(inputs)}
    try:
        model.reshape(shapes)
    except RuntimeError as error:
        raise InputError(f"{_unsupported(size)}: {reason(error)}", _SIZE_HINT) from error


def _unsupported(size: tuple[int, int]) -> str:
    return f"the model does not support images of {size[0]}x{size[1]}"


def _resize_example(network: Network, images: Mapping[str, str], size: tuple[int, int]) -> None:
    """Resize the images of a network's example; ``images`` maps input names to layouts."""
    for name, layout in images.items():
        axes = [layout.index(letter) for letter in "HW"]
        network.example[name] = _interpolated(network.example[name], axes, size)


def _interpolated(tensor: torch.Tensor, axes: list[int], size: tuple[int, int]) -> torch.Tensor:
    """Return resized images of the same type; ``axes`` are the axes of height and width."""
    import torch

    last = tensor.movedim(axes, (-2, -1))
    rows = last.reshape(-1, 1, *last.shape[-2:]).float()
    resized = torch.nn.functional.interpolate(
        rows, size, mode="bilinear", align_corners=False, antialias=True
    )
    if not tensor.is_floating_point():
        resized = resized.round()
    return resized.to(tensor.dtype).reshape(*last.shape[:-2], *size).movedim((-2, -1), axes)


@dataclass(frozen=True, slots=True)
class _ResizedSamples(DerivedSamples):
    """Samples with resized images."""

    samples: Samples
    inputs: tuple[Port, ...]
    size: tuple[int, int]

    def __iter__(self) -> Iterator[Sample]:
        """Yield the samples, resized."""
        import torch

        for sample in self.samples:
            arrays = dict(sample.inputs)
            for port in filter(_is_image, self.inputs):
                letters = (port.layout or "").replace("N", "")
                axes = [letters.index(letter) for letter in "HW"]
                image = torch.from_numpy(np.ascontiguousarray(arrays[port.name]))
                arrays[port.name] = _interpolated(image, axes, self.size).numpy()
            yield Sample(arrays, sample.label, sample.origin)


def _with_resized_samples(
    context: MethodContext[DownsampleSettings], size: tuple[int, int]
) -> MethodContext[DownsampleSettings]:
    samples = context.inputs.training
    if samples is None:
        return context
    resized = _ResizedSamples(samples, context.parent.record.inputs, size)
    return replace(context, inputs=replace(context.inputs, training=resized))


def _check_batch(before: ov.Model, after: ov.Model, size: tuple[int, int]) -> None:
    """Check that the outputs keep their batch dimension: a reshape may mix samples silently."""
    firsts = []
    for model in (before, after):
        try:
            shapes = [output.get_partial_shape() for output in close_batch(model, batch=2).outputs]
        except RuntimeError as error:
            raise InputError(f"{_unsupported(size)}: {reason(error)}", _SIZE_HINT) from error
        firsts.append([str(s[0]) if s.rank.is_static and len(s) else "" for s in shapes])
    if firsts[0] != firsts[1]:
        raise InputError(f"{_unsupported(size)}: a layer changes the number of samples", _SIZE_HINT)


def _pool(context: MethodContext[DownsampleSettings]) -> MethodResult:
    network = context.create_network("downsample")
    _insert(network, context.settings)
    trained = retrain(network, context)
    result = convert_with_cost(context, network, count_parameters(network.module), trained)
    shapes = [[o.shape for o in ports(m)["outputs"]] for m in (context.model, result.model)]
    if shapes[0] != shapes[1]:
        context.progress.note(f"output shapes change from {shapes[0]} to {shapes[1]}")
    return result


def _insert(network: Network, settings: DownsampleSettings) -> None:
    """Insert the pooling layer before the layer, and run the network."""
    import torch

    name = settings.layer or ""
    target = find_module(network, name, "layer")
    ranks: list[int] = []
    handle = target.register_forward_pre_hook(lambda _, inputs: ranks.append(inputs[0].ndim))
    run_example(network, f"{network.reference} does not run")
    handle.remove()
    kinds = {
        "average": {3: torch.nn.AvgPool1d, 4: torch.nn.AvgPool2d, 5: torch.nn.AvgPool3d},
        "max": {3: torch.nn.MaxPool1d, 4: torch.nn.MaxPool2d, 5: torch.nn.MaxPool3d},
    }[settings.pooling]
    if not ranks or ranks[0] not in kinds:
        actual = f"has {ranks[0]} dimensions" if ranks else "is not computed"
        raise InputError(
            f"layer: the input of {name} {actual}; pooling needs 3 to 5", "use a layer of images"
        )
    replace_module(network, target, torch.nn.Sequential(kinds[ranks[0]](settings.stride), target))
    run_example(
        network,
        f"{network.reference} does not run with a pooling layer before {name}",
        "use a layer on the main path, not on a residual branch",
    )


def _rebuild(network: Network, step: Step) -> None:
    settings = DownsampleSettings.model_validate(step.settings)
    if settings.size is None:
        _insert(network, settings)
    else:
        _resize_example(network, step.details["images"], settings.size)


def _update_preprocessing(before: Preprocessing, settings: DownsampleSettings) -> Preprocessing:
    return before.model_copy(update={"size": settings.size} if settings.size else {})


DOWNSAMPLE = Method(
    DownsampleSettings,
    frozenset(),
    _apply,
    "speed on CPU, GPU and NPU, and memory for activations; not size",
    rebuild=_rebuild,
    conditional_needs=_conditional_needs,
    update_preprocessing=_update_preprocessing,
)
