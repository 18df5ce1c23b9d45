"""What a sweep measures, and for how long: the one list of axes for command line, recipe and API.

A new axis is a field of :class:`SweepSpec`, and its meaning in :mod:`ovtool.core.trial_grid`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ovtool.core.fields import Count, NotEmpty, Positive, ShapeSets, option
from ovtool.core.trial import Hint, Percentile, Precision
from ovtool.core.variant import Record

BUSY: Literal["busy"] = "busy"
"""Arrival rate of the closed loop: every request is kept busy."""

_WHAT, _LOAD, _HOW = "What to measure", "Load", "How to measure"


class MeasurementSettings(Record):
    """How long and how often the trials of a group are measured."""

    target_pct: Positive = option(
        2.0,
        "Half-width of the throughput's 95 % confidence interval at which measuring stops, in %.",
        panel=_HOW,
        metavar="PERCENT",
    )
    rounds: int = option(8, "Minimum rounds of each trial.", panel=_HOW, metavar="N", ge=3)
    round_s: Positive = option(0.3, "Length of a round.", panel=_HOW, metavar="SECONDS")
    max_seconds: Positive = option(
        10.0, "Maximum measuring time of a trial.", panel=_HOW, metavar="SECONDS"
    )
    timeout_s: Positive = option(
        300.0,
        "Maximum time of a compilation or of one round.",
        panel=_HOW,
        flag="--timeout",
        metavar="SECONDS",
    )
    seed: Annotated[int, Field(ge=0, strict=True)] = option(
        0, "Seed of the round order, the random inputs and the arrivals.", panel=_HOW, metavar="N"
    )
    starts: bool = option(
        True,
        "Measure the start from the model cache too, in a new process.",
        panel=_HOW,
        flag="--starts/--no-starts",
    )


class FindRate(Record):
    """Latency limit of the search for the highest arrival rate."""

    max_latency_ms: Positive = option(
        ..., "Latency limit of --find-rate.", panel=_LOAD, metavar="MS"
    )
    percentile: Percentile = option(
        99, "Latency percentile of --max-latency-ms: 50, 90 or 99.", panel=_LOAD, metavar="P"
    )


class SweepSpec(MeasurementSettings):
    """Axes of a sweep, every combination of which is a trial, and the measurement settings."""

    devices: Annotated[tuple[str, ...], NotEmpty] = option(
        ("CPU",),
        "Devices: CPU,GPU,NPU. A virtual device such as AUTO:GPU,CPU needs its own option."
        " NPU.4000 and other platforms need --with-estimates.",
        panel=_WHAT,
        flag="--device",
        metavar="DEVICES",
    )
    batches: Annotated[tuple[Count, ...], NotEmpty] | None = option(
        None,
        "Batch sizes: 1,2,4.",
        panel=_WHAT,
        flag="--batch",
        metavar="N,N...",
        default_text="1, or the batch in --shape",
    )
    precisions: Annotated[tuple[Precision, ...], NotEmpty] = option(
        ("default",),
        "Inference precisions: default, f32, bf16, f16.",
        panel=_WHAT,
        flag="--precision",
        metavar="PRECISIONS",
    )
    precisions_of: dict[str, Annotated[tuple[Precision, ...], NotEmpty]] = Field(
        default_factory=dict,
        description="Inference precisions by variant name; other variants use precisions.",
    )
    shapes: ShapeSets = option(
        {},
        "Shapes of an input: ids=1x32,1x128. The first shapes of all inputs form one set, the"
        " second shapes another. ? leaves the batch to --batch.",
        panel=_WHAT,
        flag="--shape",
        metavar="NAME=SHAPES",
    )
    data_shapes: ShapeSets = option(
        {},
        "Shapes to infer with: ids=1x100. The compiled model keeps its own dimensions or those of"
        " --shape; open dimensions stay open.",
        panel=_WHAT,
        flag="--data-shape",
        metavar="NAME=SHAPES",
    )
    with_estimates: bool = option(
        False,
        "Add rows with the compiler's latency estimate for NPU platforms that are not available"
        " (NPU.3720, NPU.4000, NPU.5010).",
        panel=_WHAT,
    )
    hints: Annotated[tuple[Hint, ...], NotEmpty] = option(
        ("latency", "throughput"),
        "Performance hints: latency, throughput.",
        panel=_LOAD,
        flag="--hint",
        metavar="HINTS",
    )
    streams: tuple[Count, ...] = option(
        (), "Numbers of streams, instead of hints.", panel=_LOAD, metavar="N,N..."
    )
    requests: tuple[Count, ...] = option(
        (), "Numbers of requests in flight, instead of hints.", panel=_LOAD, metavar="N,N..."
    )
    threads: tuple[Count, ...] = option(
        (), "Numbers of threads, instead of hints.", panel=_LOAD, metavar="N,N..."
    )
    pinning: bool | None = option(
        None,
        "Bind threads to processors.",
        panel=_LOAD,
        flag="--pin/--no-pin",
        default_text="device default",
    )
    rates: Annotated[tuple[Positive | Literal["busy"], ...], NotEmpty] = option(
        (BUSY,),
        "Open loop: requests/s that arrive with Poisson gaps, such as 50,100; latency counts from"
        " the due time. busy is the closed loop.",
        panel=_LOAD,
        flag="--rate",
        metavar="RPS",
    )
    find_rate: FindRate | None = option(
        None, "Search for the highest rate that keeps --max-latency-ms.", panel=_LOAD
    )

    @model_validator(mode="after")
    def _one_kind_of_arrivals(self) -> SweepSpec:
        if self.find_rate is not None and self.rates != (BUSY,):
            raise ValueError("rates and find_rate exclude each other; remove one of them")
        return self

    def measurement_settings(self) -> dict[str, Any]:
        """Return the fields of :class:`MeasurementSettings`, as ``plan.json`` keeps them."""
        return self.model_dump(include=set(MeasurementSettings.model_fields))
