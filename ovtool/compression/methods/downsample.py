"""Less to compute on: images of another size, or a pooling layer in front of a layer.

With ``size`` the weights stay as they are and the inputs change; a graph that averages over all
places at its end takes that, one with a size built in does not, which is said.  Training samples
are the parent's, resized bilinearly with antialiasing: near to what preparing the images for that
size gives, and possible for arrays too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from ovtool.compression.cost import closed, compared, parameters
from ovtool.compression.method import Compressed, Method, Work, missing
from ovtool.compression.methods.distillation import Distilling, finish, retrain, trained_with
from ovtool.compression.modules import exchange, layer
from ovtool.core import variant
from ovtool.core.errors import InputError
from ovtool.core.shapes import parse_shape
from ovtool.core.third_party import captured, reason
from ovtool.datasets.samples import Derived, Sample

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import openvino as ov
    import torch

    from ovtool.compression.method import Need
    from ovtool.core.variant import Port, Preprocessing, Step
    from ovtool.datasets.samples import Samples
    from ovtool.models.network import Network


def _size(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return parse_shape(value)
    except InputError as error:
        raise ValueError(f"{error}; e.g. 160x160") from error


Side = Annotated[int, Field(ge=1)]


class DownsampleSettings(Distilling):
    """Settings of downsampling: either ``size`` or ``layer`` with ``pooling`` and ``stride``."""

    size: Annotated[tuple[Side, Side], BeforeValidator(_size)] | None = Field(
        None, description="height and width of the images, e.g. 160x160"
    )
    layer: str | None = Field(None, description="module that a pooling layer is put in front of")
    pooling: Literal["average", "max"] = Field("average", description="what the pooling layer does")
    stride: int = Field(2, ge=2, description="of the pooling layer, and its kernel")

    @model_validator(mode="after")
    def _one_of_both(self) -> DownsampleSettings:
        if (self.size is None) == (self.layer is None):
            raise ValueError("give size or layer, one of them")
        return self


def _needed(settings: DownsampleSettings) -> frozenset[Need]:
    network = settings.layer is not None or settings.epochs
    return trained_with(settings) | (frozenset({"network"}) if network else frozenset())


def _apply(work: Work[DownsampleSettings]) -> Compressed:
    if work.settings.size is not None:
        return _resized(work, work.settings.size)
    return _pooled(work)


def _resized(work: Work[DownsampleSettings], size: tuple[int, int]) -> Compressed:
    """Return the graph for images of another size, with its network where there is one."""
    before = work.model.clone()
    inputs = resized_ports(work.parent.record.inputs, size)
    details: dict[str, Any] = {}
    network = None
    if work.material.network is None:
        made = work.model
        _reshape(made, inputs, size)
    else:
        network = work.material.network()
        details["parameters_before"] = details["parameters_after"] = parameters(network.module)
        details["images"] = {port.name: port.layout for port in inputs if _is_image(port)}
        _resize_example(network, details["images"], size)
        _run(network, _built_in(size))
        trained = retrain(network, _with_resized_samples(work, size))
        details |= {"training": trained.to_json()} if trained else {}
        work.progress.start("converting")
        made = network.to_openvino(inputs)
    _check_batch(before, made, size)
    return Compressed(made, details | compared(before, made), network)


def resized_ports(inputs: tuple[Port, ...], size: tuple[int, int]) -> tuple[Port, ...]:
    """Return inputs with another height and width where their layouts have both.

    Raises:
        InputError: No layout has them, or nothing would change.
    """
    sides = dict(zip("HW", size, strict=True))
    if not any(_is_image(port) for port in inputs):
        raise InputError(
            "size: no input has H and W in its layout", "convert with --layout, e.g. x=NCHW"
        )
    made = tuple(
        port.model_copy(
            update={
                "shape": tuple(
                    sides.get(letter, side)
                    for letter, side in zip(port.layout or "", port.shape, strict=True)
                )
            }
        )
        if _is_image(port)
        else port
        for port in inputs
    )
    if made == inputs:
        raise InputError(f"size: the images are {size[0]}x{size[1]} already")
    return made


def _is_image(port: Port) -> bool:
    return port.layout is not None and {"H", "W"} <= set(port.layout)


def _reshape(model: ov.Model, inputs: tuple[Port, ...], size: tuple[int, int]) -> None:
    import openvino as ov

    shapes = {place: ov.PartialShape(list(port.shape)) for place, port in enumerate(inputs)}
    try:
        model.reshape(shapes)
    except RuntimeError as error:
        raise _error(_built_in(size), reason(error)) from error


def _built_in(size: tuple[int, int]) -> tuple[str, str]:
    """Return what is said where a model has its size built in: the message's start and the hint."""
    return (
        f"the model does not take images of {size[0]}x{size[1]}",
        "its layers have a size built in: use a size that they take, or layer instead of size",
    )


def _error(said: tuple[str, str], why: str) -> InputError:
    return InputError(f"{said[0]}: {why}", said[1])


