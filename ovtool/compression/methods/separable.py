"""Depthwise separable convolutions in place of full convolutions.

A convolution with ``C_in x C_out x |K|`` weights becomes a depthwise convolution with ``C_in x rank
x |K|`` and a 1x1 convolution with ``C_in x rank x C_out`` weights (Howard et al. 2017, MobileNets;
rank is the depth multiplier). The initial weights are the least-squares fit: for each input channel
the truncated singular value decomposition of its ``[C_out, |K|]`` slice (low-rank filters,
Jaderberg et al. 2014). The fit is coarse; retrain the network.
"""

from __future__ import annotations

import copy
import math
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ovtool.compression.distillation import DistillationSettings, retrain, training_needs
from ovtool.compression.layer_selection import find_module, find_modules
from ovtool.compression.method import Method, MethodContext, MethodResult, Names, Patterns
from ovtool.compression.networks import (
    convert_with_cost,
    count_parameters,
    replace_module,
    run_example,
)
from ovtool.core.errors import InputError

if TYPE_CHECKING:
    import torch

    from ovtool.core.variant import Step
    from ovtool.models.network import Network

_TOLERANCE = 1e-3
"""Maximum difference of outputs between the pair and the layer with the fitted weights."""


class SeparableSettings(DistillationSettings):
    """Settings of separable convolutions."""

    layers: Names = Field((), description="convolutions to replace, by name; none: all suitable")
    layer_patterns: Patterns = Field(
        (), description="convolutions to replace, by regular expression on the name"
    )
    ignored_names: Names = Field((), description="modules to skip, with their submodules")
    min_channels: int = Field(16, ge=2, description="minimum of input channels, without layers")
    max_error: float | None = Field(
        None,
        gt=0,
        le=1,
        description="skips layers with a larger relative error of the fit, in the norm of the "
        "weights; none: no limit",
    )
    rank: int = Field(1, ge=1, description="depthwise filters per input channel")


def _apply(context: MethodContext[SeparableSettings]) -> MethodResult:
    settings, network = context.settings, context.create_network("separable")
    size = count_parameters(network.module)
    inputs = _random_inputs(network)
    rows: list[dict[str, Any]] = []
    selected = _select(network, settings)
    context.progress.start("fitting separable convolutions", len(selected))
    for name, convolution in selected.items():
        row = _replace(network, name, convolution, settings, inputs.get(name))
        rows += [row] if row else []
        context.progress.advance()
    if not rows:
        raise InputError(
            f"separable replaces no convolution of {network.reference}",
            "lower min_channels or raise max_error; grouped and 1x1 convolutions are not supported",
        )
    trained = retrain(network, context)
    return convert_with_cost(context, network, size, trained, {"separable": rows})


def _select(network: Network, settings: SeparableSettings) -> dict[str, torch.nn.Module]:
    """Return the convolutions to replace, by name."""
    named = find_modules(network, settings.layers, settings.layer_patterns, "layers")
    ignored = find_modules(network, settings.ignored_names, (), "ignored_names")
    skipped = {inner for module in ignored.values() for inner in module.modules()}
    for name in settings.layers:
        if cause := _unsuitable(named[name], settings.rank):
            raise InputError(f"layers: {name} {cause}", "select convolutions with a kernel above 1")
    if named:
        inner = {f"{n}.{m}" if m else n: x for n, y in named.items() for m, x in y.named_modules()}
        candidates = {n: m for n, m in inner.items() if not _unsuitable(m, settings.rank)}
    else:
        candidates = {
            name: module
            for name, module in network.module.named_modules()
            if name
            and not _unsuitable(module, settings.rank)
            and module.in_channels >= settings.min_channels
        }
    return {name: module for name, module in candidates.items() if module not in skipped}


def _unsuitable(module: torch.nn.Module, rank: int) -> str | None:
    """Return why a module cannot be replaced, as a predicate; None if it can."""
    import torch

    kinds = (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)
    if not isinstance(module, kinds):
        return "is not a convolution"
    kernel = math.prod(module.kernel_size)
    if module.groups != 1 or kernel == 1:
        return "has groups" if module.groups != 1 else "has a kernel of 1"
    if rank * (kernel + module.out_channels) >= module.out_channels * kernel:
        return f"would not become smaller with rank {rank}"
    return None


