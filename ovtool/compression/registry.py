"""The table of compression methods: name -> ``module:attribute`` -> optional dependencies.

To add a method, write a file in ``methods/`` with a
:class:`~ovtool.compression.method.Method` and add a row to :data:`GROUPS`.
"""

from __future__ import annotations

import difflib
from dataclasses import asdict, dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ovtool.core.errors import InputError
from ovtool.core.registry import Entry, Registry, suggestion
from ovtool.core.trial import PRECISIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ovtool.compression.method import Method, MethodSettings, Need

_STEM = 5
"""Letters of a word that a summary must share with an unknown name."""
GROUPS: dict[str, dict[str, tuple[str, ...]]] = {
    "quantize": {
        "int8": ("quantization:INT8", "8-bit quantization of weights and activations"),
        "fp8": ("quantization:FP8", "weights and activations as 8-bit floats"),
        "qat": ("qat:QAT", "int8 with training, for accuracy"),
        "weights": ("weight_compression:WEIGHTS", "8-bit weights or fewer, float activations"),
        "fp16": ("weight_compression:FP16", "16-bit float weights: half the size"),
        "ternary": ("ternary:TERNARY", "three values for each output channel: 2 bits a weight"),
        "binary": ("ternary:BINARY", "two values for each output channel: 1 bit a weight"),
    },
    "prune": {
        "prune-channels": (
            "prune_channels:PRUNE_CHANNELS",
            "removes channels and what depends on them",
            "pruning",
        ),
        "prune-weights": (
            "prune_weights:PRUNE_WEIGHTS",
            "sets single weights to 0, retrains the rest",
        ),
    },
    "share": {
        "weight-sharing": (
            "weight_sharing:WEIGHT_SHARING",
            "few values for all weights, by k-means (Deep Compression)",
        ),
        "hashed-weights": (
            "hashed_weights:HASHED_WEIGHTS",
            "weights that share values by their position (HashedNets)",
        ),
    },
    "distill": {
        "train": ("train:TRAIN", "distillation, or training on labels"),
    },
    "restructure": {
        "separable": ("separable:SEPARABLE", "depthwise separable in place of full convolutions"),
        "downsample": (
            "downsample:DOWNSAMPLE",
            "smaller images, or a pooling layer before a layer",
        ),
    },
}
"""Methods by what they do to a model; a row is the target, the effect, and the extra."""
METHODS = Registry(
    "method",
    {
        name: Entry(f"ovtool.compression.methods.{row[0]}", *row[1:])
        for name, row in sorted(chain.from_iterable(group.items() for group in GROUPS.values()))
    },
)


@dataclass(frozen=True, slots=True)
class SettingInfo:
    """One setting, for help and documentation; ``kind`` is its type or its choices as text."""

    name: str
    kind: str
    default: Any
    description: str


@dataclass(frozen=True, slots=True)
class MethodInfo:
    """Description of a method for users.

    ``group`` is a key of :data:`GROUPS`; ``needs`` are the inputs required with any settings;
    ``changes``: what becomes smaller or faster, and where; ``untrained``: the accuracy that an
    example kept without training, empty if not measured; ``extra``: the optional dependencies to
    install (``pip install 'ovtool[extra]'``).
    """

    name: str
    group: str
    summary: str
    needs: frozenset[Need]
    changes: str
    untrained: str
    extra: str | None
    settings: tuple[SettingInfo, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the description as JSON types."""
        return asdict(self) | {"needs": sorted(self.needs)}


def load_method(name: str) -> Method[Any]:
    """Import and return a method.

    Raises:
        InputError: The name is unknown; the hint suggests the nearest name.
    """
    _require_known(name)
    method: Method[Any] = METHODS.load(name)
    return method


def _require_known(name: str) -> None:
    if name not in METHODS:
        raise InputError(f"unknown method {name!r}", _suggest(name))


def _suggest(name: str) -> str:
    """Return a hint for an unknown name: a setting of a method, or else a close name.

    Settings come first, because int4 is a mode of a method and closest to the method int8.
    """
    plain = name.lower().replace("_", "-")
    if plain in METHODS:
        return f"did you mean {plain}?"
    if plain in PRECISIONS:
        return f"a precision of inference, without a method: ovtool sweep --precision {plain}"
    settings = [
        f"{method.name} with {choice}"
        for method in list_methods()
        for setting in method.settings
        for choice in _choices(setting, plain)
    ]
    if settings:
        return f"use {' or '.join(settings[:3])}"
    close = difflib.get_close_matches(plain, list(METHODS), n=1)
    if close:
        return f"did you mean {close[0]}?"
    stem = plain[:_STEM]
    about = [n for n in METHODS if stem in n or stem in METHODS.entry(n).summary.lower()]
    if len(plain) >= _STEM and about:
        return f"did you mean {' or '.join(about)}?"
    return "ovtool methods lists them"


def _choices(setting: SettingInfo, word: str) -> list[str]:
    """Return what a word says of a setting: a switch by its name, choices by their beginning."""
    if setting.kind == "boolean":
        return [f"{setting.name}=true"] if word == setting.name.replace("_", "-") else []
    if " | " not in setting.kind or setting.default is None:
        return []
    choices = setting.kind.split(" | ")
    return [
        f"{setting.name}={c}" for c in choices if f"{c}_".startswith(word.replace("-", "_") + "_")
    ]


def describe_method(name: str) -> MethodInfo:
    """Describe a method with its settings, without importing openvino, nncf or torch.

    Raises:
        InputError: The name is unknown; the hint suggests the nearest name.
    """
    method, entry = load_method(name), METHODS.entry(name)
    schema = method.settings.model_json_schema()["properties"]
    settings = tuple(
        SettingInfo(name, _kind(schema[name]), info.get_default(), info.description or "")
        for name, info in method.settings.model_fields.items()
    )
    group = next(group for group, rows in GROUPS.items() if name in rows)
    return MethodInfo(
        name,
        group,
        entry.summary,
        method.needs,
        method.changes,
        method.untrained,
        entry.extra,
        settings,
    )


def list_methods() -> tuple[MethodInfo, ...]:
    """Describe every method."""
    return tuple(map(describe_method, METHODS))


def _kind(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return " | ".join(schema["enum"])
    if "anyOf" in schema:
        return " or ".join(_kind(option) for option in schema["anyOf"])
    name = str(schema["type"])
    return {"array": "list", "null": "none"}.get(name, name)


def parse_settings(method: str, values: Mapping[str, Any]) -> MethodSettings:
    """Parse a method's settings from a recipe or from ``--set key=value``.

    Numbers and booleans may be text; lists of names and types may be text with commas.

    Raises:
        InputError: The method is unknown, or settings are wrong: all mistakes in one line.
    """
    kind: type[MethodSettings] = load_method(method).settings
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        known = list(kind.model_fields)
        mistakes = [_mistake(details, known) for details in error.errors()]
        raise InputError(
            f"method {method}: {'; '.join(mistakes)}", f"ovtool methods {method} lists its settings"
        ) from error


def _mistake(details: Any, known: list[str]) -> str:
    location = ".".join(str(part) for part in details["loc"])
    if details["type"] == "extra_forbidden":
        hint = f", {suggestion(location, known)}" if known else ""
        return f"unknown setting {location!r}{hint}"
    message = details["msg"].removeprefix("Value error, ")
    value = f" (not {details['input']!r})" if location else ""
    return f"{location}: {message}{value}" if location else message
