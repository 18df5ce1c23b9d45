"""Knowledge distillation: training a network on the outputs of a teacher (Hinton et al. 2015).

The loss is ``hard * cross-entropy with the labels + predicted * cross-entropy with the class that
the teacher predicts + soft * T^2 * KL(teacher / T || student / T) + feature * mean squared error of
a hidden layer``. The last term follows FitNets (Romero et al. 2015), with a learned projection
where the widths differ. Every method that trains accepts these settings.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, model_validator

from ovtool.compression.method import Names
from ovtool.compression.training import (
    TrainingHooks,
    TrainingResult,
    TrainingSettings,
    classification_loss,
    load_training_set,
    train,
)
from ovtool.core.errors import InputError
from ovtool.core.registry import suggestion
from ovtool.models.network import flatten_outputs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import torch

    from ovtool.compression.method import MethodContext, Need
    from ovtool.compression.training import Loss
    from ovtool.models.network import Network


class DistillationSettings(TrainingSettings):
    """Settings of training with an optional teacher."""

    hard: float = Field(1.0, ge=0, description="weight of the loss against the labels")
    predicted: float = Field(
        0.0, ge=0, description="weight of the loss against the class that the teacher predicts"
    )
    soft: float = Field(0.0, ge=0, description="weight of the loss against the teacher's outputs")
    temperature: float = Field(4.0, gt=0, description="temperature that softens the outputs")
    feature: float = Field(0.0, ge=0, description="weight of the loss against hidden layers")
    feature_layers: Names = Field(
        (), description="hidden layers to compare: student=teacher, or one name for both networks"
    )
    teacher: str = Field(
        "parent",
        description="parent: the network before this step; or a model reference, as for convert",
    )
    keep_zeros: bool = Field(True, description="zeros of earlier steps stay 0; false: trains them")

    @model_validator(mode="after")
    def _check_targets(self) -> DistillationSettings:
        if self.epochs and not (self.hard or self.uses_teacher):
            raise ValueError("hard, predicted, soft and feature are all 0; set one above 0")
        if self.feature and not self.feature_layers:
            raise ValueError("feature is above 0 but feature_layers is empty")
        return self

    @property
    def uses_teacher(self) -> bool:
        """Whether training uses a teacher."""
        return bool(self.predicted or self.soft or self.feature)


def training_needs(settings: DistillationSettings) -> frozenset[Need]:
    """Return the inputs that training requires with these settings."""
    return frozenset({"training"}) if settings.epochs else frozenset()


def retrain(
    network: Network,
    context: MethodContext[Any],
    hooks: TrainingHooks | None = None,
    *,
    stage: str = "retraining",
    epochs: int | None = None,
) -> TrainingResult | None:
    """Train a network in place by the settings of a step; return None for zero epochs.

    ``stage`` names the checkpoint, for a method that trains several times; ``epochs`` overrides the
    setting.

    Raises:
        InputError: No training data is available, or training fails (see :func:`.training.train`).
    """
    settings: DistillationSettings = context.settings
    if epochs is not None:
        settings = settings.model_copy(update={"epochs": epochs})
    if not settings.epochs:
        return None
    samples = context.samples("training", "retraining")
    hooks = replace(hooks) if hooks is not None else TrainingHooks()
    hooks.loss = hard_loss(network, context)
    if settings.keep_zeros:
        hooks.after_step = _restore_zeros(network, hooks.after_step)
    data = load_training_set(samples, context.progress)
    checkpoint: Path = context.scratch / f"{stage.replace(' ', '-')}.pt"
    if not settings.uses_teacher:
        hooks.loss = _weighted(hooks.loss, settings.hard)
        return train(network, data, settings, checkpoint, context.progress, hooks, stage)
    with _Distillation(network, _load_teacher(context), settings, hooks) as distillation:
        return train(
            network, data, settings, checkpoint, context.progress, distillation.hooks, stage
        )


def _restore_zeros(network: Network, after: Callable[[], None] | None) -> Callable[[], None] | None:
    """Return a hook that restores zero weights after a step and then calls ``after``.

    It covers matrices and kernels; a tensor of zeros only is not pruned but initialized so.
    """
    weights = [(p.detach(), p.detach() != 0) for p in network.module.parameters() if p.ndim > 1]
    pruned = [(weight, kept) for weight, kept in weights if kept.any() and not kept.all()]
    if not pruned:
        return after

    def restore() -> None:
        for weight, kept in pruned:
            weight.mul_(kept)
        if after is not None:
            after()

    return restore


def hard_loss(network: Network, context: MethodContext[Any]) -> Loss:
    """Return the loss against the labels: the user's, or the cross-entropy."""
    custom = context.inputs.loss
    if custom is None:
        return classification_loss(network.reference)
    return lambda _, outputs, labels: custom(outputs, labels)


def _weighted(loss: Loss, weight: float) -> Loss:
    return loss if weight == 1 else lambda *batch: weight * loss(*batch)


def _load_teacher(context: MethodContext[Any]) -> Network:
    reference = context.settings.teacher
    if reference == "parent":
        return context.create_network("distillation")
    if context.inputs.teacher is None:
        raise InputError(f"teacher {reference!r} is not available", "use --set teacher=parent")
    return context.inputs.teacher(reference)


