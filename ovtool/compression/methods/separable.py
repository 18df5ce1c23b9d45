"""Full convolutions replaced with a depthwise and a pointwise one (depthwise separable).

A convolution of ``C_in x C_out x |K|`` weights becomes one of ``C_in x rank x |K|`` that works on
each input channel alone, and a 1x1 one of ``C_in x rank x C_out`` that mixes them (Howard et al.
2017, MobileNets; a rank above 1 is its depth multiplier).  Their first weights are the best fit to
the old ones: for each input channel the truncated singular value decomposition of its
``[C_out, |K|]`` slice (the low-rank filters of Jaderberg et al. 2014).  The fit is coarse; the
network is meant to be retrained.
"""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ovtool.compression.cost import compared, parameters
from ovtool.compression.method import Compressed, Method, Names, Patterns, Work, missing
from ovtool.compression.methods.distillation import Distilling, finish, retrain, trained_with
from ovtool.compression.modules import exchange, layer, matching
from ovtool.core.errors import InputError
from ovtool.core.third_party import captured, reason

if TYPE_CHECKING:
    import torch

    from ovtool.core.variant import Step
    from ovtool.models.network import Network

_TOLERANCE = 1e-3
"""Of the pair's outputs against those of the layer with the fitted weights, as a share."""


class SeparableSettings(Distilling):
    """Settings of the replacement."""

    layers: Names = Field((), description="convolutions to replace, by name; none: all that fit")
    layer_patterns: Patterns = Field((), description="the same, by regular expression")
    ignored_names: Names = Field((), description="modules left as they are, with all inside them")
    min_channels: int = Field(
        16, ge=2, description="least number of input channels, where layers are not named"
    )
    max_error: float | None = Field(
        None,
        gt=0,
        le=1,
        description="leave layers whose fit is farther off than this share of the weights' norm; "
        "none: leave none",
    )
    rank: int = Field(1, ge=1, description="depthwise filters for each input channel")


def _apply(work: Work[SeparableSettings]) -> Compressed:
    if work.material.network is None:
        raise missing("separable", ["network"])
    settings, network = work.settings, work.material.network()
    size = parameters(network.module)
    inputs = _inputs(network)
    rows: list[dict[str, Any]] = []
    chosen = _chosen(network, settings)
    work.progress.start("fitting separable convolutions", len(chosen))
    for name, convolution in chosen.items():
        row = _replace(network, name, convolution, settings, inputs.get(name))
        rows += [row] if row else []
        work.progress.advance()
    if not rows:
        raise InputError(
            f"no convolution of {network.reference} is replaced",
            "lower min_channels or raise max_error; layers with groups or a 1x1 kernel never are",
        )
    trained = retrain(network, work)
    details = {
        "separable": rows,
        "parameters_before": size,
        "parameters_after": parameters(network.module),
        **({"training": trained.to_json()} if trained else {}),
    }
    done = finish(work, network, details)
    details.update(compared(work.model, done.model))
    return done


def _chosen(network: Network, settings: SeparableSettings) -> dict[str, torch.nn.Module]:
    """Return the convolutions to replace, by name.

    Raises:
        InputError: A named layer is none, or would not become smaller.
    """
    named = matching(network, settings.layers, settings.layer_patterns, "layers")
    left = matching(network, settings.ignored_names, (), "ignored_names")
    inside = {inner for module in left.values() for inner in module.modules()}
    for name in settings.layers:
        if why := _unfit(named[name], settings.rank):
            raise InputError(f"layers: {name} {why}", "name convolutions with a kernel above 1")
    if named:
        inner = {f"{n}.{m}" if m else n: x for n, y in named.items() for m, x in y.named_modules()}
        found = {n: m for n, m in inner.items() if not _unfit(m, settings.rank)}
    else:
        found = {
            name: module
            for name, module in network.module.named_modules()
            if name
            and not _unfit(module, settings.rank)
            and module.in_channels >= settings.min_channels
        }
    return {name: module for name, module in found.items() if module not in inside}


