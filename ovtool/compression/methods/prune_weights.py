"""Weights set to zero one by one (unstructured pruning), with ``nncf.prune``.

The zeros stay where they are during the training that follows, and are in the weights themselves,
so the structure is the same.  A dense engine gains nothing from them: they pay in the size of an
archive, and on the CPU with ``CPU_SPARSE_WEIGHTS_DECOMPRESSION_RATE`` (INT8, AMX, MatMul).

``nncf.strip``, which would put the masks into the weights, needs a package that NNCF does not
install: the weights are multiplied with NNCF's masks here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from ovtool.compression import cost
from ovtool.compression.method import Compressed, Ignoring, Method, Work, missing
from ovtool.compression.methods.distillation import Distilling, finish, retrain, trained_with
from ovtool.compression.nncf_session import hookable, ignored_in_torch, quiet_nncf
from ovtool.compression.training import Hooks
from ovtool.core.errors import InputError
from ovtool.graph import storage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import openvino as ov
    import torch

    from ovtool.compression.method import Need
    from ovtool.models.network import Network

_HOOKS = "__nncf_hooks."
"""What NNCF puts before the names of what it adds to a module."""


class ZeroSettings(Ignoring, Distilling):
    """Settings of ``nncf.prune``, and of the training after it."""

    mode: Literal["local", "global", "regularization"] = Field(
        "local",
        description="the smallest weights of each layer, of all layers (by the norm of each), or "
        "those that training finds with learnt masks (needs training data)",
    )
    ratio: float = Field(0.5, gt=0, lt=1, description="share of the layers' weights that become 0")
    mask_epochs: int = Field(
        10, ge=1, description="of mode regularization: epochs that masks are learnt in"
    )
    mask_learning_rate: float = Field(
        0.05, gt=0, description="of mode regularization: of the masks, the first one"
    )

    @model_validator(mode="after")
    def _zeros_stay(self) -> ZeroSettings:
        if self.epochs and not self.keep_zeros:
            raise ValueError("keep_zeros is false: training would undo the zeros of this step")
        return self


def _apply(work: Work[ZeroSettings]) -> Compressed:
    if work.material.network is None:
        raise missing("prune-weights", ["network"])
    network, settings = work.material.network(), work.settings
    work.progress.start("choosing weights")
    details: dict[str, Any] = {"parameters": cost.parameters(network.module)}
    if settings.mode == "regularization":
        masks, learnt = _learnt(network, work)
        details |= learnt
    else:
        masks = _smallest(network, settings)
    tensors = _tensors(network.module, masks)
    for name, mask in masks.items():
        tensors[name].mul_(mask)
    trained = retrain(network, work)
    if trained is not None:
        details["training"] = trained.to_json()
    counted = _counted(network.module, masks)
    _sparse_enough(counted, settings.ratio)
    for name, (zeros, total) in counted.items():
        if zeros == total:
            work.progress.note(f"warning: all {total} weights of {name} are 0")
    details["zeroed"] = {
        name: {"weights": total, "zeros": zeros} for name, (zeros, total) in counted.items()
    }
    done = finish(work, network, details)
    details |= cost.compared(work.model, done.model)
    return replace(done, check=_check(sum(zeros for zeros, _ in counted.values())))


def _pruned(network: Network, settings: ZeroSettings) -> Network:
    """Return a copy of a network with NNCF's masks on the weights that it prunes."""
    copy = network.copy()
    copy = replace(copy, module=hookable(copy.module).eval())
    with quiet_nncf("zeroing weights"):
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
            ignored_scope=ignored_in_torch(copy.module, example, settings),
            examples_inputs=example,
        )
    return replace(copy, module=module)


def _smallest(network: Network, settings: ZeroSettings) -> dict[str, torch.Tensor]:
    """Return NNCF's masks of the smallest weights, by the weights' names."""
    from nncf.torch.function_hook.pruning.magnitude import algo

    masked = _pruned(network, settings)
    found = algo.get_pruned_modules(masked.module)
    return {name: found[name].binary_mask for name in sorted(found)}