class _Distillation:
    """The hooks of training with a teacher; records hidden layers while active."""

    def __init__(
        self, student: Network, teacher: Network, settings: DistillationSettings,
        hooks: TrainingHooks,
    ) -> None:  # fmt: skip
        self.student, self.teacher, self.settings = student, teacher, settings
        teacher.module.eval()
        self.hard = hooks.loss or classification_loss(student.reference)
        self.pairs = [_pair(layers) for layers in settings.feature_layers]
        self.features: dict[tuple[str, str], torch.Tensor] = {}
        self.handles: list[Any] = []
        self._register_hooks()
        self.projections = self._create_projections() if settings.feature else {}
        self.hooks = replace(hooks, loss=self._loss, extra={**hooks.extra, **self.projections})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self.handles:
            handle.remove()

    def _register_hooks(self) -> None:
        for role, network, index in (("student", self.student, 0), ("teacher", self.teacher, 1)):
            layers = dict(network.module.named_modules())
            for pair in self.pairs:
                name = pair[index]
                if name not in layers:
                    raise InputError(
                        f"feature_layers: the {role} has no layer {name!r}",
                        suggestion(name, layers),
                    )
                self.handles.append(layers[name].register_forward_hook(self._record(role, name)))

    def _record(self, role: str, name: str) -> Any:
        def hook(_module: object, _inputs: object, output: Any) -> None:
            self.features[role, name] = flatten_outputs(output, name)[0]

        return hook

    def _create_projections(self) -> dict[str, torch.nn.Module]:
        """Return a linear map (a 1x1 convolution for images) for each pair of different widths."""
        import torch

        projections: dict[str, torch.nn.Module] = {}
        training = self.student.module.training
        self.student.module.eval()
        with torch.no_grad():
            self.student(self.student.example)
            self.teacher(self.teacher.example)
        self.student.module.train(training)
        torch.manual_seed(self.settings.seed)
        for ours, theirs in self.pairs:
            a, b = self.features["student", ours], self.features["teacher", theirs]
            positions = slice(2, None) if a.ndim == 4 else slice(1, -1)
            if a.ndim != b.ndim or (a.ndim > 2 and a.shape[positions] != b.shape[positions]):
                raise InputError(
                    f"feature_layers: {ours} {list(a.shape)} and {theirs} {list(b.shape)} differ",
                    "only the widths may differ",
                )
            axis = 1 if a.ndim == 4 else -1
            if a.shape[axis] != b.shape[axis]:
                sizes = a.shape[axis], b.shape[axis]
                projections[f"projection {ours}"] = (
                    torch.nn.Conv2d(*sizes, 1) if a.ndim == 4 else torch.nn.Linear(*sizes)
                )
        return projections

    def _loss(
        self, inputs: Mapping[str, torch.Tensor], outputs: Any, labels: torch.Tensor | None
    ) -> torch.Tensor:
        import torch

        settings = self.settings
        with torch.no_grad():
            targets = self.teacher(inputs)
        total = torch.zeros(())
        if settings.hard:
            total = total + settings.hard * self.hard(inputs, outputs, labels)
        if settings.soft or settings.predicted:
            total = total + self._output_loss(outputs, targets)
        for ours, theirs in self.pairs if settings.feature else ():
            a = self.features["student", ours]
            projection = self.projections.get(f"projection {ours}")
            a = a if projection is None else projection(a)
            b = self.features["teacher", theirs]
            total = total + settings.feature * torch.nn.functional.mse_loss(a, b)
        return total

    def _output_loss(self, outputs: Any, targets: Any) -> torch.Tensor:
        """Return the weighted losses against the teacher's outputs and its predicted class."""
        import torch

        ours = flatten_outputs(outputs, "the student")[0]
        theirs = flatten_outputs(targets, "the teacher")[0]
        if ours.shape != theirs.shape:
            raise InputError(
                f"output shapes differ: {list(ours.shape)} of the student, {list(theirs.shape)} of "
                "the teacher"
            )
        total = torch.zeros(())
        if self.settings.soft:
            soft = soft_loss(ours, theirs, self.settings.temperature)
            total = total + self.settings.soft * soft
        if self.settings.predicted:
            classes = theirs.flatten(1).argmax(1)
            hard = torch.nn.functional.cross_entropy(ours.flatten(1), classes)
            total = total + self.settings.predicted * hard
        return total


def soft_loss(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return ``T^2 * KL(softmax(teacher / T) || softmax(student / T))``, the mean over samples.

    The factor keeps its gradients as large as those of hard targets (Hinton et al. 2015, 2.1).

    The logits are [samples, classes]. The factor keeps the gradients as large as those of hard
    targets.
    """
    import torch

    ours = torch.log_softmax(student.flatten(1) / temperature, 1)
    theirs = torch.log_softmax(teacher.flatten(1) / temperature, 1)
    divergence = torch.nn.functional.kl_div(ours, theirs, reduction="batchmean", log_target=True)
    return temperature**2 * divergence


def _pair(layers: str) -> tuple[str, str]:
    ours, _, theirs = layers.partition("=")
    return ours, theirs or ours
