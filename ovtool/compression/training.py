"""The training loop of every method that trains: seeded, resumable, with a time limit."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from ovtool.compression.method import MethodSettings
from ovtool.compression.saved_state import load_checkpoint
from ovtool.core import files, units
from ovtool.core.errors import InputError
from ovtool.datasets.samples import label_kind
from ovtool.models.network import flatten_outputs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from ovtool.core.progress import Progress
    from ovtool.datasets.samples import Samples
    from ovtool.models.network import Network

    Loss = Callable[[Mapping[str, torch.Tensor], Any, torch.Tensor | None], torch.Tensor]
    """Returns the loss of a batch from its inputs, the network's outputs and the labels."""

MAX_TRAINING_BYTES = 4 << 30
"""Maximum size of training data in memory."""


class TrainingSettings(MethodSettings):
    """Settings of the training loop, part of the settings of every method that trains."""

    epochs: int = Field(5, ge=0, description="passes over the training data; 0: no training")
    learning_rate: float = Field(1e-3, gt=0, description="initial rate; the schedule lowers it")
    optimizer: Literal["adamw", "adam", "sgd"] = Field(
        "adamw", description="optimizer; sgd has Nesterov momentum 0.9"
    )
    schedule: Literal["cosine", "constant"] = Field(
        "cosine", description="learning rate schedule; cosine falls to 0 over all epochs"
    )
    weight_decay: float = Field(0.0, ge=0, description="weight decay of the optimizer")
    batch_size: int = Field(64, ge=1, description="samples per training step")
    validation_share: float = Field(
        0.1, ge=0, lt=1, description="share of the training data held out to choose the best epoch"
    )
    patience: int | None = Field(
        None, ge=1, description="stop after this many epochs without improvement; none: never"
    )
    time_limit_s: float | None = Field(
        None, gt=0, description="seconds after which no epoch starts; none: no limit"
    )
    seed: int = Field(0, ge=0, description="seed of sample order, dropout and new weights")


@dataclass(frozen=True, slots=True)
class Epoch:
    """Result of one epoch; ``metric`` is top-1 on the held-out samples, None without any."""

    loss: float
    metric: float | None


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """Result of a training; ``best`` is the epoch, from 1, of the kept weights; None: the last."""

    epochs: tuple[Epoch, ...]
    best: int | None
    stopped: Literal["epochs", "patience", "time"]

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON types."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Inputs by name, [samples, ...], and class indices, [samples], if there are labels."""

    inputs: dict[str, torch.Tensor]
    labels: torch.Tensor | None

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(next(iter(self.inputs.values())))

    def batches(self, indices: torch.Tensor, size: int) -> Iterator[TrainingSet]:
        """Yield the samples with these indices, in their order, in batches."""
        for batch in split_batches(indices, size):
            labels = None if self.labels is None else self.labels[batch]
            yield TrainingSet({n: t[batch] for n, t in self.inputs.items()}, labels)


def split_batches(indices: torch.Tensor, size: int) -> list[torch.Tensor]:
    """Split indices into batches of ``size``; a single remaining sample joins the last batch."""
    import torch

    parts = list(indices.split(size))
    # Batch normalization cannot compute a variance from one sample.
    if len(parts) > 1 and size > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


