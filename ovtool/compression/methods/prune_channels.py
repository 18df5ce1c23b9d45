"""Whole channels removed, with everything that depends on them (structured pruning, torch-pruning).

Channels that must go together, as those that a residual connection adds, are found by tracing the
network (Fang et al. 2023, DepGraph).  Which go is told by their importance:

- ``l1``, ``l2``: the norm of their weights (Li et al. 2017), over all layers that go together.
- ``bn_scale``: the scale of their batch normalization (Liu et al. 2017, Network Slimming).
- ``taylor``: the change of the loss that their removal is estimated to make, ``|weight *
  gradient|`` (Molchanov et al. 2019); the gradients are taken on training samples.

The layers that give the network's outputs stay as they are.
"""

from __future__ import annotations

import contextlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from ovtool.compression.cost import compared, graph_flops, parameters
from ovtool.compression.method import Compressed, Method, Names, Patterns, Work, missing
from ovtool.compression.method_table import METHODS
from ovtool.compression.methods.distillation import Distilling, finish, retrain, trained_with
from ovtool.compression.modules import matching
from ovtool.compression.training import classification_loss, training_set
from ovtool.core.errors import InputError
from ovtool.core.registry import missing_package
from ovtool.core.third_party import captured, reason
from ovtool.models.network import tensors_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    import torch

    from ovtool.compression.method import Need
    from ovtool.compression.training import TrainingSet
    from ovtool.core.variant import Step
    from ovtool.models.network import Network

_TRIES = 8
"""Halvings of the interval in which the ratio of channels for a share of FLOPs is looked for."""


class ChannelSettings(Distilling):
    """Settings of channel pruning."""

    ratio: float = Field(0.3, gt=0, lt=1, description="share that is removed, see ratio_of")
    ratio_of: Literal["channels", "flops"] = Field(
        "channels",
        description="channels: of each layer (or of all, see ranking); flops: of the network's "
        "arithmetic, by the least ratio of channels that is found to do it",
    )
    importance: Literal["l1", "l2", "taylor", "bn_scale"] = Field(
        "l2", description="what tells which channels go; taylor takes training samples"
    )
    ranking: Literal["layer", "network"] = Field(
        "layer", description="channels compete within their layer, or across the network"
    )
    steps: int = Field(1, ge=1, description="in how many steps, with retraining in between")
    step_epochs: int = Field(
        1, ge=0, description="epochs of the retraining after each but the last"
    )
    round_to: int = Field(
        1,
        ge=1,
        description="channels that stay are rounded down to a multiple of this; a layer that "
        "would have none left stays as it is",
    )
    taylor_samples: int = Field(256, ge=1, description="training samples gradients are taken on")
    ignored_names: Names = Field(
        (), description="modules that keep their output channels, with all inside them"
    )
    ignored_patterns: Patterns = Field((), description="the same, by regular expression")


def _library() -> Any:
    try:
        import torch_pruning
    except ModuleNotFoundError as error:
        extra = METHODS.entry("prune-channels").extra
        raise missing_package("method prune-channels", error, extra) from error
    return torch_pruning


def _needed(settings: ChannelSettings) -> frozenset[Need]:
    between = settings.steps > 1 and settings.step_epochs > 0
    if settings.importance == "taylor" or between:
        return frozenset({"training"})
    return trained_with(settings)