def _unfit(module: torch.nn.Module, rank: int) -> str | None:
    """Return why a module cannot be replaced, as the end of a sentence; None if it can."""
    import torch

    kinds = (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)
    if not isinstance(module, kinds):
        return "is no convolution"
    kernel = math.prod(module.kernel_size)
    if module.groups != 1 or kernel == 1:
        return "has groups" if module.groups != 1 else "has a kernel of 1"
    if rank * (kernel + module.out_channels) >= module.out_channels * kernel:
        return f"would not become smaller with rank {rank}"
    return None


def _inputs(network: Network) -> dict[str, torch.Tensor]:
    """Return what each convolution is given when the network runs on its example, by name.

    Zeros would hide differences, so random values of the same shape stand for them.
    """
    import torch

    shapes: dict[str, torch.Size] = {}

    def note(name: str) -> Any:
        def hook(_module: object, inputs: tuple[Any, ...]) -> None:
            if inputs and isinstance(inputs[0], torch.Tensor):
                shapes[name] = inputs[0].shape

        return hook

    modules = network.module.named_modules()
    handles = [module.register_forward_pre_hook(note(name)) for name, module in modules]
    try:
        network.module.eval()
        with captured(network.reference), torch.no_grad():
            network(network.example)
    except Exception as error:  # it runs the user's code, which may raise anything
        raise InputError(f"torch cannot run {network.reference}: {reason(error)}") from error
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
    given: torch.Tensor | None,
) -> dict[str, Any] | None:
    """Put the fitted pair in a convolution's place and say how far its weights are off.

    Returns:
        Name, rank, and the relative error in the Frobenius norm; None where that is above
        ``max_error`` and nothing was replaced.

    Raises:
        InputError: The layer does more than a convolution of its weights.
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
    if given is not None:
        _check(name, convolution, fitted, pair, given)
    exchange(network, convolution, pair)
    return {"layer": name, "rank": rank, "relative_error": error}


def fit(weight: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the closest separable weights, in the least squares of each input channel.

    Args:
        weight: [C_out, C_in, K...].
        rank: Depthwise filters for each input channel.

    Returns:
        Depthwise filters [C_in, rank, K...] and what mixes them, [C_out, C_in, rank].
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
    """Return the full weights, [C_out, C_in, K...], that a separable pair amounts to."""
    import torch

    return torch.einsum("oir,ir...->oi...", mixing, spatial)


def _pair(convolution: torch.nn.Module, rank: int) -> torch.nn.Sequential:
    """Return a depthwise and a pointwise convolution in the shape of a full one.

    The depthwise one is a copy of it with other weights, so it pads as the full one does, also
    where that is a subclass with a padding of its own.
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
    given: torch.Tensor,
) -> None:
    """Check that the pair does what the layer would do with the fitted weights."""
    import torch

    same = copy.deepcopy(convolution)
    values = given.to(fitted.dtype)
    with torch.no_grad():
        same.weight.copy_(fitted)
        expected, got = same(values), pair(values)
    if expected.shape != got.shape or not torch.allclose(
        expected, got, rtol=0, atol=_TOLERANCE * float(expected.abs().max())
    ):
        raise InputError(
            f"{name} ({type(convolution).__name__}) does more than a convolution of its weights",
            f"leave it as it is: --set ignored_names={name}",
        )


def _rebuild(network: Network, step: Step) -> None:
    for row in step.details["separable"]:
        convolution = layer(network, row["layer"], "variant.json")
        exchange(network, convolution, _pair(convolution, row["rank"]))


SEPARABLE = Method(
    SeparableSettings,
    frozenset({"network"}),
    _apply,
    "size; speed of networks whose time goes into full convolutions",
    rebuild=_rebuild,
    also=trained_with,
)
