"""What a compression method is, and how its settings are read, checked and described."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from ovtool.compress.table import METHODS
from ovtool.errors import InputError
from ovtool.registry import suggestion
from ovtool.variant import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import openvino as ov

    from ovtool.progress import Progress
    from ovtool.samples import Samples
    from ovtool.variant import Variant


class Settings(Record):
    """Base of every method's settings: all have a default and a description."""


S = TypeVar("S", bound=Settings)


@dataclass(frozen=True, slots=True)
class Work(Generic[S]):
    """What a method is given: a graph of its own to change, and what belongs to it."""

    model: ov.Model
    settings: S
    parent: Variant
    samples: Samples | None
    progress: Progress


@dataclass(frozen=True, slots=True)
class Compressed:
    """What a method gives back; ``details`` holds what only it can tell, as JSON types."""

    model: ov.Model
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Method(Generic[S]):
    """A compression method: its settings, whether it is calibrated on data, and its work."""

    settings: type[S]
    needs_data: bool
    apply: Callable[[Work[S]], Compressed]


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting, for help and documentation; ``kind`` is its type or its choices in words."""

    name: str
    kind: str
    default: Any
    description: str


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
