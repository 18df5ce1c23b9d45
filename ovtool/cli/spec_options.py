"""Decorators that give a command the options of a spec or of a source model."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

import typer

from ovtool.cli import completion
from ovtool.cli.options import build_source_options, split_words
from ovtool.core.errors import InputError
from ovtool.core.fields import full_flag, takes_share, validated
from ovtool.core.input_limits import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

Command = Callable[..., None]


def with_options_of(model: type[BaseModel], argument: str = "spec") -> Callable[[Command], Command]:
    """Return a decorator that replaces an argument of a command by options.

    Each :func:`ovtool.core.fields.option_field` of the model is an option.  The command gets the
    validated model.
    """
    parameters = [_parameter(name, field) for name, field in _options(model)]
    return _replace_argument(argument, parameters, lambda options: _parse_spec(model, options))


def with_source_options(command: Command) -> Command:
    """Replace the argument ``source_options`` of a command by the options of a source model."""
    parameters = inspect.signature(build_source_options, eval_str=True).parameters.values()
    return _replace_argument(
        "source_options", [*parameters], lambda options: build_source_options(**options)
    )(command)


def _replace_argument(
    name: str, parameters: Sequence[inspect.Parameter], build: Callable[[dict[str, Any]], Any]
) -> Callable[[Command], Command]:
    """Return a decorator that replaces an argument of a command by options.

    ``build`` returns the argument from the values of the options.
    """

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def replaced(**values: Any) -> None:
            options = {p.name: values.pop(p.name, p.default) for p in parameters}
            command(**values, **{name: build(options)})

        signature = inspect.signature(command, eval_str=True)
        own = [p for p in signature.parameters.values() if p.name != name]
        merged = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (*own, *parameters)]
        replaced.__signature__ = signature.replace(parameters=merged)  # type: ignore[attr-defined]
        replaced.__annotations__ = {p.name: p.annotation for p in merged}
        return replaced

    return decorate


def _options(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    """Yield the fields that are options; those of a nested spec follow its flag."""
    for name, field in model.model_fields.items():
        if field.json_schema_extra is not None:
            yield name, field
            if (nested := _nested(field)) is not None:
                yield from _options(nested)


def _nested(field: FieldInfo) -> type[BaseModel] | None:
    kinds = (field.annotation, *get_args(field.annotation))
    return next((kind for kind in kinds if hasattr(kind, "model_fields")), None)


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    """Return the parameter that typer makes an option of."""
    extra: Any = field.json_schema_extra
    kind, default = _option_type(field), field.default
    if kind == list[str] | None or field.is_required():
        default = None
    if _nested(field) is not None:
        default = False
    option = typer.Option(
        full_flag(name, field),
        help=field.description,
        show_default=extra["default_text"] or _default_text(field),
        metavar=extra["metavar"] or None,
        rich_help_panel=extra["panel"],
        autocompletion=completion.for_placeholder(extra["metavar"]),
    )
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option]
    )


def _option_type(field: FieldInfo) -> Any:
    kinds = set(_leaves(field.annotation))
    if {tuple, dict} & kinds:
        return list[str] | None
    if _nested(field) is not None:
        return bool
    optional = type(None) in kinds or field.is_required()
    kind = str if takes_share(field) else next(k for k in (bool, int, float, str) if k in kinds)
    return kind | None if optional else kind


def _leaves(annotation: Any) -> Iterator[type]:
    """Yield the types in an annotation; of a list or a mapping only that it is one."""
    origin = get_origin(annotation)
    if origin is Literal:
        yield from (type(value) for value in get_args(annotation))
    elif origin in (tuple, dict):
        yield origin
    elif origin is Annotated:
        yield from _leaves(get_args(annotation)[0])
    elif origin is not None:
        for part in get_args(annotation):
            yield from _leaves(part)
    else:
        yield annotation


def _default_text(field: FieldInfo) -> bool | str:
    if isinstance(field.default, tuple):
        return ",".join(map(str, field.default)) or False
    return not isinstance(field.default, dict)


def _parse_spec(model: type[BaseModel], options: Mapping[str, Any]) -> BaseModel:
    """Return the spec of the options; an error names the option."""
    names = {name: full_flag(name, field).partition("/")[0] for name, field in _options(model)}
    return validated(model, _values(model, options, names), names)


def _values(
    model: type[BaseModel], options: Mapping[str, Any], names: Mapping[str, str]
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        value = options.get(name)
        if name in names and (nested := _nested(field)) is not None:
            part = _values(nested, options, names)
            required = [n for n, f in nested.model_fields.items() if f.is_required()]
            if value and all(n in part for n in required):
                values[name] = part
            elif value or any(n in part for n in required):
                needed = ", ".join(names[n] for n in required)
                raise InputError(f"{names[name]} and {needed} require each other")
        elif name not in names or value is None or value == ():
            continue
        elif dict in _leaves(field.annotation):
            values[name] = _shapes(value, names[name])
        elif tuple in _leaves(field.annotation):
            values[name] = [_scalar(word) for word in split_words(value)]
        else:
            values[name] = value
    return values


def _shapes(texts: Sequence[str], option: str) -> dict[str, list[list[str]]]:
    """Read ``NAME=SHAPE,SHAPE...`` texts as lists of sizes; a name may repeat."""
    from ovtool.core.shapes import name_and_value

    shapes: dict[str, list[list[str]]] = {}
    for text in texts:
        name, value = name_and_value(text, option)
        shapes.setdefault(name, []).extend(shape.lower().split("x") for shape in value.split(","))
    return shapes


def _scalar(word: str) -> object:
    """Return a number as such, and any other word as it is."""
    try:
        return parse_json(word)
    except ValueError:
        return word
