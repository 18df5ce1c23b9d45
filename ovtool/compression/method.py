"""What a compression method is: its settings, its inputs, its context and its result."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, Protocol, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, field_validator

from ovtool.core import units
from ovtool.core.errors import InputError
from ovtool.core.fields import UserInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    import openvino as ov

    from ovtool.core.paired import SampleScores
    from ovtool.core.ports import Preprocessing
    from ovtool.core.progress import Progress
    from ovtool.core.statistics import Interval
    from ovtool.core.variant import Step, Variant
    from ovtool.datasets.samples import Samples
    from ovtool.graph.reference_run import ReferenceModel
    from ovtool.models.network import Network


class MethodSettings(UserInput):
    """Base of the settings of every method: each setting has a default and a description."""

    @field_validator("*")
    @classmethod
    def _require_usable(cls, value: Any) -> Any:
        for each in value if isinstance(value, list | tuple) else (value,):
            units.require_usable(each)
        return value


S = TypeVar("S", bound=MethodSettings)


Need = Literal["calibration", "training", "validation", "network"]
"""What a method requires besides the graph: calibration samples, labelled training samples,
labelled validation samples to choose settings by, or a PyTorch network."""


class QualityEvaluator(Protocol):
    """Measures the quality of a graph on validation samples."""

    @property
    def samples(self) -> Samples:
        """The validation samples."""

    @property
    def sample_scores(self) -> SampleScores | None:
        """The samples' scores in the last evaluation; None if the metric is no mean of them."""

    @property
    def compares(self) -> bool:
        """Whether the figures compare with the uncompressed variant, whose figure is 1."""

    @property
    def int8_kernels(self) -> bool:
        """Whether quantized layers run in the INT8 kernels of this CPU, else in f32."""

    @property
    def metric(self) -> str:
        """Name of the metric in ``columns.py``."""

    @property
    def description(self) -> str:
        """The metric with all that the user requested of it, for the record."""

    def __call__(self, model: ov.Model) -> Interval:
        """Return the metric of a graph run on the CPU in f32; the column has the direction."""


@dataclass(frozen=True, slots=True)
class MethodInputs:
    """What a step may use; None where it is not available.

    The labels of ``calibration`` are not used. ``network`` creates the PyTorch network that the
    parent was converted from, ``teacher`` another one from a reference, for distillation. ``loss``
    returns the training loss of the network's outputs and the labels, in place of the default.
    """

    calibration: Samples | None = None
    training: Samples | None = None
    evaluator: QualityEvaluator | None = None
    network: Callable[[], Network] | None = None
    teacher: Callable[[str], Network] | None = None
    loss: Callable[[Any, Any], Any] | None = None

    def has(self, need: Need) -> bool:
        """Return whether the input is available."""
        return getattr(self, "evaluator" if need == "validation" else need) is not None


@dataclass(frozen=True, slots=True)
class MethodContext(Generic[S]):
    """One application of a method to one variant.

    ``model`` is a copy of the parent's graph, which the method may change. ``scratch`` is a folder
    for checkpoints: the first write creates it, an interrupted step with the same parent, settings
    and data resumes from it, and a finished step removes it.
    """

    model: ov.Model
    settings: S
    parent: Variant
    inputs: MethodInputs
    scratch: Path
    progress: Progress

    def create_network(self, name: str) -> Network:
        """Return a fresh PyTorch network of the parent; ``name`` is the method for the error.

        Raises:
            MissingInputError: The parent has no PyTorch network.
        """
        if self.inputs.network is None:
            raise MissingInputError(name, ["network"])
        return self.inputs.network()

    def samples(self, need: Literal["calibration", "training"], name: str) -> Samples:
        """Return the samples; ``name`` is the method for the error.

        Raises:
            MissingInputError: The samples are not available.
        """
        samples = self.inputs.calibration if need == "calibration" else self.inputs.training
        if samples is None:
            raise MissingInputError(name, [need])
        return samples


@dataclass(frozen=True, slots=True)
class MethodResult:
    """What a method returns.

    ``details`` are facts for the record that only the method knows, as JSON types. ``network`` can
    be trained by later steps. ``verify`` is called with the saved graph: it returns more details,
    or raises InputError where the files do not hold what the method promises. ``judge`` is called
    with the same graph, which has run: it returns details of its outputs.
    """

    model: ov.Model
    details: dict[str, Any] = field(default_factory=dict)
    network: Network | None = None
    verify: Callable[[ov.Model], dict[str, Any]] | None = None
    judge: Callable[[ReferenceModel], dict[str, Any]] | None = None


@dataclass(frozen=True, slots=True)
class Method(Generic[S]):
    """A compression method.

    Args:
        settings: Class of the settings.
        needs: Inputs that the method requires with any settings.
        apply: Compresses the graph.
        changes: What becomes smaller or faster, and where.
        rebuild: Repeats the structural change of a recorded step on a fresh copy of the network
            before the step, so that the saved weights fit. None for a method that keeps the
            structure.
        conditional_needs: Inputs that the method requires with these settings.
        untrained: What a model keeps of its accuracy without training, as measured on an example.
        update_preprocessing: Returns the preprocessing of the result for the preprocessing of the
            parent. None for a method that keeps the size of the images.
    """

    settings: type[S]
    needs: frozenset[Need]
    apply: Callable[[MethodContext[S]], MethodResult]
    changes: str
    rebuild: Callable[[Network, Step], None] | None = None
    conditional_needs: Callable[[S], frozenset[Need]] | None = None
    untrained: str = ""
    update_preprocessing: Callable[[Preprocessing, S], Preprocessing] | None = None

    def needs_for(self, settings: S) -> frozenset[Need]:
        """Return all inputs that the method requires with these settings."""
        conditional = self.conditional_needs
        return self.needs | (conditional(settings) if conditional else frozenset())

    def preprocessing(self, before: Preprocessing | None, settings: S) -> Preprocessing | None:
        """Return the preprocessing of the result; None where the parent has no record of it."""
        if before is None or self.update_preprocessing is None:
            return before
        return self.update_preprocessing(before, settings)


_PROVIDED_BY: dict[Need, tuple[str, str]] = {
    "calibration": ("calibration samples", "add --data, or data.calibration in a recipe"),
    "training": ("labelled training samples", "add --train-data, or data.training in a recipe"),
    "validation": (
        "labelled validation samples",
        "add --validation-data, or data.validation in a recipe",
    ),
    "network": (
        "a PyTorch network",
        "start from module:function or a sample: model, before any step that leaves PyTorch",
    ),
}


class MissingInputError(InputError):
    """A method lacks inputs; the error names the first of them."""

    def __init__(self, name: str, needs: Iterable[Need]) -> None:
        self.need = min(needs, key=list(_PROVIDED_BY).index)
        noun, remedy = _PROVIDED_BY[self.need]
        super().__init__(f"method {name} needs {noun}", remedy)


def _split(value: object) -> object:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _check_patterns(patterns: tuple[str, ...]) -> tuple[str, ...]:
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"invalid regular expression {pattern!r}: {error}") from error
    return patterns


Names = Annotated[tuple[str, ...], BeforeValidator(_split)]
Patterns = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
    AfterValidator(_check_patterns),
]


class IgnoredScopeSettings(MethodSettings):
    """Settings of methods that can skip layers."""

    ignored_names: Names = Field((), description="layers to skip, by name")
    ignored_types: Names = Field((), description="layers to skip, by type, e.g. MatMul")
    ignored_patterns: Patterns = Field((), description="layers to skip, by regular expression")
