"""Reads the replies of a worker: the compiled model, rounds, profiles, and plugin errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ovtool.benchmark.session import (
    CompiledInfo,
    EnergyUse,
    Job,
    RawRound,
    Stretch,
    TextRequest,
    TrialFailedError,
)
from ovtool.core import device_names, units
from ovtool.core.measurement import Window
from ovtool.core.notes import Note, make_note
from ovtool.graph import runtime

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ATTRIBUTED = 0.995
"""Share of a model's FLOPs that layers must account for; a note reports less."""


@dataclass(frozen=True, slots=True)
class WorkerProfile:
    """The profile of a compiled model; None is unknown.

    Args:
        latency_ms: Mean latency of a request; ``latency_counted_ms`` with performance counters.
        inferences: Number of requests with counters.
        attributed: Share of the FLOPs that layers account for.
        others_cpu_pct: CPU time of other processes as a share of the machine's.
    """

    layers: tuple[runtime.Layer, ...]
    latency_ms: float
    latency_counted_ms: float
    inferences: int
    flops: int | None
    attributed: float | None
    others_cpu_pct: float | None


@dataclass(frozen=True, slots=True)
class Placement:
    """The execution devices of a trial; ``ran_on`` is None where unknown."""

    ran_on: str | None
    notes: tuple[Note, ...] = ()


def determine_placement(
    device: str, execution_devices: Sequence[str], operations: Mapping[str, int] | None = None
) -> Placement:
    """Return the execution devices of a trial.

    AUTO puts a temporary device in parentheses in ``execution_devices``.  ``operations`` has the
    number of operations by device, where several devices share the model.

    Raises:
        TrialFailedError: Another device executes the model.
    """
    ran_on = [name.strip("() ") for name in execution_devices]
    if not ran_on:
        return Placement(None)
    listed = ", ".join(ran_on)
    if not device_names.is_virtual(device):
        if not all(device_names.same_device(device, name) for name in ran_on):
            raise TrialFailedError(f"the model ran on {listed}, not on {device}")
        return Placement(listed)
    notes = []
    if operations is not None:
        shown = ", ".join(f"{name} {count}" for name, count in operations.items())
        notes.append(make_note("placement", shown))
    absent = device_names.find_idle_members(device, ran_on)
    if absent:
        evidence = f"{device} ran on {listed}, not on {' or '.join(absent)}"
        notes.append(make_note("device-fallback", evidence))
    return Placement(listed, tuple(notes))


def parse_opened(reply: Mapping[str, Any], job: Job) -> CompiledInfo:
    """Read the reply of ``open``.

    Raises:
        KeyError: A field is missing; ValueError or TypeError for a field of another form.
        TrialFailedError: The device or the precision is not the requested one.
    """
    devices, operations = reply["execution_devices"], reply.get("placement")
    placement = determine_placement(job.trial.device, devices, operations)
    _check_precision(job.trial.precision, reply["precision"])
    layer_summary, flops = reply["layers"], reply["flops"]
    shares = layer_summary and (layer_summary["flops_share"] or layer_summary["layer_share"])
    notes = [*job.notes, *placement.notes, *_layer_notes(layer_summary)]
    if flops is None:
        notes.append(make_note("no-flops"))
    if inputs := reply.get("inputs"):
        shown = ", ".join(f"{name}: {values}" for name, values in inputs.items())
        notes.append(make_note("random-inputs", shown))
    if state := reply.get("state"):
        notes.append(_state_note(state["count"], state["reset_ms"]))
    if not reply.get("steady", True):
        notes.append(make_note("warm-up-unsteady", f"{reply['warm_up_s']:.1f} s of warm-up"))
    names = ("streams", "requests", "threads", "pinned", "usable_cpus", "quota_cpus")
    known = {name: float(reply[name]) for name in names if reply[name] is not None}
    return CompiledInfo(
        figures=known | _arithmetic(layer_summary, flops, job.trial.batch),
        executed_precision=name_executed_precision(reply["precision"], shares),
        properties=job.properties,
        notes=tuple(notes),
        compile_ms=float(reply["compile_ms"]),
        first_inference_ms=float(reply["first_inference_ms"]),
        loaded_from_cache=reply["loaded_from_cache"],
        ran_on=placement.ran_on,
    )


def parse_opened_text(reply: Mapping[str, Any], job: Job) -> CompiledInfo:
    """Read the reply of ``open`` of a text generator; raises as :func:`parse_opened` does."""
    generation = job.trial.generation
    assert generation is not None  # noqa: S101 - the worker is of a text generator
    precision, cache = reply["INFERENCE_PRECISION_HINT"], reply["KV_CACHE_PRECISION"]
    _check_precision(job.trial.precision, precision)
    _check_precision(generation.kv_cache_precision, cache, "KV cache precision")
    prompts = f"{generation.prompt_length} of {reply['ordinary_tokens']} ordinary tokens"
    notes = [*job.notes, make_note("text-pipeline", reply["pipeline"])]
    notes.append(make_note("random-prompts", prompts))
    if cache is not None and generation.kv_cache_precision == "default":
        notes.append(make_note("kv-cache-default", f"{cache}"))
    names = {"usable_cpus": "usable_cpus", "quota_cpus": "quota_cpus"}
    names["threads"] = "INFERENCE_NUM_THREADS"
    known = {n: float(reply[key]) for n, key in names.items() if reply[key] is not None}
    return CompiledInfo(
        figures=known,
        executed_precision=precision,
        properties=job.properties,
        notes=tuple(notes),
        compile_ms=float(reply["compile_ms"]),
        first_inference_ms=float(reply["first_inference_ms"]),
    )