def _resize_example(network: Network, images: Mapping[str, str], size: tuple[int, int]) -> None:
    """Give a network's example the new size; ``images`` are names of inputs with their layouts."""
    for name, layout in images.items():
        axes = [layout.index(letter) for letter in "HW"]
        network.example[name] = _interpolated(network.example[name], axes, size)


def _interpolated(tensor: torch.Tensor, axes: list[int], size: tuple[int, int]) -> torch.Tensor:
    """Return images of another size, of the same type; ``axes`` are those of height and width."""
    import torch

    last = tensor.movedim(axes, (-2, -1))
    rows = last.reshape(-1, 1, *last.shape[-2:]).float()
    made = torch.nn.functional.interpolate(
        rows, size, mode="bilinear", align_corners=False, antialias=True
    )
    if not tensor.is_floating_point():
        made = made.round()
    return made.to(tensor.dtype).reshape(*last.shape[:-2], *size).movedim((-2, -1), axes)


@dataclass(frozen=True, slots=True)
class _Resized(Derived):
    """Samples whose images have another size."""

    samples: Samples
    inputs: tuple[Port, ...]
    size: tuple[int, int]

    def __iter__(self) -> Iterator[Sample]:
        """Read and resize them."""
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
    work: Work[DownsampleSettings], size: tuple[int, int]
) -> Work[DownsampleSettings]:
    samples = work.material.training
    if samples is None:
        return work
    resized = _Resized(samples, work.parent.record.inputs, size)
    return replace(work, material=replace(work.material, training=resized))


def _check_batch(before: ov.Model, after: ov.Model, size: tuple[int, int]) -> None:
    """Check that each sample still has outputs of its own: a reshape may mix them unnoticed.

    Raises:
        InputError: The first dimension of an output is another one now.
    """
    firsts = []
    for model in (before, after):
        try:
            shapes = [output.get_partial_shape() for output in closed(model, batch=2).outputs]
        except RuntimeError as error:
            raise _error(_built_in(size), reason(error)) from error
        firsts.append([str(s[0]) if s.rank.is_static and len(s) else "" for s in shapes])
    if firsts[0] != firsts[1]:
        raise _error(_built_in(size), "a layer makes more samples of them, or fewer")


def _pooled(work: Work[DownsampleSettings]) -> Compressed:
    if work.material.network is None:
        raise missing("downsample", ["network"])
    network = work.material.network()
    _insert(network, work.settings)
    trained = retrain(network, work)
    size = parameters(network.module)
    details = {
        "parameters_before": size,
        "parameters_after": size,
        **({"training": trained.to_json()} if trained else {}),
    }
    done = finish(work, network, details)
    details.update(compared(work.model, done.model))
    shapes = [[o.shape for o in variant.ports(m)["outputs"]] for m in (work.model, done.model)]
    if shapes[0] != shapes[1]:
        work.progress.note(f"outputs are {shapes[1]} now, they were {shapes[0]}")
    return done


def _insert(network: Network, settings: DownsampleSettings) -> None:
    """Put the pooling layer in front of the layer, and run the network.

    Raises:
        InputError: There is no such layer, it gets no images, or the network has a size built in.
    """
    import torch

    name = settings.layer or ""
    target = layer(network, name, "layer")
    seen: list[int] = []
    handle = target.register_forward_pre_hook(lambda _, given: seen.append(given[0].ndim))
    hint = "name a layer that all of the data passes, none of a residual branch"
    _run(network, (f"{network.reference} does not run", ""))
    handle.remove()
    kinds = {
        "average": {3: torch.nn.AvgPool1d, 4: torch.nn.AvgPool2d, 5: torch.nn.AvgPool3d},
        "max": {3: torch.nn.MaxPool1d, 4: torch.nn.MaxPool2d, 5: torch.nn.MaxPool3d},
    }[settings.pooling]
    if not seen or seen[0] not in kinds:
        given = f"a tensor of {seen[0]} dimensions" if seen else "nothing"
        raise InputError(
            f"layer: {name} is given {given}, which is not pooled", "name a layer of images"
        )
    exchange(network, target, torch.nn.Sequential(kinds[seen[0]](settings.stride), target))
    _run(network, (f"{network.reference} does not run with a pooling layer before {name}", hint))


def _run(network: Network, said: tuple[str, str]) -> None:
    """Run a network on its example; ``said`` is the start of the error and its hint.

    Raises:
        InputError: It does not run.
    """
    import torch

    try:
        network.module.eval()
        with captured(network.reference), torch.no_grad():
            network(network.example)
    except Exception as error:  # it runs the user's code, which may raise anything
        raise _error(said, reason(error)) from error


def _rebuild(network: Network, step: Step) -> None:
    settings = DownsampleSettings.model_validate(step.settings)
    if settings.size is None:
        _insert(network, settings)
    else:
        _resize_example(network, step.details["images"], settings.size)


def _prepared(before: Preprocessing, settings: DownsampleSettings) -> Preprocessing:
    return before.model_copy(update={"size": settings.size} if settings.size else {})


DOWNSAMPLE = Method(
    DownsampleSettings,
    frozenset(),
    _apply,
    "speed on CPU, GPU and NPU, and memory of activations; not size",
    rebuild=_rebuild,
    also=_needed,
    prepared=_prepared,
)
