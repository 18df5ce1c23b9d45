"""What a compression method is, and how its settings are read, checked and described."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, Protocol, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from ovtool.compression.method_table import METHODS
from ovtool.core.errors import InputError
from ovtool.core.registry import suggestion
from ovtool.core.variant import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    import openvino as ov

    from ovtool.core.progress import Progress
    from ovtool.core.statistics import Interval
    from ovtool.core.variant import Preprocessing, Step, Variant
    from ovtool.datasets.samples import Samples
    from ovtool.models.network import Network


class Settings(Record):
    """Base of every method's settings: all have a default and a description."""


S = TypeVar("S", bound=Settings)


Need = Literal["calibration", "training", "validation", "network"]
"""What a method works with besides the graph: samples to calibrate on, labelled samples to train
on, labelled samples that settings are chosen by, a torch network."""


class Judge(Protocol):
    """Takes the quality of a graph on the validation samples."""

    samples: Samples

    @property
    def metric(self) -> str:
        """Its name in ``columns.py``."""

    def __call__(self, model: ov.Model) -> Interval:
        """Return the metric of a graph run on the CPU in f32, higher is better."""


@dataclass(frozen=True, slots=True)
class Material:
    """What a step may work with; what is not there is None.

    Args:
        calibration: Samples whose labels are not used.
        training: Samples to train on.
        judge: What settings are chosen by.
        network: The torch network whose conversion the parent is.
        teacher: Makes another torch network of a reference, for distillation.
        loss: Takes the network's outputs and the labels and returns the loss to train with, in
            place of the one that fits the data.
    """

    calibration: Samples | None = None
    training: Samples | None = None
    judge: Judge | None = None
    network: Callable[[], Network] | None = None
    teacher: Callable[[str], Network] | None = None
    loss: Callable[[Any, Any], Any] | None = None

    def has(self, need: Need) -> bool:
        """Whether it is there."""
        return getattr(self, "judge" if need == "validation" else need) is not None


@dataclass(frozen=True, slots=True)
class Work(Generic[S]):
    """What a method is given: a graph of its own to change, and what belongs to it.

    ``scratch`` is a folder for what lets an interrupted method go on where it was.  It is made
    when first written to, found again by the same work only, and removed when the work is done.
    """

    model: ov.Model
    settings: S
    parent: Variant
    material: Material
    scratch: Path
    progress: Progress


@dataclass(frozen=True, slots=True)
class Compressed:
    """What a method gives back; ``details`` holds what only it can tell, as JSON types.

    ``network`` is what later steps can train; None where the graph has no torch counterpart.
    ``check`` is called with the saved graph, read back: it returns more details, or raises
    InputError where the files do not hold what the method promises.
    """

    model: ov.Model
    details: dict[str, Any] = field(default_factory=dict)
    network: Network | None = None
    check: Callable[[ov.Model], dict[str, Any]] | None = None


@dataclass(frozen=True, slots=True)
class Method(Generic[S]):
    """A compression method.

    Args:
        settings: Its settings.
        needs: What it cannot do without, whatever its settings.
        apply: Its work.
        changes: What becomes smaller or faster, and where.
        rebuild: For a method that changes the structure of a network: does the same to a fresh
            copy of the network before it, from the step's record alone (``details``), so that the
            saved weights fit.
        also: What it needs besides, with these settings.
        prepared: For a method that changes the size of the input: how images are prepared for its
            result, from how they are for its parent.
    """

    settings: type[S]
    needs: frozenset[Need]
    apply: Callable[[Work[S]], Compressed]
    changes: str
    rebuild: Callable[[Network, Step], None] | None = None
    also: Callable[[S], frozenset[Need]] | None = None
    prepared: Callable[[Preprocessing, S], Preprocessing] | None = None

    def needed(self, settings: S) -> frozenset[Need]:
        """Return all that it needs with these settings."""
        return self.needs | (self.also(settings) if self.also else frozenset())

    def preprocessing(self, before: Preprocessing | None, settings: S) -> Preprocessing | None:
        """Return how images are prepared for its result; None where that is not recorded."""
        if before is None or self.prepared is None:
            return before
        return self.prepared(before, settings)


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting, for help and documentation; ``kind`` is its type or its choices in words."""

    name: str
    kind: str
    default: Any
    description: str


_GIVEN_BY: dict[Need, tuple[str, str]] = {
    "calibration": ("samples to calibrate on", "give some with --data, or data.calibration"),
    "training": ("labelled samples to train on", "give some with --train-data, or data.training"),
    "validation": (
        "labelled samples to choose by",
        "give some with --validation-data, or data.validation",
    ),
    "network": (
        "a torch network",
        "start from module:function or a sample: model, before any step that leaves torch",
    ),
}


def missing(name: str, needs: Iterable[Need]) -> InputError:
    """Return the error of a method that lacks what it needs: the first of these."""
    need = min(needs, key=list(_GIVEN_BY).index)
    what, remedy = _GIVEN_BY[need]
    return InputError(f"method {name} needs {what}", remedy)


def load(name: str) -> Method[Any]:
    """Return a method of the table.

    Raises:
        InputError: There is no such method; the hint suggests the nearest.
    """
    method: Method[Any] = METHODS.load(name)
    return method


def described(settings: type[Settings]) -> tuple[Setting, ...]:
    """Return what help says of each setting."""
    schema = settings.model_json_schema()["properties"]
    return tuple(
        Setting(name, _kind(schema[name]), info.get_default(), info.description or "")
        for name, info in settings.model_fields.items()
    )


def _kind(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return " | ".join(schema["enum"])
    if "anyOf" in schema:
        return " or ".join(_kind(option) for option in schema["anyOf"])
    name = str(schema["type"])
    return {"array": "list", "null": "none"}.get(name, name)


def parse_settings(method: str, values: Mapping[str, Any]) -> Settings:
    """Return a method's settings from what a recipe or ``--set key=value`` gave.

    Numbers and truth values may be given as text, names and types as text with commas.

    Raises:
        InputError: There is no such method, or settings are wrong: all mistakes in one line.
    """
    kind: type[Settings] = load(method).settings
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        known = list(kind.model_fields)
        mistakes = [_mistake(found, known) for found in error.errors()]
        raise InputError(
            f"method {method}: {'; '.join(mistakes)}", f"settings: {', '.join(known) or 'none'}"
        ) from error


def _mistake(found: Any, known: list[str]) -> str:
    where = ".".join(str(part) for part in found["loc"])
    if found["type"] == "extra_forbidden":
        hint = f", {suggestion(where, known)}" if known else ""
        return f"unknown setting {where!r}{hint}"
    message = found["msg"].removeprefix("Value error, ")
    given = f" (not {found['input']!r})" if where else ""
    return f"{where}: {message}{given}" if where else message


def _split(value: object) -> object:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _one_or_many(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _regular_expressions(patterns: tuple[str, ...]) -> tuple[str, ...]:
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
    return patterns


Names = Annotated[tuple[str, ...], BeforeValidator(_split)]
Patterns = Annotated[
    tuple[str, ...], BeforeValidator(_one_or_many), AfterValidator(_regular_expressions)
]


class Ignoring(Settings):
    """Settings of methods that can leave layers as they are."""

    ignored_names: Names = Field((), description="layers left as they are, by name")
    ignored_types: Names = Field((), description="layers left as they are, by type, e.g. MatMul")
    ignored_patterns: Patterns = Field(
        (), description="layers left as they are, by regular expression on the name"
    )
