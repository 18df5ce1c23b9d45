"""The axes and settings of a sweep, for the command line, recipes and the API.

A new axis is a field of :class:`SweepSpec`, and its meaning in :mod:`ovtool.core.trial_grid`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ovtool.core.fields import (
    Count,
    NotEmpty,
    Positive,
    Rate,
    Record,
    Seed,
    ShapeSets,
    option_field,
)
from ovtool.core.trial import Hint, Percentile, Precision

BUSY: Literal["busy"] = "busy"
"""Arrival rate of the closed loop: every request is kept busy."""

_TARGET, _LOAD, _MEASUREMENT = "What to measure", "Load", "How to measure"


class MeasurementSettings(Record):
    """How long and how often the trials of a group are measured."""

    target_pct: Positive = option_field(
        _MEASUREMENT,
        "PERCENT",
        2.0,
        "Half-width of the throughput's 95 % confidence interval at which measuring stops, in %.",
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


class FindRate(Record):
    """Latency limit of the search for the highest arrival rate."""

    max_latency_ms: Positive = option_field(_LOAD, "MS", ..., "Latency limit of --find-rate.")
    percentile: Percentile = option_field(
        _LOAD, "P", 99, "Latency percentile of --max-latency-ms: 50, 90 or 99."
    )


class SweepSpec(MeasurementSettings):
    """Axes of a sweep, every combination of which is a trial, and the measurement settings."""

    devices: Annotated[tuple[str, ...], NotEmpty] = option_field(
        _TARGET,
        "DEVICES",
        ("CPU",),
        "Devices: CPU,GPU,NPU. A virtual device such as AUTO:GPU,CPU needs its own option."
        " NPU.4000 and other platforms need --with-estimates.",
        flag="--device",
    )
    batches: Annotated[tuple[Count, ...], NotEmpty] | None = option_field(
        _TARGET,
        "N,N...",
        None,
        "Batch sizes: 1,2,4.",
        flag="--batch",
        default_text="the batch in --shape, the fixed batch of the model, or 1",
    )
    precisions: Annotated[tuple[Precision, ...], NotEmpty] = option_field(
        _TARGET,
        "PRECISIONS",
        ("default",),
        "Inference precisions: default, f32, bf16, f16.",
        flag="--precision",
    )
    precisions_of: dict[str, Annotated[tuple[Precision, ...], NotEmpty]] = Field(
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
    baseline: str | None = option_field(
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
    streams: tuple[Count, ...] = option_field(
        _LOAD, "N,N...", (), "Numbers of streams, instead of hints."
    )
    requests: tuple[Count, ...] = option_field(
        _LOAD, "N,N...", (), "Numbers of requests in flight, instead of hints."
    )
    threads: tuple[Count, ...] = option_field(
        _LOAD, "N,N...", (), "Numbers of threads, instead of hints."
    )
    pinning: bool | None = option_field(
        _LOAD,
        "",
        None,
        "Bind threads to processors.",
        flag="--pin/--no-pin",
        default_text="device default",
    )
    rates: Annotated[tuple[Rate | Literal["busy"], ...], NotEmpty] = option_field(
        _LOAD,
        "RPS",
        (BUSY,),
        "Open loop: requests/s that arrive with Poisson gaps, such as 50,100; latency counts from"
        " the due time. busy is the closed loop.",
        flag="--rate",
    )
    find_rate: FindRate | None = option_field(
        _LOAD,
        "",
        None,
        "Search for the highest rate that keeps --max-latency-ms; no further rate begins after 6"
        " times --max-seconds.",
    )

    @model_validator(mode="after")
    def _one_kind_of_arrivals(self) -> SweepSpec:
        if self.find_rate is not None and self.rates != (BUSY,):
            raise ValueError("rates and find_rate exclude each other; remove one of them")
        return self
