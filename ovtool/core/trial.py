"""A trial: one configuration to measure."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from ovtool.core.shapes import Named, shapes_text

Hint = Literal["latency", "throughput"]
Precision = Literal["default", "f32", "bf16", "f16"]
Percentile = Literal[50, 90, 99]
"""Latency percentiles that limits and objectives support."""
HINTS: tuple[Hint, ...] = get_args(Hint)
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
PERCENTILES: tuple[Percentile, ...] = get_args(Percentile)
KvCachePrecision = Literal["default", "f32", "bf16", "f16", "u8"]
_LATER = ("data_shapes", "rate", "max_latency_ms", "percentile", "pinning", "generation")


@dataclass(frozen=True, slots=True)
class Generation:
    """The requests of a text generator: random prompts, continued greedily to a fixed length.

    Args:
        prompt_length: Tokens of each prompt.
        output_length: Tokens that each request generates.
        concurrency: Requests in flight together; None: the highest within the limits, by a search.
        kv_cache_precision: ``KV_CACHE_PRECISION``, or ``default`` for the default of the device.
        max_ttft_ms: Limit of the search for the median time to the first token.
        max_tpot_ms: Limit of the search for the median time per output token.
    """

    prompt_length: int
    output_length: int
    concurrency: int | None = 1
    kv_cache_precision: str = "default"
    max_ttft_ms: float | None = None
    max_tpot_ms: float | None = None

    @property
    def text(self) -> str:
        """The requests as text, without their lengths."""
        parts = []
        if self.concurrency is not None:
            parts.append(f"concurrency={self.concurrency}")
        if self.max_ttft_ms is not None:
            parts.append(f"ttft<={self.max_ttft_ms:g}ms")
        if self.max_tpot_ms is not None:
            parts.append(f"tpot<={self.max_tpot_ms:g}ms")
        if self.kv_cache_precision != "default":
            parts.append(f"kv={self.kv_cache_precision}")
        return " ".join(parts)


@dataclass(frozen=True, slots=True)
class Trial:
    """Variant x device x batch x load x precision.

    Args:
        variant: Id of the variant: the hash of its files, so a changed model is another trial.
        variant_name: Name of the variant; not part of the trial's id.
        device: ``CPU``, ``GPU.0``, ``NPU`` ...
        batch: Samples in one inference request.
        hint: Performance hint; None with explicit streams, requests or threads.
        streams: ``NUM_STREAMS``; None: by the hint.
        requests: Requests in flight; None: the device's optimal number.
        threads: ``INFERENCE_NUM_THREADS``; None: by the device.
        precision: ``INFERENCE_PRECISION_HINT``, or ``default`` for the default of the device.
        shapes: (input name, dimensions) of the compiled model, instead of the model's shapes; -1 is
            the batch, and with ``data_shapes`` an open dimension.
        data_shapes: (input name, dimensions) of inference with a model that is compiled with open
            dimensions; -1 is the batch.  Empty: all dimensions of the compiled model are fixed.
        rate: Arrival rate of an open loop in requests/s, with Poisson gaps; None: closed loop.
        max_latency_ms: Limit of a search for the highest arrival rate.
        percentile: Latency percentile of ``max_latency_ms``.
        pinning: ``ENABLE_CPU_PINNING``: whether threads are bound to processors; None: by the
            device.
        generation: Prompts and outputs of a text generator; None for other models.
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
    generation: Generation | None = None

    @property
    def open_loop(self) -> bool:
        """Whether requests arrive independently of completions."""
        return self.rate is not None or self.max_latency_ms is not None

    @property
    def id(self) -> str:
        """Hash of the content: the same trial has the same id on every machine."""
        return self._hash("variant_name")

    @property
    def group(self) -> str:
        """Hash without variant and precision: the trials of a group are compared by rounds."""
        return self._hash("variant_name", "variant", "precision")

    @property
    def configuration(self) -> tuple[object, ...]:
        """Key of the quality: everything except the batch and the load."""
        cache = None if self.generation is None else self.generation.kv_cache_precision
        return self.variant, self.device, self.precision, self.shapes, self.data_shapes, cache

    @property
    def load(self) -> str:
        """The load as text: the hint or the explicit settings, and the arrivals."""
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
        if self.generation is not None and self.generation.text:
            parts.append(self.generation.text)
        return " ".join(parts)

    @property
    def label(self) -> str:
        """The trial as one line of text."""
        precision = "" if self.precision == "default" else f" {self.precision}"
        shapes = f" {shapes_text(self.shapes)}" if self.shapes else ""
        data = f" data {shapes_text(self.data_shapes)}" if self.data_shapes else ""
        name = f"{self.variant_name}{precision} {self.device}"
        if self.generation is not None:
            lengths = f"{self.generation.prompt_length}+{self.generation.output_length} tokens"
            return f"{name} {lengths} {self.load}"
        name += f" batch {self.batch}"
        return f"{name} {self.load}{shapes}{data}"

    def to_json(self) -> dict[str, Any]:
        """Return the trial as JSON types."""
        return asdict(self)

    def _hash(self, *skipped: str) -> str:
        """Hash the content; later fields count only if they are set, so older ids stay valid."""
        # Not asdict of the whole trial, which takes longer than the hash.
        content: dict[str, Any] = {
            each.name: value
            for each in fields(self)
            if each.name not in skipped
            and not ((value := getattr(self, each.name)) in (None, ()) and each.name in _LATER)
        }
        if self.generation is not None:
            content["generation"] = asdict(self.generation)
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
