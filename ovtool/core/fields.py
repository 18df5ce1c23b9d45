"""Field types of pydantic models, and plain messages for validation errors."""

from __future__ import annotations

import reprlib
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from ovtool.core.errors import InputError
from ovtool.core.shapes import Shape, parse_shape, shape_sets
from ovtool.core.units import LARGEST_COUNT, LARGEST_NUMBER

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pydantic_core import ErrorDetails


class Record(BaseModel):
    """Base of stored records: immutable, without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


def option_field(
    panel: str,
    metavar: str,
    default: Any,
    text: str,
    /,
    *,
    flag: str = "",
    default_text: str = "",
    **rules: Any,
) -> Any:
    """Return a pydantic field that is also an option of the command line.

    Args:
        panel: Panel of ``--help`` that lists the option.
        metavar: Placeholder of the value in ``--help``; empty for a flag.
        default: Default value.
        text: Help text: of the option, the recipe's key and the model's field.
        flag: Name of the option, such as ``--device``; empty: ``--`` and the field's name.
        default_text: Text of the default, where the value alone is not clear.
        rules: Constraints of :func:`pydantic.Field`.
    """
    extra: Any = {"panel": panel, "flag": flag, "metavar": metavar, "default_text": default_text}
    return Field(default, description=text, json_schema_extra=extra, **rules)


def _not_empty(value: T) -> T:
    if not value:
        raise ValueError("must not be empty")
    return value


def _shape(value: object) -> object:
    if isinstance(value, dict):  # YAML reads a ? at the start of a list item as a mapping
        raise ValueError('write a shape with ? in quotes: "?x128"')  # noqa: TRY004 - pydantic's
    text = "x".join(map(str, value)) if isinstance(value, list | tuple) else value
    if not isinstance(text, str):
        return value
    try:
        return parse_shape(text)
    except InputError as error:
        raise ValueError(error.full_text) from error


def _shapes(value: object) -> object:
    """Read a shape (``?x128``, ``[1, 128]``) or a list of shapes."""
    if isinstance(value, list | tuple) and not all(map(_is_size, value)):
        return [_shape(item) for item in value]
    return [_shape(value)]


def _is_size(value: object) -> bool:
    return isinstance(value, int) or (isinstance(value, str) and "x" not in value.lower())


def _in_sets(shapes: dict[str, tuple[Shape, ...]]) -> dict[str, tuple[Shape, ...]]:
    try:
        shape_sets(shapes)
    except InputError as error:
        raise ValueError(error.full_text) from error
    return shapes


NotEmpty = AfterValidator(_not_empty)
Count = Annotated[int, Field(ge=1, le=LARGEST_COUNT, strict=True)]
Seed = Annotated[int, Field(ge=0, le=LARGEST_COUNT, strict=True)]
Positive = Annotated[float, Field(gt=0, le=LARGEST_NUMBER, allow_inf_nan=False)]
Rate = Annotated[float, Field(ge=1e-3, le=1e6, allow_inf_nan=False)]
"""Arrivals per second."""
ParsedShape = Annotated[Shape, BeforeValidator(_shape)]
"""A shape as ``?x3x224x224`` or a list of sizes."""
ShapeSets = Annotated[
    dict[str, Annotated[tuple[Shape, ...], BeforeValidator(_shapes)]], AfterValidator(_in_sets)
]
"""Input name to a shape or a list of shapes; see :func:`ovtool.core.shapes.shape_sets`."""

_MESSAGES = {
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "string_type": "must be text",
}
"""Replacements of pydantic's messages about Python types."""


def validation_message(error: ErrorDetails) -> str:
    """Return one error of a :class:`pydantic.ValidationError` as text, without its place."""
    if error["type"] == "value_error":  # a validator of ovtool, with the value in the message
        return error["msg"].removeprefix("Value error, ")
    message = _MESSAGES.get(error["type"], error["msg"].replace("Input should be", "must be"))
    if error["type"] == "missing":
        return message
    return f"{message}, got {reprlib.repr(error['input'])}"


def invalid_content(source: Path | str, error: ValidationError, hint: str = "") -> InputError:
    """Return the error of a file (or a line) with invalid content; the message names the field."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"]) or "content"
    return InputError(f"{source}: {field}: {first['msg']}", hint)


def validated(
    model: type[M], values: Mapping[str, Any], names: Mapping[str, str] | None = None
) -> M:
    """Return a model of user input.

    ``names`` maps fields to the names of their options, such as ``--batch``.

    Raises:
        InputError: A value is not valid; the message names the option or the field.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        fields = [str(part) for part in first["loc"]]
        known = [names[field] for field in fields if names and field in names]
        place = [*fields[:1], *known][-1:]  # the innermost option, else the outermost field
        raise InputError(": ".join([*place, validation_message(first)])) from error