def _random_inputs(network: Network) -> dict[str, torch.Tensor]:
    """Return random inputs of each module, with the shapes of a run on the example, by name.

    The values of the example would hide differences where they are zeros.
    """
    import torch

    shapes: dict[str, torch.Size] = {}

    def record(name: str, _module: object, inputs: tuple[Any, ...]) -> None:
        if inputs and isinstance(inputs[0], torch.Tensor):
            shapes[name] = inputs[0].shape

    modules = network.module.named_modules()
    handles = [module.register_forward_pre_hook(partial(record, name)) for name, module in modules]
    try:
        run_example(network, f"{network.reference} does not run")
    finally:
        for handle in handles:
            handle.remove()
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def _replace(
    network: Network,
    name: str,
    convolution: torch.nn.Module,
    settings: SeparableSettings,
    inputs: torch.Tensor | None,
) -> dict[str, Any] | None:
    """Replace a convolution by the fitted pair; return its row, with the error's Frobenius norm.

    If the error exceeds ``max_error``, the convolution stays and the result is None.
    """
    import torch

    weight, rank = convolution.weight.detach(), settings.rank
    spatial, mixing = fit(weight, rank)
    fitted = product(spatial, mixing)
    error = float((fitted - weight).norm() / weight.norm().clamp_min(1e-30))
    if settings.max_error is not None and error > settings.max_error:
        return None
    pair = _pair(convolution, rank)
    depthwise, pointwise = pair
    with torch.no_grad():
        depthwise.weight.copy_(spatial.reshape(depthwise.weight.shape))
        pointwise.weight.copy_(mixing.reshape(pointwise.weight.shape))
        if convolution.bias is not None:
            pointwise.bias.copy_(convolution.bias)
    if inputs is not None:
        _check(name, convolution, fitted, pair, inputs)
    replace_module(network, convolution, pair)
    return {"layer": name, "rank": rank, "relative_error": error}


def fit(weight: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the least-squares separable weights for each input channel.

    Weights [C_out, C_in, K...] give depthwise filters [C_in, rank, K...] and pointwise weights
    [C_out, C_in, rank].
    """
    import torch

    slices = weight.double().flatten(2).transpose(0, 1)  # [C_in, C_out, |K|]
    left, values, right = torch.linalg.svd(slices, full_matrices=False)
    root = values[:, :rank].sqrt()
    spatial = root[:, :, None] * right[:, :rank]
    mixing = (left[:, :, :rank] * root[:, None, :]).transpose(0, 1)
    shape = (weight.shape[1], rank, *weight.shape[2:])
    return spatial.reshape(shape).to(weight.dtype), mixing.contiguous().to(weight.dtype)


def product(spatial: torch.Tensor, mixing: torch.Tensor) -> torch.Tensor:
    """Return the full weights [C_out, C_in, K...] of a separable pair."""
    import torch

    return torch.einsum("oir,ir...->oi...", mixing, spatial)


def _pair(convolution: torch.nn.Module, rank: int) -> torch.nn.Sequential:
    """Return a depthwise and a pointwise convolution with the shapes of a full convolution.

    The depthwise convolution is a copy with other weights, so it keeps the padding, also of
    subclasses with custom padding.
    """
    import torch

    wide = convolution.in_channels * rank
    depthwise = copy.deepcopy(convolution)
    weight = convolution.weight
    depthwise.out_channels, depthwise.groups = wide, convolution.in_channels
    depthwise.weight = torch.nn.Parameter(weight.new_zeros(wide, 1, *weight.shape[2:]))
    depthwise.bias = None
    kind = {3: torch.nn.Conv1d, 4: torch.nn.Conv2d, 5: torch.nn.Conv3d}[weight.ndim]
    pointwise = kind(wide, convolution.out_channels, 1, bias=convolution.bias is not None)
    return torch.nn.Sequential(depthwise, pointwise.to(weight.dtype))


def _check(
    name: str,
    convolution: torch.nn.Module,
    fitted: torch.Tensor,
    pair: torch.nn.Sequential,
    inputs: torch.Tensor,
) -> None:
    """Check that the pair computes the same as the layer with the fitted weights."""
    import torch

    reference = copy.deepcopy(convolution)
    values = inputs.to(fitted.dtype)
    with torch.no_grad():
        reference.weight.copy_(fitted)
        expected, actual = reference(values), pair(values)
    if expected.shape != actual.shape or not torch.allclose(
        expected, actual, rtol=0, atol=_TOLERANCE * float(expected.abs().max())
    ):
        raise InputError(
            f"{name} ({type(convolution).__name__}) computes more than a convolution",
            f"skip it: --set ignored_names={name}",
        )


def _rebuild(network: Network, step: Step) -> None:
    for row in step.details["separable"]:
        convolution = find_module(network, row["layer"], "variant.json")
        replace_module(network, convolution, _pair(convolution, row["rank"]))


SEPARABLE = Method(
    SeparableSettings,
    frozenset({"network"}),
    _apply,
    "size; speed of networks dominated by full convolutions",
    rebuild=_rebuild,
    conditional_needs=training_needs,
)
