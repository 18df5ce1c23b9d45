"""The axes and settings of a sweep, for the command line, recipes and the API.

A new axis is a field of :class:`SweepSpec`, and its meaning in :mod:`ovtool.core.trial_grid`.
"""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike, fspath
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict

from pydantic import BeforeValidator, Field, model_validator

from ovtool.core.fields import (
    AS_COUNTS,
    AS_PRECISION,
    AS_RATES,
    Count,
    DeviceName,
    NotEmpty,
    Percent,
    Positive,
    Rate,
    Seed,
    ShapeSets,
    UserInput,
    option_field,
)
from ovtool.core.notation import COUNTS
from ovtool.core.trial import Generation, Hint, KvCachePrecision, Percentile, Precision

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BUSY: Literal["busy"] = "busy"
"""Arrival rate of the closed loop: every request is kept busy."""

Counts = Annotated[tuple[Count, ...], AS_COUNTS]
"""Integers, which users may write as ranges."""
Precisions = Annotated[tuple[Annotated[Precision, AS_PRECISION], ...], NotEmpty]

_TARGET, _LOAD, _MEASUREMENT = "What to measure", "Load", "How to measure"
_TEXT = "Text generators"


def _reference(value: object) -> object:
    """Return a path, or a variant, as text."""
    return fspath(value) if isinstance(value, PathLike) else value


class MeasurementSettings(UserInput):
    """How long and how often the trials of a group are measured."""

    target_pct: Percent = option_field(
        _MEASUREMENT,
        "PERCENT",
        2.0,
        "Half-width of the throughput's 95% confidence interval at which measuring stops, in %.",
    )
    rounds: int = option_field(
        _MEASUREMENT, "N", 8, "Minimum rounds of each trial.", ge=3, le=1_000_000
    )
    round_s: Positive = option_field(_MEASUREMENT, "SECONDS", 0.3, "Length of a round.")
    max_seconds: Positive = option_field(
        _MEASUREMENT,
        "SECONDS",
        10.0,
        "Maximum measuring time of a trial. A round that began in time is finished, and short"
        " inferences get at least three rounds.",
    )
    timeout_s: Positive = option_field(
        _MEASUREMENT,
        "SECONDS",
        300.0,
        "Maximum time of a compilation or of one round; a conversion has 2 min more.",
        flag="--timeout",
    )
    seed: Seed = option_field(
        _MEASUREMENT, "N", 0, "Seed of the round order, the random inputs and the arrivals."
    )
    starts: bool = option_field(
        _MEASUREMENT,
        "",
        True,
        "Measure the start from the model cache too, in a new process.",
        flag="--starts/--no-starts",
    )

    def measurement_settings(self) -> dict[str, Any]:
        """Return these fields by name, as ``plan.json`` and the journal keep them."""
        return self.model_dump(include=set(MeasurementSettings.model_fields))


class FindRate(UserInput):
    """Latency limit of the search for the highest arrival rate."""

    max_latency_ms: Positive = option_field(_LOAD, "MS", ..., "Latency limit of --find-rate.")
    percentile: Percentile = option_field(
        _LOAD, "P", 99, "Latency percentile of --max-latency-ms: 50, 90 or 99."
    )


class FindConcurrency(UserInput):
    """Limits of the search for the highest concurrency of a text generator."""

    max_ttft_ms: Positive | None = option_field(
        _TEXT, "MS", None, "Limit of --find-concurrency: median time to the first token."
    )
    max_tpot_ms: Positive | None = option_field(
        _TEXT, "MS", None, "Limit of --find-concurrency: median time per output token."
    )

    @model_validator(mode="after")
    def _any_limit(self) -> FindConcurrency:
        if self.max_ttft_ms is None and self.max_tpot_ms is None:
            raise ValueError("--find-concurrency needs --max-ttft-ms, --max-tpot-ms, or both")
        return self


@dataclass(frozen=True, slots=True)
class TextLoadSpec:
    """The requests of a text generator; ``rate`` is that of an open loop, None of a closed one."""

    generation: Generation
    rate: float | None


