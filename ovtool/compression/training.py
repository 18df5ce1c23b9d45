"""The training loop behind every method that trains: seeded, resumable, bounded in time."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from ovtool.compression.method import Settings
from ovtool.core import files
from ovtool.core.errors import InputError
from ovtool.models.network import tensors_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from ovtool.core.progress import Progress
    from ovtool.datasets.samples import Samples
    from ovtool.models.network import Network

    Loss = Callable[[Mapping[str, torch.Tensor], Any, torch.Tensor | None], torch.Tensor]
    """Takes a batch's inputs, the network's outputs for them and the labels."""

MAX_BYTES = 4 << 30
"""Of training data held in memory."""


class Training(Settings):
    """Settings of the training loop; methods that train have them among their own."""

    epochs: int = Field(5, ge=0, description="passes over the training data; 0: no training")
    learning_rate: float = Field(1e-3, gt=0, description="the first one; the schedule lowers it")
    optimizer: Literal["adamw", "adam", "sgd"] = Field("adamw", description="sgd: Nesterov, 0.9")
    schedule: Literal["cosine", "constant"] = Field(
        "cosine", description="of the learning rate, over all epochs down to 0"
    )
    weight_decay: float = Field(0.0, ge=0, description="of the optimizer")
    batch_size: int = Field(64, ge=1, description="samples in a training step")
    validation_share: float = Field(
        0.1, ge=0, lt=1, description="share of the training data held back to choose the best epoch"
    )
    patience: int | None = Field(
        None, ge=1, description="stop when this many epochs brought nothing better; none: never"
    )
    time_limit_s: float | None = Field(
        None, gt=0, description="start no epoch after this long; none: no limit"
    )
    seed: int = Field(0, ge=0, description="of the order of samples, of dropout, of what is new")


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one pass came to; ``metric`` is top-1 on the samples held back, None without any."""

    loss: float
    metric: float | None