def load_training_set(samples: Samples, progress: Progress) -> TrainingSet:
    """Read samples into memory.

    Raises:
        InputError: The samples exceed :data:`MAX_TRAINING_BYTES`, their shapes differ, or their
            labels are texts.
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
        if size > MAX_TRAINING_BYTES:
            raise InputError(
                f"{samples.reference} exceeds {MAX_TRAINING_BYTES >> 30} GiB in memory",
                "train on fewer samples: --limit, or data.training.limit",
            )
        if not isinstance(sample.label, int | None):
            kind = label_kind(sample.label)
            raise InputError(
                f"{samples.reference}: labels are {kind}; training needs class indices"
            )
        labels.append(sample.label)
        progress.advance()
    try:
        inputs = {name: torch.from_numpy(np.stack(rows)) for name, rows in arrays.items()}
    except ValueError as error:
        raise InputError(f"{samples.reference}: sample shapes differ") from error
    known = [label for label in labels if label is not None]
    return TrainingSet(inputs, torch.tensor(known) if len(known) == len(labels) else None)


@dataclass(slots=True)
class TrainingHooks:
    """Additions of a method to the training loop.

    ``loss`` replaces the cross-entropy of the first output and the labels; ``penalty`` is added to
    the loss of each step; ``after_step`` is called after each update of the weights, e.g. to
    restore zeros. ``extra`` are further modules to train, e.g. projections; checkpoints include
    them. ``rates`` maps suffixes of parameter names to initial learning rates; these parameters
    have no weight decay.
    """

    loss: Loss | None = None
    penalty: Callable[[], torch.Tensor] | None = None
    after_step: Callable[[], None] | None = None
    extra: dict[str, torch.nn.Module] = field(default_factory=dict)
    rates: dict[str, float] = field(default_factory=dict)


def train(
    network: Network,
    data: TrainingSet,
    settings: TrainingSettings,
    checkpoint: Path,
    progress: Progress,
    hooks: TrainingHooks | None = None,
    task: str = "training",
) -> TrainingResult:
    """Train a network in place; resume from the checkpoint if it exists.

    The same seed, data and settings give the same weights, also after an interruption: the order
    of an epoch depends on the seed and the epoch's number only, and the checkpoint holds the state
    of PyTorch's generator. With held-out samples, the weights of the best epoch are kept. The
    network ends in eval mode. ``task`` names the training in the progress.

    Raises:
        InputError: The loss is infinite or NaN, labels are missing or out of range, no sample is
            left to train on, or no weight is trainable.
    """
    loop = _Loop(network, data, settings, checkpoint, progress, hooks or TrainingHooks(), task)
    return loop.run()


@dataclass
class _Loop:
    network: Network
    data: TrainingSet
    settings: TrainingSettings
    checkpoint: Path
    progress: Progress
    hooks: TrainingHooks
    task: str

    def __post_init__(self) -> None:
        import torch

        network, data, settings, hooks = self.network, self.data, self.settings, self.hooks
        self.loss = hooks.loss or classification_loss(network.reference)
        torch.manual_seed(settings.seed)
        order = torch.randperm(len(data), generator=self._generator(0))
        held_out = round(settings.validation_share * len(data)) if data.labels is not None else 0
        self.held_out, self.train_indices = order[:held_out], order[held_out:]
        if not len(self.train_indices):
            raise InputError(
                f"{self.task}: all {len(data)} samples are held out to choose the best epoch",
                f"lower validation_share ({settings.validation_share:g}), or add data",
            )
        self.modules = {"network": network.module, **hooks.extra}
        self.optimizer = _optimizer(self.modules, settings, hooks.rates)
        self.finished: list[Epoch] = []
        self.best_weights: dict[str, torch.Tensor] | None = None
        self.spent_s = 0.0

    def _generator(self, epoch: int) -> torch.Generator:
        import torch

        return torch.Generator().manual_seed(self.settings.seed * 1_000_003 + epoch)

    def run(self) -> TrainingResult:
        self._resume()
        while (stopped := self._stop_reason()) is None:
            started = time.monotonic()
            self.finished.append(self._run_epoch(len(self.finished) + 1))
            if self._best_epoch() == len(self.finished):
                self.best_weights = {
                    name: t.detach().clone() for name, t in self.network.module.state_dict().items()
                }
            self.spent_s += time.monotonic() - started
            self._save()
        best = self._best_epoch()
        if self.best_weights is not None:
            self.network.module.load_state_dict(self.best_weights)
        self.network.module.eval()
        return TrainingResult(tuple(self.finished), best, stopped)

    def _stop_reason(self) -> Literal["epochs", "patience", "time"] | None:
        settings = self.settings
        if len(self.finished) >= settings.epochs:
            return "epochs"
        best = self._best_epoch()
        if best and settings.patience and len(self.finished) - best >= settings.patience:
            return "patience"
        if settings.time_limit_s is not None and self.spent_s >= settings.time_limit_s:
            return "time"
        return None

    def _best_epoch(self) -> int | None:
        """Return the number of the first epoch with the highest metric."""
        metrics = [epoch.metric for epoch in self.finished if epoch.metric is not None]
        return metrics.index(max(metrics)) + 1 if metrics else None

    def _run_epoch(self, number: int) -> Epoch:
        import torch

        settings = self.settings
        order = self.train_indices[
            torch.randperm(len(self.train_indices), generator=self._generator(number))
        ]
        steps = len(split_batches(order, settings.batch_size))
        self.progress.start(
            f"{self.task}, epoch {number} of {settings.epochs}{self._last_figures()}", steps
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
                    f"{self.task}: the loss is {float(loss.detach())} in epoch {number}",
                    f"lower the learning rate ({settings.learning_rate:g})",
                )
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            if self.hooks.after_step is not None:
                self.hooks.after_step()
            total += float(loss.detach()) * len(batch)
            self.progress.advance()
        return Epoch(total / len(order), self._evaluate())

    def _last_figures(self) -> str:
        if not self.finished:
            return ""
        last = self.finished[-1]
        metric = "" if last.metric is None else f", top-1 {last.metric:.4f}"
        return f" (loss {last.loss:.4f}{metric})"

    def _set_rate(self, completed: float) -> None:
        settings = self.settings
        factor = (1 + math.cos(math.pi * completed)) / 2 if settings.schedule == "cosine" else 1.0
        for group in self.optimizer.param_groups:
            group["lr"] = group["first_rate"] * factor

    def _evaluate(self) -> float | None:
        """Return top-1 on the held-out samples."""
        import torch

        if not len(self.held_out):
            return None
        self.network.module.eval()
        correct = 0
        with torch.no_grad():
            for batch in self.data.batches(self.held_out, self.settings.batch_size):
                scores = flatten_outputs(self.network(batch.inputs), self.network.reference)[0]
                correct += int((scores.flatten(1).argmax(1) == batch.labels).sum())
        return correct / len(self.held_out)

    def _save(self) -> None:
        import torch

        state = {
            "modules": {name: module.state_dict() for name, module in self.modules.items()},
            "optimizer": self.optimizer.state_dict(),
            "best": self.best_weights,
            "done": [asdict(epoch) for epoch in self.finished],
            "spent_s": self.spent_s,
            "generator": torch.get_rng_state(),
        }
        files.write_file(self.checkpoint, lambda path: torch.save(state, path))
        files.mark_kept(self.checkpoint, units.count_text(len(self.finished), "epoch"))

    def _resume(self) -> None:
        import torch

        if (state := load_checkpoint(self.checkpoint, self.progress)) is None:
            return
        for name, module in self.modules.items():
            module.load_state_dict(state["modules"][name])
        self.optimizer.load_state_dict(state["optimizer"])
        self.best_weights = state["best"]
        self.finished = [Epoch(**epoch) for epoch in state["done"]]
        self.spent_s = state["spent_s"]
        torch.set_rng_state(state["generator"])
        self.progress.note(f"{self.task}: resumed after epoch {len(self.finished)}")


def classification_loss(reference: str) -> Loss:
    """Return the cross-entropy loss of the first output, [samples, classes], and the labels."""

    def loss(_: object, outputs: Any, labels: torch.Tensor | None) -> torch.Tensor:
        import torch

        if labels is None:
            raise InputError(
                "the training data has no labels",
                "use labelled data, or train with a teacher only: --set hard=0 --set soft=1",
            )
        scores = flatten_outputs(outputs, reference)[0].flatten(1)
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= scores.shape[1]:
            raise InputError(
                f"label {low if low < 0 else high} of the training data is out of range: "
                f"{reference} has {scores.shape[1]} classes",
                "labels are class indices from 0",
            )
        return torch.nn.functional.cross_entropy(scores, labels)

    return loss


def _optimizer(
    modules: Mapping[str, torch.nn.Module], settings: TrainingSettings, rates: Mapping[str, float]
) -> torch.optim.Optimizer:
    import torch

    by_suffix: dict[str | None, list[torch.nn.Parameter]] = {None: [], **{s: [] for s in rates}}
    for module in modules.values():
        # Sorted by name: checkpoints hold positions, and NNCF adds masks in the order of a set.
        for name, parameter in sorted(module.named_parameters(), key=lambda pair: pair[0]):
            suffix = next((suffix for suffix in rates if name.endswith(suffix)), None)
            if parameter.requires_grad:
                by_suffix[suffix].append(parameter)
    groups = [
        {
            "params": parameters,
            "first_rate": settings.learning_rate if suffix is None else rates[suffix],
            "weight_decay": settings.weight_decay if suffix is None else 0.0,
        }
        for suffix, parameters in by_suffix.items()
        if parameters
    ]
    if not groups:
        raise InputError("the network has no trainable weights: all have requires_grad=False")
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, settings.learning_rate, momentum=0.9, nesterov=True)
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, settings.learning_rate)
