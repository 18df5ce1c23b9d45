"""Objective and limits of a choice: one list for command line, recipe and API.

A new limit is a field of :class:`ChoiceSpec`, and its meaning in :mod:`ovtool.selection.limits`.
"""

from __future__ import annotations

import math
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, TypedDict

from pydantic import BeforeValidator, PlainValidator, model_validator

from ovtool.core.errors import InputError
from ovtool.core.fields import Count, Drop, Positive, Quality, Rate, UserInput, option_field
from ovtool.core.registry import suggestion
from ovtool.core.trial import Percentile
from ovtool.core.units import LARGEST_NUMBER
from ovtool.selection.prices import Prices, read_prices

if TYPE_CHECKING:
    from collections.abc import Mapping

_OBJECTIVE, _LIMITS = "Objective", "Limits"

DEFAULT_PERCENTILE: Percentile = 99
OBJECTIVES = ("throughput", "latency", "size", "energy", "quality", "memory", "cost")


def parse_objective(text: str) -> dict[str, float]:
    """Return the weight of each objective in a text; the weights add up to 1.

    >>> parse_objective("throughput=3,latency=1")
    {'throughput': 0.75, 'latency': 0.25}

    Raises:
        InputError: An objective is unknown or given twice, or a weight is not above 0.
    """
    weights: dict[str, float] = {}
    for part in text.split(","):
        name, equals, number = (piece.strip() for piece in part.lower().partition("="))
        if name not in OBJECTIVES:
            raise InputError(f"unknown objective {name!r}", suggestion(name, list(OBJECTIVES)))
        if name in weights:
            raise InputError(f"objective given twice: {name}", "give each objective one weight")
        try:
            weight = float(number) if equals else 1.0
        except ValueError:
            weight = math.nan
        if not 1 / LARGEST_NUMBER <= weight <= LARGEST_NUMBER:
            raise InputError(
                f"objective {name}: {number!r} is not a weight above 0", "throughput=2,latency=1"
            )
        weights[name] = weight
    total = math.fsum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


def _objective(value: object) -> object:
    """Read ``latency``, ``throughput=2,latency=1`` or ``{throughput: 2, latency: 1}``."""
    text = ",".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else value
    if isinstance(text, str):
        try:
            parse_objective(text)
        except InputError as error:
            raise ValueError(error.full_text) from error
        return text.lower()
    return text


def _price_source(value: object) -> str | Prices | None:
    if value is None or isinstance(value, Prices):
        return value
    if not isinstance(value, str | PurePath):
        raise ValueError(f"must be text, got {value!r}")  # noqa: TRY004 - pydantic's
    return str(value)


class ChoiceSpec(UserInput):
    """Objective and limits of a choice; a limit that is None does not apply."""

    objective: Annotated[str, BeforeValidator(_objective)] = option_field(
        _OBJECTIVE,
        "OBJECTIVE",
        "throughput",
        "Objective: throughput (of text generators tokens/s), latency, size, energy, quality,"
        " memory or cost; or several with weights: throughput=2,latency=1.",
    )
    percentile: Percentile = option_field(
        _OBJECTIVE,
        "P",
        DEFAULT_PERCENTILE,
        "Latency percentile of limit and objective: 50, 90 or 99.",
    )
    prices: Annotated[str | Prices | None, PlainValidator(_price_source)] = option_field(
        _OBJECTIVE,
        "FILE",
        None,
        "Price table: YAML (currency: EUR, prices: {'*EPYC*': 0.08}, per hour of the machines that"
        " match) or CSV (machine,price_per_hour,currency).",
    )
    max_latency_ms: Positive | None = option_field(
        _LIMITS, "MS", None, "Maximum latency per request."
    )
    min_throughput_fps: Positive | None = option_field(
        _LIMITS, "FPS", None, "Minimum throughput in samples/s."
    )
    prompt_length: Count | None = option_field(
        _LIMITS, "N", None, "Choose among the rows of text generators with prompts of N tokens."
    )
    output_length: Count | None = option_field(
        _LIMITS, "N", None, "Choose among the rows of text generators with outputs of N tokens."
    )
    max_ttft_ms: Positive | None = option_field(
        _LIMITS, "MS", None, "Maximum median time to the first token of a text generator."
    )
    max_tpot_ms: Positive | None = option_field(
        _LIMITS, "MS", None, "Maximum median time per output token of a text generator."
    )
    min_tokens_s: Positive | None = option_field(
        _LIMITS, "N", None, "Minimum tokens/s of all requests of a text generator together."
    )
    min_quality: Quality | None = option_field(
        _LIMITS,
        "FIGURE",
        None,
        "Lowest acceptable quality by the metric of the sweep: a share (95% or 0.95), or for mae"
        " the highest acceptable error.",
    )
    max_drop: Drop | None = option_field(
        _LIMITS,
        "SHARE",
        None,
        "Maximum loss of quality against the uncompressed model: 1% or 0.01 is a percentage point;"
        " of the perplexity, a rise by 1%.",
    )
    max_perplexity: Positive | None = option_field(
        _LIMITS, "FIGURE", None, "Maximum perplexity of a text generator."
    )
    max_model_mib: Positive | None = option_field(_LIMITS, "MIB", None, "Maximum model size.")
    max_memory_mib: Positive | None = option_field(
        _LIMITS, "MIB", None, "Maximum memory of the process."
    )
    max_energy_mj: Positive | None = option_field(_LIMITS, "MJ", None, "Maximum energy per sample.")
    max_cost: Positive | None = option_field(
        _LIMITS, "COST", None, "Maximum cost of a million samples; needs --prices."
    )
    rate: Rate | None = option_field(
        _LIMITS, "RPS", None, "Minimum sustained request rate in requests/s."
    )
    allow_estimates: bool = option_field(
        _LIMITS,
        "",
        False,
        "Allow rows with a compiler's estimate for a device that is not available.",
    )

    @model_validator(mode="after")
    def _costs_need_prices(self) -> ChoiceSpec:
        by_cost = self.max_cost is not None or "cost" in parse_objective(self.objective)
        if by_cost and self.prices is None:
            raise ValueError("the objective cost needs a price table (--prices)")
        return self

    def price_table(self) -> Prices | None:
        """Return the price table; None without one.

        Raises:
            InputError: The file is missing or is not a price table.
        """
        return read_prices(self.prices) if isinstance(self.prices, str) else self.prices


class ChoiceFields(TypedDict, total=False):
    """The fields of :class:`ChoiceSpec` as keyword arguments."""

    objective: str | Mapping[str, float]
    percentile: int
    prices: str | PurePath | Prices | None
    max_latency_ms: float | None
    min_throughput_fps: float | None
    prompt_length: int | None
    output_length: int | None
    max_ttft_ms: float | None
    max_tpot_ms: float | None
    min_tokens_s: float | None
    min_quality: float | None
    max_drop: float | None
    max_perplexity: float | None
    max_model_mib: float | None
    max_memory_mib: float | None
    max_energy_mj: float | None
    max_cost: float | None
    rate: float | None
    allow_estimates: bool
