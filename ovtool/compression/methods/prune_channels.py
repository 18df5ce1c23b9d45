"""Structured pruning with torch-pruning: removes channels and everything that depends on them.

Tracing the network determines which channels must be removed together, e.g. those that a residual
connection adds (Fang et al. 2023, DepGraph). Their importance is the norm of their weights over all
layers of the group (``l1``, ``l2``, Li et al. 2017), the scale of their batch normalization
(``bn_scale``, Liu et al. 2017), or the estimated change of the loss, ``|weight * gradient|`` on
training samples (``taylor``, Molchanov et al. 2019). The output layers are not pruned.
"""

from __future__ import annotations

import contextlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from ovtool.compression.distillation import DistillationSettings, hard_loss, retrain, training_needs
from ovtool.compression.layer_selection import find_modules
from ovtool.compression.method import Method, MethodContext, MethodResult, Names, Patterns
from ovtool.compression.networks import convert_with_cost, count_flops, count_parameters
from ovtool.compression.registry import METHODS
from ovtool.compression.training import load_training_set
from ovtool.core.errors import InputError
from ovtool.core.registry import missing_package
from ovtool.core.third_party import captured, reason
from ovtool.models.network import flatten_outputs

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    import torch

    from ovtool.compression.method import Need
    from ovtool.core.variant import Step
    from ovtool.models.network import Network

_BISECTIONS = 8
"""Number of bisections of the channel ratio for a share of FLOPs."""


class PruneChannelsSettings(DistillationSettings):
    """Settings of channel pruning."""

    ratio: float = Field(0.3, gt=0, lt=1, description="share to remove, see ratio_of")
    ratio_of: Literal["channels", "flops"] = Field(
        "channels",
        description="channels: share of the channels, per layer or in total (see ranking); flops: "
        "share of the network's FLOPs, by the smallest ratio of channels that removes it",
    )
    importance: Literal["l1", "l2", "taylor", "bn_scale"] = Field(
        "l2", description="importance of channels; taylor needs training samples"
    )
    ranking: Literal["layer", "network"] = Field(
        "layer", description="whether channels are ranked per layer or across the network"
    )
    steps: int = Field(1, ge=1, description="number of pruning steps, with retraining in between")
    step_epochs: int = Field(1, ge=0, description="epochs of retraining between pruning steps")
    round_to: int = Field(
        1,
        ge=1,
        description="rounds the remaining channels down to a multiple; a layer with none left is "
        "skipped",
    )
    taylor_samples: int = Field(256, ge=1, description="training samples for gradients of taylor")
    ignored_names: Names = Field((), description="modules to skip, with their submodules, by name")
    ignored_patterns: Patterns = Field((), description="modules to skip, by regular expression")


def _import_library() -> Any:
    try:
        import torch_pruning
    except ModuleNotFoundError as error:
        extra = METHODS.entry("prune-channels").extra
        raise missing_package("method prune-channels", error, extra) from error
    return torch_pruning


def _conditional_needs(settings: PruneChannelsSettings) -> frozenset[Need]:
    retrains_between = settings.steps > 1 and settings.step_epochs > 0
    if settings.importance == "taylor" or retrains_between:
        return frozenset({"training"})
    return training_needs(settings)


class _ChannelPruner:
    """Removes a share of the channels from a network in place, in steps.

    ``compute_gradients`` sets the gradient of the loss for every parameter, for ``taylor``.
    """

    def __init__(
        self,
        network: Network,
        settings: PruneChannelsSettings,
        ratio: float,
        steps: int,
        compute_gradients: Callable[[Network], None] | None,
    ) -> None:
        self.network, self.compute_gradients = network, compute_gradients
        tp = _import_library()
        ignored = find_modules(
            network, settings.ignored_names, settings.ignored_patterns, "ignored"
        )
        with _traced(network):
            self.pruner = tp.pruner.BasePruner(
                network.module,
                dict(network.example),
                importance=_importance(settings.importance),
                global_pruning=settings.ranking == "network",
                pruning_ratio=ratio,
                iterative_steps=steps,
                ignored_layers=list(ignored.values()),
                round_to=settings.round_to if settings.round_to > 1 else None,
                forward_fn=lambda _, example: flatten_outputs(network(example), network.reference),
                # The library's defaults are dictionaries that all pruners share.
                in_channel_groups={},
                out_channel_groups={},
                num_heads={},
            )
            self.pruner.ignored_layers.extend(_output_layers(self.pruner))

    def step(self) -> None:
        """Remove the channels of one step.

        Raises:
            InputError: The output shapes change, e.g. since code contains the channel count.
        """
        with _traced(self.network):
            if self.compute_gradients is not None:
                self.compute_gradients(self.network)
            before = _shapes(self.network)
            self.pruner.step()
            after = _shapes(self.network)
        self.network.module.zero_grad(set_to_none=True)
        if before != after:
            raise InputError(
                f"pruning changes the output shapes of {self.network.reference} from {before} to "
                f"{after}",
                "add the layers of these outputs to ignored_names",
            )


@contextlib.contextmanager
def _traced(network: Network) -> Iterator[None]:
    """Run torch-pruning on a network inside; its errors become InputError."""
    import torch

    frozen = {n for n, p in network.module.named_parameters() if not p.requires_grad}
    _set_trainable(network.module, ())  # tracing follows the gradients
    try:
        with captured(network.reference), torch.enable_grad():
            yield
    except InputError:
        raise
    except Exception as error:  # the user's code may raise anything
        raise InputError(
            f"torch-pruning cannot prune {network.reference}: {reason(error)}",
            "skip layers with ignored_names",
        ) from error
    finally:
        _set_trainable(network.module, frozen)


