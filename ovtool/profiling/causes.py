"""The causes that explain the time of a compressed model, by id: the only place of their wording.

A cause is a share of the difference between two models, with its layers, evidence and remedy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ovtool.core.statistics import Interval, mean_interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# fmt: off
CAUSES: Mapping[str, tuple[str, str]] = {
    # Layers with arithmetic that do not run in INT8, and the conversions around them.
    "quantizers-not-fused": (
        "quantized layers that the device runs in floating point",
        "quantize again for OpenVINO: ovtool compress MODEL int8"),
    "weights-zero-points": (
        "quantized layers in floating point: their INT8 weights have zero points",
        "quantize the weights symmetrically (QInt8), or: ovtool compress MODEL int8"),
    "quantized-wide": (
        "layers quantized to more than 8 bits, which run in floating point",
        "quantize activations and weights to 8 bits: ovtool compress MODEL int8"),
    "type-not-int8": (
        "quantized layers of types that the device runs in floating point",
        "leave these layers in floating point: their quantizers only cost time"),
    "float-island": (
        "float layers between INT8 layers, with the conversions around them",
        "quantize these layers too; ovtool sensitivity names those that must stay in float"),
    "not-quantized": (
        "layers that the model does not quantize",
        "quantize them, unless accuracy needs them in float: ovtool sensitivity MODEL"),
    "weights-only": (
        "only the weights are compressed: the arithmetic stays in floating point",
        "quantize the activations too: ovtool compress MODEL int8"),
    "no-quantization": (
        "the model is not quantized: its layers run in floating point",
        "quantize it: ovtool compress MODEL int8"),

    # Layers that quantization adds.
    "conversions": (
        "conversions, quantizers and reorders between layouts or precisions",
        "use the layout and type of the device at inputs and outputs; quantize whole blocks"),
    "fusion-lost": (
        "operations that quantizers separate from the layer that they were fused into",
        "fold normalizations and activations before quantizing; quantize after the activation"),

    # Layers that run in INT8, or need not, and gain little.
    "baseline-reduced": (
        "the reference already runs in {precision}, so INT8 gains less than over f32",
        "weigh the loss of quality against this gain; --precision f32 shows the gain over f32"),
    "int8-slow": (
        "layers in INT8 that are not faster than in floating point",
        "leave the slow ones in float (--set ignored), or use a CPU with VNNI, AMX or a GPU"),
    "memory-bound": (
        "layers bound by memory traffic, not by arithmetic",
        "fuse or remove them, or make activations smaller: INT8 products do not speed them up"),
    "small-layers": (
        "layers so small that the overhead of each layer dominates",
        "raise --batch, use fewer threads a request (--streams), or merge small layers"),
    "parallel-requests": (
        "requests in parallel slow one another down: they share caches and memory bandwidth",
        "use fewer streams, or a smaller batch"),

    "unexplained": (
        "time outside of the layers: the overhead of a request, or the error of the counters",
        "raise --batch against the overhead; --rounds and --max-seconds against the error"),

    # The rest of the time.
    "in-int8": ("layers in INT8 that are faster than in the reference", ""),
    "other-layers": ("layers that run alike in both models", ""),
    "unmatched": ("layers without a counterpart in the other model", ""),
}
# fmt: on
UNEXPLAINED = "unexplained"
"""The cause of the difference that no layer explains."""
NEUTRAL = ("in-int8", "other-layers", "unmatched")
"""Shares of the time that are no cause of a slow model."""
FALLBACKS = (
    "quantizers-not-fused", "weights-zero-points", "quantized-wide", "type-not-int8",
    "float-island", "not-quantized",
)  # fmt: skip
"""Causes of layers of an INT8 model that run in floating point; conversions belong to them."""


@dataclass(frozen=True, slots=True)
class Cause:
    """A share of the times of two models A and B, per request.

    Args:
        id: Key of :data:`CAUSES`.
        a_ms: Time in A.
        b_ms: Time in B.
        added_ms: B - A; the values of all causes add up to the whole difference.  The interval is
            over the rounds.
        stake_ms: What B would save if its layers reached the expected speed-up over those of A, or
            did not exist; an estimate that ranks the causes.
        layers: Names of the layers in B, the slowest first.
    """

    id: str
    sentence: str
    evidence: str
    remedy: str
    a_ms: Interval
    b_ms: Interval
    added_ms: Interval
    stake_ms: float
    layers: tuple[str, ...]

    @property
    def neutral(self) -> bool:
        """Whether the time is no cause of a slow model."""
        return self.id in NEUTRAL

    @property
    def significant(self) -> bool:
        """Whether the times differ beyond the noise of the rounds."""
        return self.added_ms.excludes(0.0)


def make_cause(
    cause_id: str,
    evidence: str,
    a_ms: Sequence[float],
    b_ms: Sequence[float],
    *,
    speedup: float,
    layers: Sequence[str] = (),
    precision: str = "",
) -> Cause:
    """Return the cause of an id from its times in each round.

    ``speedup`` is the speed-up that its layers are expected to reach; infinite if they are not
    needed at all.  ``precision`` is that of the reference.

    Raises:
        KeyError: The id is unknown.
    """
    sentence, remedy = CAUSES[cause_id]
    added = mean_interval([b - a for a, b in zip(a_ms, b_ms, strict=True)])
    a, b = mean_interval(a_ms), mean_interval(b_ms)
    noise = cause_id == UNEXPLAINED and not added.excludes(0.0)
    if noise or cause_id in NEUTRAL:
        stake = 0.0
    elif cause_id in ("conversions", "fusion-lost", "parallel-requests", UNEXPLAINED):
        stake = max(0.0, added.value)
    else:
        stake = max(0.0, b.value - a.value / speedup)
    return Cause(
        cause_id,
        sentence.format(precision=precision),
        evidence,
        remedy,
        a,
        b,
        added,
        stake,
        tuple(layers),
    )


def rank(causes: Sequence[Cause], *, slower: bool) -> tuple[Cause, ...]:
    """Return the causes, the most important first, and then the rest of the time.

    Where B is slower, the time that a cause adds decides; otherwise what is at stake.  Time that no
    layer explains counts only beyond the noise.
    """

    def key(cause: Cause) -> tuple[bool, float, float]:
        noise = cause.id == UNEXPLAINED and not cause.significant
        added = cause.added_ms.value if slower and not noise else 0.0
        return cause.neutral, -max(0.0, added), -cause.stake_ms

    return tuple(sorted(causes, key=key))
