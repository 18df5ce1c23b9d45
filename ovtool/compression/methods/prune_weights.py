"""Unstructured pruning with ``nncf.prune``: sets single weights to zero.

Retraining keeps the zeros. The structure of the network stays the same, so a dense engine gains
nothing: the zeros reduce the size of an archive, and the time of MatMul on the CPU with
``CPU_SPARSE_WEIGHTS_DECOMPRESSION_RATE`` (INT8, AMX).

``nncf.strip`` would apply the masks, but needs a package that NNCF does not install. This module
multiplies the weights with NNCF's masks instead.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from ovtool.compression.distillation import DistillationSettings, retrain, training_needs
from ovtool.compression.layer_selection import torch_ignored_scope
from ovtool.compression.method import IgnoredScopeSettings, Method, MethodContext, MethodResult
from ovtool.compression.networks import (
    compare_flops,
    convert_network,
    count_parameters,
    training_details,
)
from ovtool.compression.nncf_adapter import make_hookable, quiet_nncf
from ovtool.compression.training import TrainingHooks
from ovtool.core.errors import InputError
from ovtool.graph.storage import count_nonzero

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import openvino as ov
    import torch

    from ovtool.compression.method import Need
    from ovtool.models.network import Network

_HOOKS = "__nncf_hooks."
"""Prefix of the parameters that NNCF adds to a module."""


class PruneWeightsSettings(IgnoredScopeSettings, DistillationSettings):
    """Settings of ``nncf.prune``, and of the training after it."""

    mode: Literal["local", "global", "regularization"] = Field(
        "local",
        description="prunes the smallest weights per layer (local) or over all layers, relative to "
        "their norms (global), or weights chosen by learned masks (needs training data)",
    )
    ratio: float = Field(0.5, gt=0, lt=1, description="share of the layers' weights to set to 0")
    mask_epochs: int = Field(10, ge=1, description="epochs to learn masks of mode regularization")
    mask_learning_rate: float = Field(
        0.05, gt=0, description="initial learning rate of the masks of mode regularization"
    )

    @model_validator(mode="after")
    def _check_zeros(self) -> PruneWeightsSettings:
        if self.epochs and not self.keep_zeros:
            raise ValueError("keep_zeros must be true: training would undo the zeros of this step")
        return self


def _apply(context: MethodContext[PruneWeightsSettings]) -> MethodResult:
    network, settings = context.create_network("prune-weights"), context.settings
    context.progress.start("choosing weights")
    details: dict[str, Any] = {"parameters": count_parameters(network.module)}
    if settings.mode == "regularization":
        masks, mask_details = _learn_masks(network, context)
        details |= mask_details
    else:
        masks = _magnitude_masks(network, settings)
    tensors = _tensors(network.module, masks)
    for name, mask in masks.items():
        tensors[name].mul_(mask)
    trained = retrain(network, context)
    details |= training_details(trained)
    counts = {name: (int((t == 0).sum()), t.numel()) for name, t in tensors.items()}
    all_zeros, all_weights = (sum(pair[i] for pair in counts.values()) for i in range(2))
    if all_zeros < settings.ratio * all_weights - len(counts):  # NNCF rounds, in every tensor
        raise InputError(
            f"{all_zeros} of {all_weights} weights are 0, less than the ratio {settings.ratio:g}"
        )
    for name, (zeros, total) in counts.items():
        if zeros == total:
            context.progress.note(f"warning: all {total} weights of {name} are 0")
    details["zeroed"] = {
        name: {"weights": total, "zeros": zeros} for name, (zeros, total) in counts.items()
    }
    result = convert_network(context, network, details)
    details |= compare_flops(context.model, result.model)
    return replace(result, verify=_verify_zeros(all_zeros))


def _masked(network: Network, settings: PruneWeightsSettings) -> Network:
    """Return a copy of a network with NNCF's masks on its weights."""
    copy = network.copy()
    copy = replace(copy, module=make_hookable(copy.module).eval())
    with quiet_nncf("weight pruning"):
        import nncf

        example: Any = dict(network.example) if network.by_name else tuple(network.example.values())
        module = nncf.prune(
            copy.module,
            {
                "local": nncf.PruneMode.UNSTRUCTURED_MAGNITUDE_LOCAL,
                "global": nncf.PruneMode.UNSTRUCTURED_MAGNITUDE_GLOBAL,
                "regularization": nncf.PruneMode.UNSTRUCTURED_REGULARIZATION_BASED,
            }[settings.mode],
            ratio=None if settings.mode == "regularization" else settings.ratio,
            ignored_scope=torch_ignored_scope(copy.module, example, settings),
            examples_inputs=example,
        )
    return replace(copy, module=module)


