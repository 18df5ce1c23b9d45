"""A trial: one thing to measure, written down before it is measured."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Hint = Literal["latency", "throughput"]
PRECISIONS = ("default", "f32", "bf16", "f16")
_LATER = ("rate", "max_latency_ms", "percentile")


@dataclass(frozen=True, slots=True)
class Trial:
    """Variant x device x batch x load x precision.

    Args:
        variant: Id of the variant (the hash of its files), so a changed model is another trial.
        variant_name: Its name, for people; no part of the id.
        device: ``CPU``, ``GPU.0``, ``NPU`` ...
        batch: Samples in one inference request.
        hint: OpenVINO's performance hint; None when streams and threads are given by hand.
        streams: ``NUM_STREAMS``; None leaves it to the hint.
        requests: Requests in flight; None takes the device's optimal number.
        threads: ``INFERENCE_NUM_THREADS``; None leaves it to the device.
        precision: ``INFERENCE_PRECISION_HINT``, or ``default`` for the device's own.
        shapes: (input name, dimensions) of inputs whose open dimensions other than the batch are
            fixed; -1 stays for the batch.
        rate: Requests that arrive a second, with Poisson gaps; None keeps every request busy.
        max_latency_ms: Look for the highest such rate that keeps the percentile within this.
        percentile: Of the latency, that ``max_latency_ms`` is about.
    """

    variant: str
    variant_name: str = field(compare=False)
    device: str
    batch: int
    hint: Hint | None = "latency"
    streams: int | None = None
    requests: int | None = None
    threads: int | None = None
    precision: str = "default"
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()
    rate: float | None = None
    max_latency_ms: float | None = None
    percentile: int | None = None

    @property
    def open_loop(self) -> bool:
        """Whether requests arrive on their own, whether or not the ones before are done."""
        return self.rate is not None or self.max_latency_ms is not None

    @property
    def id(self) -> str:
        """Hash of its content: the same trial has the same id on every machine."""
        return self._hash("variant_name")

    @property
    def group(self) -> str:
        """Hash of all but variant and precision: trials of one group are compared by rounds."""
        return self._hash("variant_name", "variant", "precision")

    def _hash(self, *left_out: str) -> str:
        """Hash the content; a field that came later counts only where it says something."""
        content = {
            name: value
            for name, value in asdict(self).items()
            if name not in left_out and not (name in _LATER and value is None)
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def load(self) -> str:
        """The load in words: the hint, or what was set by hand, and how requests arrive."""
        parts: list[str] = [self.hint] if self.hint else []
        for name in ("streams", "requests", "threads"):
            value = getattr(self, name)
            if value is not None:
                parts.append(f"{name}={value}")
        if self.rate is not None:
            parts.append(f"rate={self.rate:g}/s")
        if self.max_latency_ms is not None:
            parts.append(f"p{self.percentile}<={self.max_latency_ms:g}ms")
        return " ".join(parts)

    @property
    def label(self) -> str:
        """One line for people."""
        precision = "" if self.precision == "default" else f" {self.precision}"
        return f"{self.variant_name}{precision} {self.device} batch {self.batch} {self.load}"

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return asdict(self)
