"""The difference in speed between two models as an answer, its causes, and the rest."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from ovtool.core import units
from ovtool.core.statistics import Interval
from ovtool.core.tabular import Tabular, interval_cells

if TYPE_CHECKING:
    from ovtool.core.notes import Note
    from ovtool.profiling.causes import Cause
    from ovtool.profiling.layer_matching import LayerPair

SMALL_GAIN = 1.05
"""Ratio of the latencies up to which B is not called slower or faster than A."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two models; times are in ms per request, unknown ones are None.

    ``latency_ms`` is the mean without counters.  ``load_ms`` is the mean time of a request while
    all requests are in flight, where there are several.
    """

    variant: str
    executed_precision: str | None
    latency_ms: Interval
    layers_ms: Interval
    layers: int
    requests: int
    load_ms: Interval | None = None

    @property
    def compared_ms(self) -> Interval:
        """The time that is explained: under load where there are several requests."""
        return self.latency_ms if self.load_ms is None else self.load_ms


@dataclass(frozen=True, slots=True, repr=False)
class Explanation(Tabular):
    """Why model B is as fast or slow as it is, compared with model A.

    ``ratio`` is the time of B / that of A, paired by round.  ``expected_x`` is the speed-up over
    f32 that INT8 layers are expected to reach on the device.  The values of ``added_ms`` of all
    ``causes`` add up to ``difference_ms``.
    """

    a: Side
    b: Side
    device: str
    batch: int
    load: str
    precision: str
    rounds: int
    ratio: Interval
    difference_ms: Interval
    causes: tuple[Cause, ...]
    expected_x: float
    calibrated: bool
    pairs: tuple[LayerPair, ...]
    notes: tuple[Note, ...] = ()

    def _title(self) -> str:
        return self.headline

    def _rows(self) -> list[dict[str, Any]]:
        return [
            {
                "cause": cause.id,
                "sentence": cause.sentence,
                **interval_cells("added_ms", cause.added_ms),
                **interval_cells("a_ms", cause.a_ms),
                **interval_cells("b_ms", cause.b_ms),
                "evidence": cause.evidence,
                "remedy": cause.remedy,
            }
            for cause in self.causes
        ]

    @property
    def significant(self) -> bool:
        """Whether the times of A and B differ beyond the noise of the rounds."""
        return self.ratio.excludes(1.0) and self.difference_ms.excludes(0.0)

    @property
    def slower(self) -> bool:
        """Whether B is slower, beyond noise and :data:`SMALL_GAIN`."""
        return self.significant and self.ratio.value > SMALL_GAIN

    @property
    def faster(self) -> bool:
        """Whether B is faster, beyond noise and :data:`SMALL_GAIN`."""
        return self.significant and 1 / self.ratio.value > SMALL_GAIN

    @property
    def headline(self) -> str:
        """The answer in one sentence."""
        ratio = self.ratio
        if self.faster:
            inverse = Interval(1 / ratio.value, 1 / ratio.high, 1 / ratio.low)
            verdict = f"B is {_times(inverse)} faster than A"
        elif self.slower:
            verdict = f"B is {_times(ratio)} slower than A"
        else:
            verdict = f"B gains nothing: {_times(ratio)} the time of A"
            if not self.significant:
                verdict += ", no significant difference"
        top = next((cause for cause in self.causes if not cause.neutral), None)
        if top is None or (self.faster and not top.stake_ms):
            return verdict
        total, added = self.difference_ms.value, top.added_ms.value
        if self.slower and top.significant and added > 0:
            net = "" if added <= total else " net"
            share = f"{units.text(added)} of {units.text(total)} ms{net}"
        else:
            whole = units.text(self.b.compared_ms.value)
            share = f"{units.text(top.b_ms.value)} of {whole} ms in B"
        title = "Largest cost in B" if self.faster else "Main cause"
        return f"{verdict}. {title}, {share}: {top.sentence}"

    def to_json(self) -> dict[str, Any]:
        """Return the explanation as JSON types."""
        rows = [
            asdict(cause) | {"neutral": cause.neutral, "significant": cause.significant}
            for cause in self.causes
        ]
        document = asdict(replace(self, pairs=(), causes=()))
        verdict = "slower" if self.slower else "faster" if self.faster else "same"
        pairs = [_pair_row(pair) for pair in self.pairs]
        head = {"answer": self.headline, "verdict": verdict}
        return head | document | {"causes": rows, "pairs": pairs}


def _times(ratio: Interval) -> str:
    return f"{units.interval_text(ratio.value, ratio.low, ratio.high)}x"


def _pair_row(pair: LayerPair) -> dict[str, Any]:
    sides = {
        name: None
        if timed is None
        else {
            "name": timed.layer.name,
            "type": timed.layer.type,
            "precision": timed.layer.precision,
            "primitive": timed.layer.primitive,
            "time_ms": timed.mean_ms,
        }
        for name, timed in (("a", pair.a), ("b", pair.b))
    }
    return {"layer": pair.label, "cause": pair.cause, "reason": pair.reason, **sides}
