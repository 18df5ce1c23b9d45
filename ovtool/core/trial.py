"""A trial: one thing to measure, written down before it is measured."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from ovtool.core.shapes import Named, shapes_text

Hint = Literal["latency", "throughput"]
Precision = Literal["default", "f32", "bf16", "f16"]
Percentile = Literal[50, 90, 99]
"""Latency percentiles that limits and objectives support."""
HINTS: tuple[Hint, ...] = get_args(Hint)
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
PERCENTILES: tuple[Percentile, ...] = get_args(Percentile)
_LATER = ("data_shapes", "rate", "max_latency_ms", "percentile", "pinning")


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
        shapes: (input name, dimensions) that the model is compiled with, instead of its own; -1
            stays for the batch, and with ``data_shapes`` for what is left open.
        data_shapes: (input name, dimensions) of what is inferred, where the model is compiled with
            open dimensions; -1 stays for the batch.  Empty: the model's dimensions are all fixed.
        rate: Requests that arrive a second, with Poisson gaps; None keeps every request busy.
        max_latency_ms: Look for the highest such rate that keeps the percentile within this.
        percentile: Of the latency, that ``max_latency_ms`` is about.
        pinning: ``ENABLE_CPU_PINNING``: whether threads are bound to processors; None leaves it to
            the device.
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
    shapes: Named = ()
    data_shapes: Named = ()
    rate: float | None = None
    max_latency_ms: float | None = None
    percentile: int | None = None
    pinning: bool | None = None

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

    @property
    def configuration(self) -> tuple[object, ...]:
        """What its quality belongs to: all but the batch and the load."""
        return self.variant, self.device, self.precision, self.shapes, self.data_shapes

    @property
    def load(self) -> str:
        """The load in words: the hint, or what was set by hand, and how requests arrive."""
        parts: list[str] = [self.hint] if self.hint else []
        for name in ("streams", "requests", "threads"):
            value = getattr(self, name)
            if value is not None:
                parts.append(f"{name}={value}")
        if self.pinning is not None:
            parts.append("pinned" if self.pinning else "unpinned")
        if self.rate is not None:
            parts.append(f"rate={self.rate:g}/s")
        if self.max_latency_ms is not None:
            parts.append(f"p{self.percentile}<={self.max_latency_ms:g}ms")
        return " ".join(parts)

    @property
    def label(self) -> str:
        """One line for people."""
        precision = "" if self.precision == "default" else f" {self.precision}"
        shapes = f" {shapes_text(self.shapes)}" if self.shapes else ""
        data = f" data {shapes_text(self.data_shapes)}" if self.data_shapes else ""
        what = f"{self.variant_name}{precision} {self.device} batch {self.batch}"
        return f"{what} {self.load}{shapes}{data}"

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return asdict(self)

    def _hash(self, *skipped: str) -> str:
        """Hash the content; fields that came later count only where they say something.

        So journals from before there were such fields are still found.
        """
        content = {
            name: value
            for name, value in asdict(self).items()
            if name not in skipped and not (name in _LATER and value in (None, ()))
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