def _learnt(
    network: Network, work: Work[ZeroSettings]
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Train weights and masks together, as Louizos et al. 2018 do with NNCF's ``RBLoss``.

    NNCF's masks keep what has a logit above 0, which is near the ratio only: the lowest logits are
    taken up to the ratio.  The network gets the weights that were trained with the masks.
    """
    import torch
    from nncf.torch.function_hook.pruning.rb import algo
    from nncf.torch.function_hook.pruning.rb.losses import RBLoss

    settings = work.settings
    masked = _pruned(network, settings)
    found = algo.get_pruned_modules(masked.module)
    names = sorted(found)
    if not names:
        raise _nothing()
    # No epoch is better than the last: the masks of those before are not where they should be.
    whole = replace(work, settings=settings.model_copy(update={"validation_share": 0.0}))
    trained = retrain(
        masked,
        whole,
        Hooks(
            penalty=RBLoss(masked.module, settings.ratio),
            rates={"__0.0.mask": settings.mask_learning_rate},
        ),
        stage="learning masks",
        epochs=settings.mask_epochs,
    )
    with torch.no_grad():
        logits = torch.cat([found[name].mask.detach().flatten() for name in names])
        lowest = logits.argsort(stable=True)[: round(settings.ratio * len(logits))]
        kept = torch.ones(len(logits), dtype=torch.bool)
        kept[lowest] = False
        sizes = [found[name].mask.numel() for name in names]
        masks = {
            name: part.reshape(found[name].mask.shape)
            for name, part in zip(names, kept.split(sizes), strict=True)
        }
        below_pct = round(100 * float((logits <= 0).float().mean()), 2)
    state = masked.module.state_dict()
    network.module.load_state_dict({n: t for n, t in state.items() if not n.startswith(_HOOKS)})
    asked_pct = round(100 * settings.ratio, 2)
    if below_pct < asked_pct - 5:
        work.progress.note(
            f"warning: the masks closed over {below_pct:g} % of the weights and not {asked_pct:g}: "
            "the rest was taken by the lowest masks. More --set mask_epochs, or a higher "
            "mask_learning_rate, let training decide"
        )
    learning = trained.to_json() if trained is not None else None
    return masks, {"mask_training": learning, "masks_closed_pct": below_pct}


def _tensors(module: torch.nn.Module, masks: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the weights that masks belong to, without gradients: to be changed in place."""
    if not masks:
        raise _nothing()
    known = {**dict(module.named_buffers()), **dict(module.named_parameters())}
    known |= dict(module.named_parameters(remove_duplicate=False))
    return {name: known[name].detach() for name in masks}


def _nothing() -> InputError:
    return InputError("zero finds no weights to prune", "ignore fewer layers")


def _counted(
    module: torch.nn.Module, masks: Mapping[str, torch.Tensor]
) -> dict[str, tuple[int, int]]:
    """Return the zeros and all weights of each weight tensor."""
    return {
        name: (int((tensor == 0).sum()), tensor.numel())
        for name, tensor in _tensors(module, masks).items()
    }


def _sparse_enough(counted: Mapping[str, tuple[int, int]], ratio: float) -> None:
    zeros, total = (sum(pair[place] for pair in counted.values()) for place in range(2))
    if zeros < ratio * total - len(counted):  # NNCF rounds, in every tensor
        raise InputError(f"{zeros} of {total} weights became 0, not the share of {ratio:g} asked")


def _check(expected: int) -> Callable[[ov.Model], dict[str, Any]]:
    """Return what counts the zeros in the saved graph."""

    def check(saved: ov.Model) -> dict[str, Any]:
        total, nonzero = storage.counted(saved)
        zeros = total - nonzero
        if zeros < expected:
            raise InputError(
                f"the saved graph holds {zeros} zeros among {total} weights, the network "
                f"{expected}: the conversion lost some"
            )
        return {"zeros": zeros, "sparsity_pct": round(100 * zeros / total, 2)}

    return check


def _also(settings: ZeroSettings) -> frozenset[Need]:
    if settings.mode == "regularization":
        return frozenset({"training"})
    return trained_with(settings)


PRUNE_WEIGHTS = Method(
    ZeroSettings,
    frozenset({"network"}),
    _apply,
    "size of an archive; speed only of INT8 MatMul on AMX CPUs told to use zeros",
    also=_also,
)
