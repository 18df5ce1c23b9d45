"""Field types of pydantic models, and plain messages for validation errors."""

from __future__ import annotations

import functools
import reprlib
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    TypeVar,
    get_args,
    get_origin,
)

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from ovtool.core import device_names, notation
from ovtool.core.errors import InputError
from ovtool.core.registry import suggestion
from ovtool.core.shapes import Shape, parse_shape, shape_sets
from ovtool.core.units import LARGEST_COUNT, LARGEST_NUMBER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails


class Record(BaseModel):
    """Base of stored records: immutable, without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class UserInput(Record):
    """Base of what users write: choices in any case, and ``5%`` for a number that is at most 1."""

    @field_validator("*", mode="before")
    @classmethod
    def _read_notation(cls, value: object, info: ValidationInfo) -> object:
        field = cls.model_fields[str(info.field_name)]
        if choices := _choices(field.annotation):
            read = functools.partial(notation.fold, choices=choices)
            return _each(value, read)
        if isinstance(value, str) and value.strip().endswith("%") and _is_share(field):
            return _read(value, notation.parse_share)
        return value


def takes_share(field: FieldInfo) -> bool:
    """Whether a field takes a share as text, such as ``5%``."""
    return _is_share(field) or any(
        isinstance(rule, ShareValidator)
        for part in (field, *get_args(field.annotation))
        for rule in getattr(part, "metadata", getattr(part, "__metadata__", ()))
    )


def _choices(annotation: Any) -> tuple[Any, ...]:
    """Return the values of the ``Literal`` in an annotation."""
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return tuple(value for part in get_args(annotation) for value in _choices(part))


def _each(value: object, read: Callable[[str], object]) -> object:
    """Read text, or each text of a list."""
    if isinstance(value, list | tuple):
        return [_read(item, read) for item in value]
    return _read(value, read)


def _is_share(field: FieldInfo) -> bool:
    bounds = (getattr(rule, "le", getattr(rule, "lt", None)) for rule in field.metadata)
    return any(bound is not None and bound <= 1 for bound in bounds)


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


def full_flag(name: str, field: FieldInfo) -> str:
    """Return the option of a field, such as ``--pin/--no-pin``."""
    extra: Any = field.json_schema_extra
    return extra["flag"] or f"--{name.replace('_', '-')}"


def flag_of(model: type[BaseModel], name: str) -> str:
    """Return the option that sets a field of a spec or of the options of a source."""
    if model.model_fields[name].json_schema_extra is not None:
        return full_flag(name, model.model_fields[name]).partition("/")[0]
    name = {"preprocessing": "mean or --scale"}.get(name, name)
    return f"--{name.removeprefix('input_').removesuffix('s') if name in _PLURAL else name}"


_PLURAL = frozenset(("input_shapes", "input_dtypes", "layouts"))


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


def _read(value: object, read: Callable[[str], object]) -> object:
    """Read text that a user wrote; other values are left to the field's own type."""
    if not isinstance(value, str):
        return value
    try:
        return read(value)
    except InputError as error:
        raise ValueError(error.full_text) from error


def _items(value: object, read: Callable[[str], object]) -> object:
    """Read each text of a list; a range becomes its integers."""
    parts = value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(part, str | int | float) for part in parts):
        return value
    items: list[object] = []
    for part in parts:
        item = _read(part, read)
        items += item if isinstance(item, tuple) else [item]
    return tuple(items)


class ShareValidator(BeforeValidator):
    """Marks a field that takes a share as text, ``5%`` or ``0.05``."""


NotEmpty = AfterValidator(_not_empty)
Count = Annotated[int, Field(ge=1, le=LARGEST_COUNT, strict=True)]
Seed = Annotated[int, Field(ge=0, le=LARGEST_COUNT, strict=True)]
Positive = Annotated[float, Field(gt=0, le=LARGEST_NUMBER, allow_inf_nan=False)]
Share = Annotated[
    float,
    ShareValidator(lambda value: _read(value, notation.parse_share)),
    Field(gt=0, le=LARGEST_NUMBER, allow_inf_nan=False),
]
"""A share, which users may write with a percent sign."""
Drop = Annotated[
    float,
    ShareValidator(lambda value: _read(value, notation.parse_share)),
    Field(ge=0, lt=1, allow_inf_nan=False),
]
"""A loss of quality, which users may write with a percent sign; 0 is none at all."""
Quality = Annotated[
    float,
    ShareValidator(lambda value: _read(value, notation.parse_number)),
    Field(ge=-LARGEST_NUMBER, le=LARGEST_NUMBER, allow_inf_nan=False),
]
"""A share or an error, for which a number above 1 is no mistake."""
Percent = Annotated[
    float,
    ShareValidator(lambda value: _read(value, lambda text: text.strip().removesuffix("%"))),
    Field(gt=0, le=LARGEST_NUMBER, allow_inf_nan=False),
]
"""A number in percent, of a field that ends with ``_pct``: ``2`` and ``2%`` are the same."""
DeviceName = Annotated[str, BeforeValidator(lambda value: _read(value, device_names.normalize))]
"""A device in OpenVINO's spelling, which users may write in any case."""
TypeName = Annotated[str, BeforeValidator(lambda value: _read(value, notation.type_name))]
"""An element type in OpenVINO's spelling: ``f32`` of ``FP32`` or ``float32``."""
AS_PRECISION = BeforeValidator(lambda value: _read(value, notation.parse_precision))
AS_COUNTS = BeforeValidator(lambda value: _items(value, notation.parse_counts))
"""Validator of lists of integers, which users may write as ranges: ``1-8``."""
AS_RATES = BeforeValidator(lambda value: _items(value, notation.expand_ranges))
"""Validator of lists of numbers and words, in which a range stands for its integers."""
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


def require_known(fields: Mapping[str, Any], known: Iterable[str]) -> None:
    """Raise the TypeError of an unknown keyword argument, with the closest name."""
    names = list(known)
    for name in fields:
        if name not in names:
            raise TypeError(f"unexpected keyword argument {name!r}: {suggestion(name, names)}")


def with_fields(model: type[M], given: M | None, fields: Mapping[str, Any]) -> M:
    """Return a model, or the defaults, with other values of some fields.

    Raises:
        InputError: A value is not valid; the message names the field.
        TypeError: The model has no such field, as for any unknown keyword argument.
    """
    require_known(fields, model.model_fields)
    known = {} if given is None else {n: getattr(given, n) for n in given.model_fields_set}
    return validated(model, {**known, **fields})


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
        refused = getattr(first.get("ctx", {}).get("error"), "__cause__", None)
        if isinstance(refused, InputError):  # of a value's notation, with a hint of its own
            raise InputError(": ".join([*place, str(refused)]), refused.hint) from error
        raise InputError(": ".join([*place, validation_message(first)])) from error