def _magnitude_masks(network: Network, settings: PruneWeightsSettings) -> dict[str, torch.Tensor]:
    from nncf.torch.function_hook.pruning.magnitude import algo

    pruned = algo.get_pruned_modules(_masked(network, settings).module)
    return {name: pruned[name].binary_mask for name in sorted(pruned)}


def _learn_masks(
    network: Network, context: MethodContext[PruneWeightsSettings]
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Train weights and masks together with NNCF's ``RBLoss`` (Louizos et al. 2018).

    NNCF keeps weights with a mask logit above 0, which only approximates the ratio. Here the lowest
    logits are pruned up to the ratio. The network gets the weights trained with the masks.
    """
    import torch
    from nncf.torch.function_hook.pruning.rb import algo
    from nncf.torch.function_hook.pruning.rb.losses import RBLoss

    settings = context.settings
    masked = _masked(network, settings)
    pruned = algo.get_pruned_modules(masked.module)
    names = sorted(pruned)
    if not names:
        raise _nothing_to_prune()
    # Without held-out samples the last epoch is kept: earlier masks are not final.
    full = replace(context, settings=settings.model_copy(update={"validation_share": 0.0}))
    trained = retrain(
        masked,
        full,
        TrainingHooks(
            penalty=RBLoss(masked.module, settings.ratio),
            rates={"__0.0.mask": settings.mask_learning_rate},
        ),
        stage="learning masks",
        epochs=settings.mask_epochs,
    )
    with torch.no_grad():
        logits = torch.cat([pruned[name].mask.detach().flatten() for name in names])
        lowest = logits.argsort(stable=True)[: round(settings.ratio * len(logits))]
        kept = torch.ones(len(logits), dtype=torch.bool)
        kept[lowest] = False
        sizes = [pruned[name].mask.numel() for name in names]
        masks = {
            name: part.reshape(pruned[name].mask.shape)
            for name, part in zip(names, kept.split(sizes), strict=True)
        }
        below_pct = round(100 * float((logits <= 0).float().mean()), 2)
    state = masked.module.state_dict()
    network.module.load_state_dict({n: t for n, t in state.items() if not n.startswith(_HOOKS)})
    requested_pct = round(100 * settings.ratio, 2)
    if below_pct < requested_pct - 5:
        context.progress.note(
            f"warning: learned masks prune {below_pct:g}%, not {requested_pct:g}%, of the weights;"
            " raise mask_epochs"
        )
    mask_training = trained.to_json() if trained is not None else None
    return masks, {"mask_training": mask_training, "masks_closed_pct": below_pct}


def _tensors(module: torch.nn.Module, masks: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the weights of the masks, detached for changes in place."""
    if not masks:
        raise _nothing_to_prune()
    known = {**dict(module.named_buffers()), **dict(module.named_parameters())}
    known |= dict(module.named_parameters(remove_duplicate=False))
    return {name: known[name].detach() for name in masks}


def _nothing_to_prune() -> InputError:
    return InputError("prune-weights has no weights to prune", "ignore fewer layers")


def _verify_zeros(expected: int) -> Callable[[ov.Model], dict[str, Any]]:
    """Return a function that counts the zeros of the saved graph."""

    def verify(saved: ov.Model) -> dict[str, Any]:
        total, nonzero = count_nonzero(saved)
        zeros = total - nonzero
        if zeros < expected:
            raise InputError(
                f"the saved graph has {zeros} zeros in {total} weights, the network has {expected}"
            )
        return {"zeros": zeros, "sparsity_pct": round(100 * zeros / total, 2)}

    return verify


def _conditional_needs(settings: PruneWeightsSettings) -> frozenset[Need]:
    if settings.mode == "regularization":
        return frozenset({"training"})
    return training_needs(settings)


PRUNE_WEIGHTS = Method(
    PruneWeightsSettings,
    frozenset({"network"}),
    _apply,
    "size of an archive; speed only of INT8 MatMul on AMX CPUs with sparse decompression",
    conditional_needs=_conditional_needs,
)