class _Cut:
    """A network whose channels are being removed.

    Args:
        network: Its module is changed.
        settings: Of the method.
        ratio: Of channels, when all steps are done.
        steps: In how many.
        gradients: Gives every parameter the gradient of the loss, for ``taylor``.
    """

    def __init__(
        self,
        network: Network,
        settings: ChannelSettings,
        ratio: float,
        steps: int,
        gradients: Callable[[Network], None] | None,
    ) -> None:
        self.network, self.gradients = network, gradients
        tp, ignored = _library(), (settings.ignored_names, settings.ignored_patterns)
        left = matching(network, *ignored, "ignored")
        with _traced(network):
            self.pruner = tp.pruner.BasePruner(
                network.module,
                dict(network.example),
                importance=_importance(settings.importance),
                global_pruning=settings.ranking == "network",
                pruning_ratio=ratio,
                iterative_steps=steps,
                ignored_layers=list(left.values()),
                round_to=settings.round_to if settings.round_to > 1 else None,
                forward_fn=lambda _, example: tensors_of(network(example), network.reference),
                # The library's defaults are one dictionary for all pruners there ever were.
                in_channel_groups={},
                out_channel_groups={},
                num_heads={},
            )
            self.pruner.ignored_layers.extend(_last_layers(self.pruner))

    def step(self) -> None:
        """Remove the channels of one step.

        Raises:
            InputError: The network cannot do without them, as its own code tells their number.
        """
        with _traced(self.network):
            if self.gradients is not None:
                self.gradients(self.network)
            before = _shapes(self.network)
            self.pruner.step()
            after = _shapes(self.network)
        self.network.module.zero_grad(set_to_none=True)
        if before != after:
            raise InputError(
                f"without the channels {self.network.reference} gives {after}, before {before}",
                "name the layers that give these outputs in ignored_names",
            )

    @property
    def history(self) -> list[Any]:
        """What was removed: module name, whether of its outputs, and which channels."""
        return [[name, out, list(places)] for name, out, places in self.pruner.pruning_history()]


@contextlib.contextmanager
def _traced(network: Network) -> Iterator[None]:
    """Run torch-pruning on a network inside; raises InputError where it cannot."""
    import torch

    frozen = {n for n, p in network.module.named_parameters() if not p.requires_grad}
    _set_trainable(network.module, ())  # the network is traced by its gradients
    try:
        with captured(network.reference), torch.enable_grad():
            yield
    except InputError:
        raise
    except Exception as error:  # it runs the user's code, which may raise anything
        raise InputError(
            f"torch-pruning cannot prune {network.reference}: {reason(error)}",
            "leave layers as they are with ignored_names",
        ) from error
    finally:
        _set_trainable(network.module, frozen)


def _set_trainable(module: torch.nn.Module, frozen: Collection[str]) -> None:
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(parameter.is_floating_point() and name not in frozen)


def _importance(kind: str) -> Any:
    tp = _library()
    if kind == "taylor":
        return tp.importance.GroupTaylorImportance()
    if kind == "bn_scale":
        return tp.importance.BNScaleImportance()
    return tp.importance.GroupMagnitudeImportance(p=int(kind[1:]))


def _last_layers(pruner: Any) -> list[torch.nn.Module]:
    """Return the layers whose channels are those of the network's outputs."""
    import torch

    graph, found = pruner.DG, []
    for group in graph.get_all_groups(root_module_types=pruner.root_module_types):
        cut = [d.target for d, _ in group if graph.is_out_channel_pruning_fn(d.handler)]
        if any(not node.outputs for node in cut):
            found += [node.module for node in cut if isinstance(node.module, torch.nn.Module)]
    return found


def _shapes(network: Network) -> list[list[int]]:
    import torch

    with torch.no_grad():
        outputs = tensors_of(network(network.example), network.reference)
    return [list(output.shape) for output in outputs]


def _widths(module: torch.nn.Module) -> dict[str, int]:
    """Return the number of output channels or features of each layer that has any."""
    found = {}
    for name, layer in module.named_modules():
        width = getattr(layer, "out_channels", getattr(layer, "out_features", None))
        if isinstance(width, int):
            found[name] = width
    return found


def _gradients(work: Work[ChannelSettings]) -> Callable[[Network], None] | None:
    """Return what gives a network the gradients of the mean loss of training samples, in eval mode.

    Raises:
        InputError: ``taylor`` is asked for and there are no training samples, or no labels.
    """
    import torch

    settings, material = work.settings, work.material
    if settings.importance != "taylor":
        return None
    if material.training is None:
        raise missing("prune-channels", ["training"])
    data = training_set(material.training, work.progress)
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(settings.seed))
    places = order[: settings.taylor_samples]

    def take(network: Network) -> None:
        _take_gradients(network, data, places, work)

    return take