def _state_note(count: int, reset_ms: float | None) -> Note:
    states = units.count_text(count, "state")
    if reset_ms is None:
        return make_note("state-not-reset", states)
    return make_note("state-reset", f"{states}, {units.text(reset_ms)} ms a reset")


def _check_precision(requested: str, actual: str | None, what: str = "precision") -> None:
    if requested != "default" and actual is not None and actual != requested:
        raise TrialFailedError(
            f"requested {what} {requested}, but the device runs {actual};"
            f" choose {actual} or default"
        )


def parse_round(reply: Mapping[str, Any]) -> RawRound:
    """Read the reply of ``measure``; raises as :func:`parse_opened` does."""
    energy = reply.get("energy")
    return RawRound(
        windows=tuple(Window(**w) for w in reply["windows"]),
        latencies_ms=tuple(tuple(w) for w in reply["latencies_ms"]),
        stretches=tuple(Stretch(*s) for s in reply["stretches"]),
        energy=EnergyUse(**energy) if energy else None,
        energy_unknown=reply.get("energy_unknown", ""),
        peak_rss_mib=reply["peak_rss_mib"],
        rss_growth_mib=reply["rss_growth_mib"],
        texts=tuple(
            tuple(TextRequest(float(at), tuple(map(float, tokens))) for at, tokens in window)
            for window in reply.get("texts", ())
        ),
        tokens=tuple(map(int, reply.get("tokens", ()))),
        phases_mib=reply.get("phases_mib", {}),
    )


def parse_profile(reply: Mapping[str, Any]) -> WorkerProfile:
    """Read the reply of ``profile``; raises as :func:`parse_opened` does."""
    layers = tuple(map(runtime.layer_from_json, reply["layers"]))
    return WorkerProfile(**dict(reply) | {"layers": layers})


def parse_layers(reply: Mapping[str, Any]) -> tuple[runtime.Layer, ...] | None:
    """Read the reply of ``layers``; raises as :func:`parse_opened` does."""
    executed = reply["layers"]
    return None if executed is None else tuple(map(runtime.layer_from_json, executed))


def _layer_notes(summary: Mapping[str, Any] | None) -> list[Note]:
    """Return notes on the precision of the layers, and on layers of an INT8 model without INT8."""
    if summary is None:
        return [make_note("no-runtime-graph")]
    if not summary["compute_layers"]:
        return []
    by_flops = summary["flops_share"]
    shown = units.percentages(by_flops or summary["layer_share"])
    notes = [make_note("executed-layers", f"{shown} of {'FLOPs' if by_flops else 'layers'}")]
    fallbacks, share = summary["fallbacks"], summary["fallback_share"]
    if fallbacks:
        count = f"{len(fallbacks)} of {summary['compute_layers']} layers"
        flops = "" if share is None else f", {units.text(100 * share)}% of FLOPs"
        listed = ", ".join(fallbacks[:3]) + (", ..." if len(fallbacks) > 3 else "")
        notes.append(make_note("int8-fallback", f"{count}{flops}: {listed}"))
    mapped = summary["attributed"]
    if mapped is not None and mapped < ATTRIBUTED:
        notes.append(make_note("flops-unattributed", f"{100 * mapped:.0f}% of FLOPs mapped"))
    return notes


def _arithmetic(
    summary: Mapping[str, Any] | None, flops: int | None, batch: int
) -> dict[str, float]:
    """Return the FLOPs per sample, and their shares by precision where known."""
    figures = {} if flops is None else {"gflops": flops / 1e9 / batch}
    by_flops = summary["flops_share"] if summary is not None else {}
    if by_flops:
        figures |= {
            f"flops_{name}_pct": 100.0 * by_flops.get(name, 0.0)
            for name in ("i8", "bf16", "f16", "f32")
        }
    return figures


def name_executed_precision(hint: str | None, shares: Mapping[str, float] | None) -> str | None:
    """Return the precision that the layers with arithmetic run in, as the device executes them.

    ``i8`` comes first if any layer runs in it, followed by the other precision with the largest
    share.  Without known shares it is ``hint``, the inference precision that the device reports.
    """
    known = {name: share for name, share in (shares or {}).items() if share and name != "unknown"}
    others = sorted(known.keys() - {"i8"}, key=lambda name: -known[name])[:1]
    return "+".join([*(["i8"] if "i8" in known else []), *others]) or hint


def parse_blob_mib(reply: Mapping[str, Any]) -> float | None:
    """Read the size of a saved cache; raises as :func:`parse_opened` does."""
    blob_mib = reply["blob_mib"]
    return None if blob_mib is None else float(blob_mib)