class SweepSpec(MeasurementSettings):
    """Axes of a sweep, every combination of which is a trial, and the measurement settings."""

    devices: Annotated[tuple[DeviceName, ...], NotEmpty] = option_field(
        _TARGET,
        "DEVICES",
        ("CPU",),
        "Devices: CPU,GPU,NPU. A virtual device such as AUTO:GPU,CPU needs its own option."
        " NPU.4000 and other platforms need --with-estimates.",
        flag="--device",
    )
    batches: Annotated[Counts, NotEmpty] | None = option_field(
        _TARGET,
        "N,N...",
        None,
        f"Batch sizes: {COUNTS}.",
        flag="--batch",
        default_text="the batch in --shape, the fixed batch of the model, or 1",
    )
    precisions: Precisions = option_field(
        _TARGET,
        "PRECISIONS",
        ("default",),
        "Inference precisions: default, f32, bf16, f16.",
        flag="--precision",
    )
    precisions_of: dict[str, Precisions] = Field(
        default_factory=dict,
        description="Inference precisions by variant name; other variants use precisions.",
    )
    shapes: ShapeSets = option_field(
        _TARGET,
        "NAME=SHAPES",
        {},
        "Shapes of an input: ids=1x32,1x128. The first shapes of all inputs form one set, the"
        " second shapes another. ? leaves the batch to --batch.",
        flag="--shape",
    )
    data_shapes: ShapeSets = option_field(
        _TARGET,
        "NAME=SHAPES",
        {},
        "Shapes to infer with: ids=1x100. The compiled model keeps its own dimensions or those of"
        " --shape; open dimensions stay open.",
        flag="--data-shape",
    )
    baseline: Annotated[str | None, BeforeValidator(_reference)] = option_field(
        _TARGET,
        "MODEL",
        None,
        "Model that every variant is compared with, for agreement and speed-up; measured too."
        " Needed for sources that are compressed already.",
        default_text="the uncompressed variant of the same source",
    )
    with_estimates: bool = option_field(
        _TARGET,
        "",
        False,
        "Add rows with the compiler's latency estimate for NPU platforms that are not available"
        " (NPU.3720, NPU.4000, NPU.5010).",
    )
    hints: Annotated[tuple[Hint, ...], NotEmpty] = option_field(
        _LOAD,
        "HINTS",
        ("latency", "throughput"),
        "Performance hints: latency, throughput.",
        flag="--hint",
    )
    streams: Counts = option_field(_LOAD, "N,N...", (), "Numbers of streams, instead of hints.")
    requests: Counts = option_field(
        _LOAD, "N,N...", (), "Numbers of requests in flight, instead of hints."
    )
    threads: Counts = option_field(_LOAD, "N,N...", (), "Numbers of threads, instead of hints.")
    pinning: bool | None = option_field(
        _LOAD,
        "",
        None,
        "Bind threads to processors.",
        flag="--pin/--no-pin",
        default_text="device default",
    )
    rates: Annotated[tuple[Rate | Literal["busy"], ...], AS_RATES, NotEmpty] = option_field(
        _LOAD,
        "RPS",
        (BUSY,),
        "Open loop: requests/s that arrive with Poisson gaps, such as 50,100; times count from the"
        " arrival. busy is the closed loop.",
        flag="--rate",
    )
    find_rate: FindRate | None = option_field(
        _LOAD,
        "",
        None,
        "Search for the highest rate that keeps --max-latency-ms; no further rate begins after 6"
        " times --max-seconds.",
    )

    prompt_lengths: Annotated[Counts, NotEmpty] = option_field(
        _TEXT, "N,N...", (128,), "Lengths of the prompts in tokens.", flag="--prompt-length"
    )
    output_lengths: Annotated[Counts, NotEmpty] = option_field(
        _TEXT, "N,N...", (64,), "Numbers of tokens to generate.", flag="--output-length"
    )
    concurrency: Annotated[Counts, NotEmpty] = option_field(
        _TEXT, "N,N...", (1,), "Numbers of requests in flight together.", flag="--concurrency"
    )
    kv_cache_precisions: Annotated[tuple[KvCachePrecision, ...], NotEmpty] = option_field(
        _TEXT,
        "PRECISIONS",
        ("default",),
        "Precisions of the KV cache: default, f32, bf16, f16, u8.",
        flag="--kv-cache-precision",
    )
    find_concurrency: FindConcurrency | None = option_field(
        _TEXT,
        "",
        None,
        "Search for the highest concurrency that keeps the limits of the median time to the first"
        " token or per output token; no further one begins after 6 times --max-seconds.",
    )

    def text_loads(self) -> tuple[TextLoadSpec, ...]:
        """Return the loads of a text generator: each concurrency, the search, or each rate."""
        limits = self.find_concurrency
        rates = [float(rate) for rate in self.rates if rate != BUSY]
        loads: list[tuple[int | None, float | None]] = [(None, rate) for rate in rates]
        if limits is not None:
            loads = [(None, None)]
        elif BUSY in self.rates:
            loads = [*((n, None) for n in self.concurrency), *loads]
        bounds = (None, None) if limits is None else (limits.max_ttft_ms, limits.max_tpot_ms)
        return tuple(
            TextLoadSpec(Generation(prompt, output, concurrency, kv_cache, *bounds), rate)
            for prompt in self.prompt_lengths
            for output in self.output_lengths
            for kv_cache in self.kv_cache_precisions
            for concurrency, rate in loads
        )

    @model_validator(mode="after")
    def _one_kind_of_concurrency(self) -> SweepSpec:
        if self.find_concurrency is not None and self.concurrency != (1,):
            raise ValueError(
                "concurrency and find_concurrency exclude each other; remove one of them"
            )
        if self.concurrency != (1,) and BUSY not in self.rates:
            raise ValueError(
                "concurrency is of a closed loop, and all rates are of open ones; remove one of"
                " them, or add the rate busy"
            )
        return self

    @model_validator(mode="after")
    def _one_kind_of_arrivals(self) -> SweepSpec:
        if self.find_concurrency is not None and self.rates != (BUSY,):
            raise ValueError("rates and find_concurrency exclude each other; remove one of them")
        if self.find_rate is not None and self.rates != (BUSY,):
            raise ValueError("rates and find_rate exclude each other; remove one of them")
        return self


class SweepFields(TypedDict, total=False):
    """The fields of :class:`SweepSpec` as keyword arguments."""

    target_pct: float
    rounds: int
    round_s: float
    max_seconds: float
    timeout_s: float
    seed: int
    starts: bool
    devices: Sequence[str]
    batches: Sequence[int] | None
    precisions: Sequence[str]
    precisions_of: Mapping[str, Sequence[str]]
    shapes: Mapping[str, object]
    data_shapes: Mapping[str, object]
    baseline: str | PathLike[str] | None
    with_estimates: bool
    hints: Sequence[str]
    streams: Sequence[int]
    requests: Sequence[int]
    threads: Sequence[int]
    pinning: bool | None
    rates: Sequence[float | str]
    find_rate: FindRate | Mapping[str, object] | None
    prompt_lengths: Sequence[int]
    output_lengths: Sequence[int]
    concurrency: Sequence[int]
    kv_cache_precisions: Sequence[str]
    find_concurrency: FindConcurrency | Mapping[str, object] | None