def _set_trainable(module: torch.nn.Module, frozen: Collection[str]) -> None:
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(parameter.is_floating_point() and name not in frozen)


def _importance(kind: str) -> Any:
    tp = _import_library()
    if kind == "taylor":
        return tp.importance.GroupTaylorImportance()
    if kind == "bn_scale":
        return tp.importance.BNScaleImportance()
    return tp.importance.GroupMagnitudeImportance(p=int(kind[1:]))


def _output_layers(pruner: Any) -> list[torch.nn.Module]:
    """Return the layers that produce the network's outputs."""
    import torch

    graph, layers = pruner.DG, []
    for group in graph.get_all_groups(root_module_types=pruner.root_module_types):
        pruned = [d.target for d, _ in group if graph.is_out_channel_pruning_fn(d.handler)]
        if any(not node.outputs for node in pruned):
            layers += [node.module for node in pruned if isinstance(node.module, torch.nn.Module)]
    return layers


def _shapes(network: Network) -> list[list[int]]:
    import torch

    with torch.no_grad():
        outputs = flatten_outputs(network(network.example), network.reference)
    return [list(output.shape) for output in outputs]


def _widths(module: torch.nn.Module) -> dict[str, int]:
    """Return the number of output channels or features of each layer that has them."""
    widths = {}
    for name, layer in module.named_modules():
        width = getattr(layer, "out_channels", getattr(layer, "out_features", None))
        if isinstance(width, int):
            widths[name] = width
    return widths


def _gradient_function(
    context: MethodContext[PruneChannelsSettings],
) -> Callable[[Network], None] | None:
    """Return a function that sets the gradients of the mean loss on training samples."""
    import torch

    settings = context.settings
    if settings.importance != "taylor":
        return None
    data = load_training_set(context.samples("training", "prune-channels"), context.progress)
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(settings.seed))
    indices = order[: settings.taylor_samples]

    def compute(network: Network) -> None:
        loss = hard_loss(network, context)
        network.module.eval()
        network.module.zero_grad(set_to_none=True)
        for batch in data.batches(indices, settings.batch_size):
            value = loss(batch.inputs, network(batch.inputs), batch.labels)
            (value * len(batch) / len(indices)).backward()

    return compute


def _channel_ratio(
    network: Network, context: MethodContext[PruneChannelsSettings], compute_gradients: Any
) -> float:
    settings = context.settings
    if settings.ratio_of == "channels":
        return settings.ratio
    whole = count_flops(context.model)
    if whole is None:
        raise InputError(
            "the FLOPs of the graph are unknown: a dimension other than the batch is open",
            "convert with a fixed --shape, or set ratio_of=channels",
        )
    low, high, largest = 0.0, 1.0, 0.0
    context.progress.start("searching the ratio of channels", _BISECTIONS)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        trial = network.copy()
        _ChannelPruner(trial, settings, middle, 1, compute_gradients).step()
        after = count_flops(trial.to_openvino(context.parent.record.inputs))
        removed = 1 - (whole if after is None else after) / whole
        largest = max(largest, removed)
        low, high = (low, middle) if removed >= settings.ratio else (middle, high)
        context.progress.advance()
    if largest < settings.ratio:
        raise InputError(
            f"ratio: pruning removes at most {largest:.1%} of the FLOPs, not {settings.ratio:.1%}",
            "lower ratio or round_to, or ignore fewer layers",
        )
    return high


def _apply(context: MethodContext[PruneChannelsSettings]) -> MethodResult:
    _import_library()  # fail early
    settings, network = context.settings, context.create_network("prune-channels")
    compute_gradients = _gradient_function(context)
    ratio = _channel_ratio(network, context, compute_gradients)
    widths, size = _widths(network.module), count_parameters(network.module)
    pruner = _ChannelPruner(network, settings, ratio, settings.steps, compute_gradients)
    between: list[dict[str, Any]] = []
    for step in range(1, settings.steps + 1):
        context.progress.start(f"removing channels, step {step} of {settings.steps}")
        pruner.step()
        if step < settings.steps:
            stage = f"retraining after step {step}"
            trained = retrain(network, context, stage=stage, epochs=settings.step_epochs)
            between += [trained.to_json()] if trained else []
    if count_parameters(network.module) == size:
        raise InputError(
            f"prune-channels removes no channel of {network.reference}",
            "raise ratio, lower round_to, ignore fewer layers, or use another importance",
        )
    trained = retrain(network, context)
    remaining = _widths(network.module)
    details = {
        "torch_pruning": version("torch-pruning"),
        "ratio_of_channels": ratio,
        "channels": {n: [old, remaining[n]] for n, old in widths.items() if remaining[n] != old},
        # Module name, whether of its outputs, and indices.
        "pruning_history": [[n, out, list(idx)] for n, out, idx in pruner.pruner.pruning_history()],
        **({"training_between": between} if between else {}),
    }
    return convert_with_cost(context, network, size, trained, details)


def _rebuild(network: Network, step: Step) -> None:
    tp = _import_library()
    with _traced(network):
        graph = tp.DependencyGraph().build_dependency(
            network.module,
            dict(network.example),
            forward_fn=lambda _, example: flatten_outputs(network(example), network.reference),
        )
        graph.load_pruning_history(step.details["pruning_history"])


PRUNE_CHANNELS = Method(
    PruneChannelsSettings,
    frozenset({"network"}),
    _apply,
    "size; speed on CPU, GPU and NPU, since layers become smaller",
    rebuild=_rebuild,
    conditional_needs=_conditional_needs,
)
