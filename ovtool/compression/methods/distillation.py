"""Knowledge distillation: training a network on what a larger one says (Hinton et al. 2015).

The loss is ``hard * cross-entropy with the labels + predicted * cross-entropy with the class that
the teacher predicts + soft * T^2 * KL(teacher / T || student / T) + feature * mean squared error of
a middle layer`` (the last after Romero et al. 2015, FitNets, with a learned projection where the
widths differ).  It may be used in every method that trains.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, model_validator

from ovtool.compression.method import Compressed, Method, Names, Work, missing
from ovtool.compression.training import (
    Hooks,
    Trained,
    Training,
    classification_loss,
    judged,
    train,
    training_set,
)
from ovtool.core.errors import InputError
from ovtool.core.registry import suggestion

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import torch

    from ovtool.compression.method import Need
    from ovtool.compression.training import Loss
    from ovtool.models.network import Network


class Distilling(Training):
    """Settings of training that may also learn from a teacher."""

    hard: float = Field(1.0, ge=0, description="weight of the loss against the labels")
    predicted: float = Field(
        0.0, ge=0, description="weight of the loss against the class that the teacher predicts"
    )
    soft: float = Field(0.0, ge=0, description="weight of the loss against the teacher's outputs")
    temperature: float = Field(4.0, gt=0, description="that outputs are softened with")
    feature: float = Field(0.0, ge=0, description="weight of the loss against a middle layer's")
    feature_layers: Names = Field(
        (), description="module names whose outputs are compared: student=teacher, or one for both"
    )
    teacher: str = Field(
        "parent", description="parent: the network before this step; or what convert takes"
    )
    keep_zeros: bool = Field(
        True, description="weights that an earlier step set to 0 stay 0; false: they are trained"
    )

    @model_validator(mode="after")
    def _something_to_learn(self) -> Distilling:
        if self.epochs and not (self.hard or self.taught):
            raise ValueError(
                "hard, predicted, soft and feature are all 0: there is nothing to learn from"
            )
        if self.feature and not self.feature_layers:
            raise ValueError("feature is above 0 and feature_layers names no layer")
        return self

    @property
    def taught(self) -> bool:
        """Whether a teacher is asked for."""
        return bool(self.predicted or self.soft or self.feature)


def retrain(
    network: Network,
    work: Work[Any],
    hooks: Hooks | None = None,
    *,
    stage: str = "retraining",
    epochs: int | None = None,
) -> Trained | None:
    """Train a network in place as a step's settings say; None where they ask for no epochs.

    Args:
        network: What is trained.
        work: Of a method whose settings are :class:`Distilling`.
        hooks: What the method adds; its loss takes the place of the hard one.
        stage: Names the checkpoint, where a method trains several times.
        epochs: In place of those of the settings.

    Raises:
        InputError: There is no training data, or as :func:`.training.train`.
    """
    settings: Distilling = work.settings
    if epochs is not None:
        settings = settings.model_copy(update={"epochs": epochs})
    if not settings.epochs:
        return None
    if work.material.training is None:
        raise missing("retraining", ["training"])
    hooks = replace(hooks) if hooks is not None else Hooks()
    if work.material.loss is not None:
        given = work.material.loss
        hooks.loss = hooks.loss or (lambda _, outputs, labels: given(outputs, labels))
    if settings.keep_zeros:
        hooks.after_step = _held(network, hooks.after_step)
    data = training_set(work.material.training, work.progress)
    checkpoint: Path = work.scratch / f"{stage.replace(' ', '-')}.pt"
    if not settings.taught:
        hooks.loss = _weighted(hooks.loss or classification_loss(network.reference), settings.hard)
        return train(network, data, settings, checkpoint, work.progress, hooks, stage)
    with _Taught(network, _teacher(work), settings, hooks) as taught:
        return train(network, data, settings, checkpoint, work.progress, taught.hooks, stage)


def _held(network: Network, then: Callable[[], None] | None) -> Callable[[], None] | None:
    """Return what puts zeros back after a step and then calls ``then``.

    Those of matrices and kernels count; a tensor of nothing but zeros is one that starts so.
    """
    weights = [(p.detach(), p.detach() != 0) for p in network.module.parameters() if p.ndim > 1]
    partly = [(weight, kept) for weight, kept in weights if kept.any() and not kept.all()]
    if not partly:
        return then

    def hold() -> None:
        for weight, kept in partly:
            weight.mul_(kept)
        if then is not None:
            then()

    return hold


def _weighted(loss: Loss, weight: float) -> Loss:
    def weighted(
        inputs: Mapping[str, torch.Tensor], outputs: Any, labels: torch.Tensor | None
    ) -> torch.Tensor:
        return weight * loss(inputs, outputs, labels)

    return loss if weight == 1 else weighted


def _teacher(work: Work[Any]) -> Network:
    material, reference = work.material, work.settings.teacher
    if reference == "parent":
        if material.network is None:
            raise missing("distillation", ["network"])
        return material.network()
    if material.teacher is None:
        raise InputError(f"no teacher {reference!r}", "use --set teacher=parent")
    return material.teacher(reference)


class _Taught:
    """The hooks of training with a teacher, and what listens to the layers while it runs."""

    def __init__(
        self, student: Network, teacher: Network, settings: Distilling, hooks: Hooks
    ) -> None:
        self.student, self.teacher, self.settings = student, teacher, settings
        teacher.module.eval()
        self.hard = hooks.loss or classification_loss(student.reference)
        self.pairs = [_pair(layers) for layers in settings.feature_layers]
        self.seen: dict[tuple[str, str], torch.Tensor] = {}
        self.handles: list[Any] = []
        self._listen()
        self.projections = self._projections() if settings.feature else {}
        self.hooks = replace(hooks, loss=self._loss, extra={**hooks.extra, **self.projections})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self.handles:
            handle.remove()

    def _listen(self) -> None:
        for whose, network, place in (("student", self.student, 0), ("teacher", self.teacher, 1)):
            layers = dict(network.module.named_modules())
            for pair in self.pairs:
                name = pair[place]
                if name not in layers:
                    raise InputError(
                        f"feature_layers: the {whose} has no layer {name!r}",
                        suggestion(name, dict(layers)),
                    )
                self.handles.append(layers[name].register_forward_hook(self._note(whose, name)))

    def _note(self, whose: str, name: str) -> Any:
        def hook(_module: object, _inputs: object, output: Any) -> None:
            self.seen[whose, name] = judged(output, name)

        return hook

    def _projections(self) -> dict[str, torch.nn.Module]:
        """Return a linear map for each pair whose widths differ (a 1x1 convolution of images)."""
        import torch

        made: dict[str, torch.nn.Module] = {}
        training = self.student.module.training
        self.student.module.eval()
        with torch.no_grad():
            self.student(self.student.example)
            self.teacher(self.teacher.example)
        self.student.module.train(training)
        torch.manual_seed(self.settings.seed)
        for ours, theirs in self.pairs:
            a, b = self.seen["student", ours], self.seen["teacher", theirs]
            if a.ndim != b.ndim or (a.ndim > 2 and not _same_places(a, b)):
                raise InputError(
                    f"feature_layers: {ours} gives {list(a.shape)}, {theirs} {list(b.shape)}: only "
                    "the width may differ"
                )
            axis = 1 if a.ndim == 4 else -1
            if a.shape[axis] != b.shape[axis]:
                sizes = a.shape[axis], b.shape[axis]
                made[f"projection {ours}"] = (
                    torch.nn.Conv2d(*sizes, 1) if a.ndim == 4 else torch.nn.Linear(*sizes)
                )
        return made

    def _loss(
        self, inputs: Mapping[str, torch.Tensor], outputs: Any, labels: torch.Tensor | None
    ) -> torch.Tensor:
        import torch

        settings = self.settings
        with torch.no_grad():
            said = self.teacher(inputs)
        total = torch.zeros(())
        if settings.hard:
            total = total + settings.hard * self.hard(inputs, outputs, labels)
        if settings.soft or settings.predicted:
            total = total + self._against_outputs(outputs, said)
        for ours_name, theirs_name in self.pairs if settings.feature else ():
            a = self.seen["student", ours_name]
            projection = self.projections.get(f"projection {ours_name}")
            a = a if projection is None else projection(a)
            b = self.seen["teacher", theirs_name]
            total = total + settings.feature * torch.nn.functional.mse_loss(a, b)
        return total

    def _against_outputs(self, outputs: Any, said: Any) -> torch.Tensor:
        """Return the weighted losses against what the teacher says, and the class it means."""
        import torch

        ours, theirs = judged(outputs, "the student"), judged(said, "the teacher")
        if ours.shape != theirs.shape:
            raise InputError(
                f"the student gives {list(ours.shape)}, the teacher {list(theirs.shape)}: "
                "targets from the teacher's outputs need equal outputs"
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

    Args:
        student: Logits, [samples, classes].
        teacher: Logits, [samples, classes].
        temperature: T.
    """
    import torch

    ours = torch.log_softmax(student.flatten(1) / temperature, 1)
    theirs = torch.log_softmax(teacher.flatten(1) / temperature, 1)
    divergence = torch.nn.functional.kl_div(ours, theirs, reduction="batchmean", log_target=True)
    return temperature**2 * divergence


def _pair(layers: str) -> tuple[str, str]:
    ours, _, theirs = layers.partition("=")
    return ours, theirs or ours


def _same_places(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool(a.shape[2:] == b.shape[2:] if a.ndim == 4 else a.shape[1:-1] == b.shape[1:-1])


def finish(work: Work[Any], network: Network, details: dict[str, Any]) -> Compressed:
    """Return what a method of torch gives back: the network and its graph, with the parent's ports.

    Raises:
        InputError: OpenVINO cannot convert the network.
    """
    work.progress.start("converting")
    return Compressed(network.to_openvino(work.parent.record.inputs), details, network)


def trained_with(settings: Distilling) -> frozenset[Need]:
    """Return what training needs with these settings."""
    return frozenset({"training"}) if settings.epochs else frozenset()


def _apply(work: Work[Distilling]) -> Compressed:
    if work.material.network is None:
        raise missing("train", ["network"])
    network = work.material.network()
    trained = retrain(network, work, stage="training")
    return finish(work, network, {"training": trained.to_json()} if trained else {})


TRAIN = Method(
    Distilling,
    frozenset({"network", "training"}),
    _apply,
    "accuracy, of a network that another step made smaller or of a smaller one",
)