@dataclass(frozen=True, slots=True)
class Trained:
    """How training went."""

    epochs: tuple[Epoch, ...]
    best: int | None
    """Number of the epoch, from 1, whose weights were kept; None: the last."""
    stopped: Literal["epochs", "patience", "time"]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Samples as tensors.

    Args:
        inputs: Input name to [samples, ...].
        labels: [samples] class indices; None where there are none.
    """

    inputs: dict[str, torch.Tensor]
    labels: torch.Tensor | None

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(next(iter(self.inputs.values())))

    def batches(self, places: torch.Tensor, size: int) -> Iterator[TrainingSet]:
        """Yield the samples at ``places``, in that order, in batches."""
        for chosen in split(places, size):
            labels = None if self.labels is None else self.labels[chosen]
            yield TrainingSet({n: t[chosen] for n, t in self.inputs.items()}, labels)


def split(places: torch.Tensor, size: int) -> list[torch.Tensor]:
    """Return batches of ``size``; a single sample that is left over joins the batch before it.

    Batch normalization has no variance to take from one sample alone.
    """
    import torch

    parts = list(places.split(size))
    if len(parts) > 1 and size > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


def training_set(samples: Samples, progress: Progress) -> TrainingSet:
    """Read samples into memory.

    Raises:
        InputError: They take more than :data:`MAX_BYTES`, or their shapes differ.
    """
    import torch

    progress.start("reading the training data", len(samples))
    arrays: dict[str, list[NDArray[Any]]] = {}
    labels: list[int | None] = []
    size = 0
    for sample in samples:
        for name, array in sample.inputs.items():
            arrays.setdefault(name, []).append(array)
            size += array.nbytes
        if size > MAX_BYTES:
            raise InputError(
                f"{samples.reference} takes more than {MAX_BYTES >> 30} GiB in memory",
                "train on fewer samples: --limit, or data.training.limit",
            )
        if isinstance(sample.label, str):
            raise InputError(
                f"{samples.reference}: the labels are texts, and training is on class indices"
            )
        labels.append(sample.label)
        progress.advance()
    try:
        inputs = {name: torch.from_numpy(np.stack(found)) for name, found in arrays.items()}
    except ValueError as error:
        raise InputError(f"{samples.reference}: samples of different shapes") from error
    known = [label for label in labels if label is not None]
    return TrainingSet(inputs, torch.tensor(known) if len(known) == len(labels) else None)


@dataclass(slots=True)
class Hooks:
    """What a method adds to the loop.

    Args:
        loss: In place of the cross-entropy of the first output and the labels.
        penalty: Added to the loss of each step.
        after_step: Called when the weights were changed, e.g. to put zeros back.
        extra: Further parameters that are trained (a projection's); they are in checkpoints.
        rates: Ends of the names of parameters that have a first learning rate of their own, and no
            weight decay.
    """

    loss: Loss | None = None
    penalty: Callable[[], torch.Tensor] | None = None
    after_step: Callable[[], None] | None = None
    extra: dict[str, torch.nn.Module] = field(default_factory=dict)
    rates: dict[str, float] = field(default_factory=dict)


def train(
    network: Network,
    data: TrainingSet,
    settings: Training,
    checkpoint: Path,
    progress: Progress,
    hooks: Hooks | None = None,
    what: str = "training",
) -> Trained:
    """Train a network in place, from its checkpoint where there is one.

    The same seed, data and settings give the same weights, also when it was interrupted between:
    each epoch's order comes from the seed and its number, and the checkpoint holds the state of
    torch's generator.  Where samples are held back, the weights of the best epoch are kept, the
    untrained ones among them never.

    Args:
        network: Its module is trained and left in eval mode.
        data: What it is trained on.
        settings: How.
        checkpoint: Written after each epoch, and read if it is there.
        progress: Told of epochs, with the loss and the metric.
        hooks: What the method adds.
        what: Said of the training in the progress.

    Raises:
        InputError: The loss became infinite or NaN, there are no labels for the usual loss or they
            do not fit it, no sample is left to train on, or no weight can be trained.
    """
    loop = _Loop(network, data, settings, checkpoint, progress, hooks or Hooks(), what)
    return loop.run()


class _Loop:
    def __init__(
        self,
        network: Network,
        data: TrainingSet,
        settings: Training,
        checkpoint: Path,
        progress: Progress,
        hooks: Hooks,
        what: str,
    ) -> None:
        import torch

        self.network, self.data, self.settings = network, data, settings
        self.checkpoint, self.progress, self.hooks, self.what = checkpoint, progress, hooks, what
        self.loss = hooks.loss or classification_loss(network.reference)
        torch.manual_seed(settings.seed)
        order = torch.randperm(len(data), generator=self._generator(0))
        held = round(settings.validation_share * len(data)) if data.labels is not None else 0
        self.held, self.used = order[:held], order[held:]
        if not len(self.used):
            raise InputError(
                f"{what}: all {len(data)} samples are held back to choose the best epoch",
                f"lower validation_share ({settings.validation_share:g}), or give more data",
            )
        self.modules = {"network": network.module, **hooks.extra}
        self.optimizer = _optimizer(self.modules, settings, hooks.rates)
        self.done: list[Epoch] = []
        self.best: dict[str, torch.Tensor] | None = None
        self.spent_s = 0.0

    def _generator(self, epoch: int) -> torch.Generator:
        import torch

        return torch.Generator().manual_seed(self.settings.seed * 1_000_003 + epoch)

    def run(self) -> Trained:
        self._resume()
        stopped = self._stop()
        while stopped is None:
            started = time.monotonic()
            self.done.append(self._epoch(len(self.done) + 1))
            if self._best_place() == len(self.done):
                self.best = {
                    name: t.detach().clone() for name, t in self.network.module.state_dict().items()
                }
            self.spent_s += time.monotonic() - started
            self._save()
            stopped = self._stop()
        best = self._best_place()
        if self.best is not None:
            self.network.module.load_state_dict(self.best)
        self.network.module.eval()
        return Trained(tuple(self.done), best, stopped)

    def _stop(self) -> Literal["epochs", "patience", "time"] | None:
        settings = self.settings
        if len(self.done) >= settings.epochs:
            return "epochs"
        best = self._best_place()
        if best and settings.patience and len(self.done) - best >= settings.patience:
            return "patience"
        if settings.time_limit_s is not None and self.spent_s >= settings.time_limit_s:
            return "time"
        return None

    def _best_place(self) -> int | None:
        """Return the number of the best epoch: the first of those with the highest metric."""
        metrics = [epoch.metric for epoch in self.done if epoch.metric is not None]
        return metrics.index(max(metrics)) + 1 if metrics else None

    def _epoch(self, number: int) -> Epoch:
        import torch

        settings = self.settings
        order = self.used[torch.randperm(len(self.used), generator=self._generator(number))]
        steps = len(split(order, settings.batch_size))
        self.progress.start(
            f"{self.what}, epoch {number} of {settings.epochs}{self._so_far()}", steps
        )
        for module in self.modules.values():
            module.train()
        total = 0.0
        for step, batch in enumerate(self.data.batches(order, settings.batch_size)):
            self._set_rate((number - 1 + step / steps) / settings.epochs)
            loss = self.loss(batch.inputs, self.network(batch.inputs), batch.labels)
            if self.hooks.penalty is not None:
                loss = loss + self.hooks.penalty()
            if not torch.isfinite(loss):
                raise InputError(
                    f"{self.what}: the loss became {float(loss.detach())} in epoch {number}",
                    f"lower the learning rate ({settings.learning_rate:g})",
                )
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            if self.hooks.after_step is not None:
                self.hooks.after_step()
            total += float(loss.detach()) * len(batch)
            self.progress.advance()
        return Epoch(total / len(order), self._metric())

    def _so_far(self) -> str:
        if not self.done:
            return ""
        last = self.done[-1]
        metric = "" if last.metric is None else f", top-1 {last.metric:.4f}"
        return f" (loss {last.loss:.4f}{metric})"

    def _set_rate(self, share: float) -> None:
        settings = self.settings
        factor = (1 + math.cos(math.pi * share)) / 2 if settings.schedule == "cosine" else 1.0
        for group in self.optimizer.param_groups:
            group["lr"] = group["first_rate"] * factor

    def _metric(self) -> float | None:
        """Return top-1 on what was held back."""
        import torch

        if not len(self.held):
            return None
        self.network.module.eval()
        right = 0
        with torch.no_grad():
            for batch in self.data.batches(self.held, self.settings.batch_size):
                scores = judged(self.network(batch.inputs), self.network.reference)
                right += int((scores.flatten(1).argmax(1) == batch.labels).sum())
        return right / len(self.held)

    def _save(self) -> None:
        import torch

        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        state = {
            "modules": {name: module.state_dict() for name, module in self.modules.items()},
            "optimizer": self.optimizer.state_dict(),
            "best": self.best,
            "done": [asdict(epoch) for epoch in self.done],
            "spent_s": self.spent_s,
            "generator": torch.get_rng_state(),
        }
        files.write_file(self.checkpoint, lambda path: torch.save(state, path))

    def _resume(self) -> None:
        import torch

        if not self.checkpoint.is_file():
            return
        state = torch.load(self.checkpoint, weights_only=True)
        for name, module in self.modules.items():
            module.load_state_dict(state["modules"][name])
        self.optimizer.load_state_dict(state["optimizer"])
        self.best = state["best"]
        self.done = [Epoch(**epoch) for epoch in state["done"]]
        self.spent_s = state["spent_s"]
        torch.set_rng_state(state["generator"])
        self.progress.note(f"{self.what}: goes on after epoch {len(self.done)}")


def judged(outputs: Any, reference: str) -> torch.Tensor:
    """Return the output that a network is trained and judged by: the first."""
    return tensors_of(outputs, reference)[0]


def classification_loss(reference: str) -> Loss:
    """Return the cross-entropy of the first output, [samples, classes], and the labels."""

    def loss(
        inputs: Mapping[str, torch.Tensor],  # noqa: ARG001 - other losses need them
        outputs: Any,
        labels: torch.Tensor | None,
    ) -> torch.Tensor:
        import torch

        if labels is None:
            raise InputError(
                "training on labels needs labels, and the training data has none",
                "give labelled data, or learn from a teacher alone: --set hard=0 --set soft=1",
            )
        scores = judged(outputs, reference).flatten(1)
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= scores.shape[1]:
            raise InputError(
                f"{reference} tells {scores.shape[1]} classes apart, and the training data has "
                f"the label {low if low < 0 else high}",
                "labels are class indices from 0",
            )
        return torch.nn.functional.cross_entropy(scores, labels)

    return loss


def _optimizer(
    modules: Mapping[str, torch.nn.Module], settings: Training, rates: Mapping[str, float]
) -> torch.optim.Optimizer:
    import torch

    own: dict[str | None, list[torch.nn.Parameter]] = {None: [], **{end: [] for end in rates}}
    for module in modules.values():
        # By name, since checkpoints hold places and NNCF adds masks in the order of a set.
        for name, parameter in sorted(module.named_parameters(), key=lambda pair: pair[0]):
            end = next((end for end in rates if name.endswith(end)), None)
            if parameter.requires_grad:
                own[end].append(parameter)
    groups = [
        {
            "params": parameters,
            "first_rate": settings.learning_rate if end is None else rates[end],
            "weight_decay": settings.weight_decay if end is None else 0.0,
        }
        for end, parameters in own.items()
        if parameters
    ]
    if not groups:
        raise InputError("no weight of the network can be trained: all have requires_grad=False")
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, settings.learning_rate, momentum=0.9, nesterov=True)
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, settings.learning_rate)