def _take_gradients(
    network: Network, data: TrainingSet, places: torch.Tensor, work: Work[ChannelSettings]
) -> None:
    loss = classification_loss(network.reference)
    given = work.material.loss
    network.module.eval()
    network.module.zero_grad(set_to_none=True)
    for batch in data.batches(places, work.settings.batch_size):
        outputs = network(batch.inputs)
        value = given(outputs, batch.labels) if given else loss(batch.inputs, outputs, batch.labels)
        (value * len(batch) / len(places)).backward()


def _ratio(network: Network, work: Work[ChannelSettings], gradients: Any) -> float:
    """Return the ratio of channels that the settings ask for.

    Raises:
        InputError: It is to be found by FLOPs, and they cannot be told or not be reduced so far.
    """
    settings = work.settings
    if settings.ratio_of == "channels":
        return settings.ratio
    whole = graph_flops(work.model)
    if whole is None:
        raise InputError(
            "FLOPs cannot be told from the graph: a dimension other than the batch is open",
            "convert with fixed --shape, or set ratio_of=channels",
        )
    low, high, most = 0.0, 1.0, 0.0
    work.progress.start("looking for the ratio of channels", _TRIES)
    for _ in range(_TRIES):
        middle = (low + high) / 2
        tried = network.copy()
        _Cut(tried, settings, middle, 1, gradients).step()
        after = graph_flops(tried.to_openvino(work.parent.record.inputs))
        removed = 1 - (whole if after is None else after) / whole
        most = max(most, removed)
        low, high = (low, middle) if removed >= settings.ratio else (middle, high)
        work.progress.advance()
    if most < settings.ratio:
        raise InputError(
            f"channels: no ratio was found that removes {settings.ratio:.1%} of the FLOPs; the "
            f"most was {most:.1%}",
            "lower ratio or round_to, or ignore fewer layers",
        )
    return high


def _apply(work: Work[ChannelSettings]) -> Compressed:
    _library()  # said before anything is read
    if work.material.network is None:
        raise missing("prune-channels", ["network"])
    settings, network = work.settings, work.material.network()
    gradients = _gradients(work)
    ratio = _ratio(network, work, gradients)
    widths, size = _widths(network.module), parameters(network.module)
    cut = _Cut(network, settings, ratio, settings.steps, gradients)
    between = []
    for step in range(1, settings.steps + 1):
        work.progress.start(f"removing channels, step {step} of {settings.steps}")
        cut.step()
        if step < settings.steps:
            stage = f"retraining after step {step}"
            trained = retrain(network, work, stage=stage, epochs=settings.step_epochs)
            between += [trained.to_json()] if trained else []
    if parameters(network.module) == size:
        raise InputError(
            f"no channel of {network.reference} was removed",
            "raise ratio, lower round_to, ignore fewer layers, or use another importance",
        )
    trained = retrain(network, work)
    left = _widths(network.module)
    details = {
        "torch_pruning": version("torch-pruning"),
        "ratio_of_channels": ratio,
        "channels": {n: [was, left[n]] for n, was in widths.items() if left[n] != was},
        "parameters_before": size,
        "parameters_after": parameters(network.module),
        "pruning_history": cut.history,
        **({"training_between": between} if between else {}),
        **({"training": trained.to_json()} if trained else {}),
    }
    done = finish(work, network, details)
    details.update(compared(work.model, done.model))
    return done


def _rebuild(network: Network, step: Step) -> None:
    tp = _library()
    with _traced(network):
        graph = tp.DependencyGraph().build_dependency(
            network.module,
            dict(network.example),
            forward_fn=lambda _, example: tensors_of(network(example), network.reference),
        )
        graph.load_pruning_history(step.details["pruning_history"])


PRUNE_CHANNELS = Method(
    ChannelSettings,
    frozenset({"network"}),
    _apply,
    "size; speed on CPU, GPU and NPU, for the layers become smaller",
    rebuild=_rebuild,
    also=_needed,
)
