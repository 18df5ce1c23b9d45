"""What the answers of a measuring process mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ovtool.benchmark.session import Job, Opened, RawRound, Spent, TrialFailedError
from ovtool.benchmark.windows import Stretch
from ovtool.core import device_names, units
from ovtool.core.measurement import Window
from ovtool.core.notes import Note, make_note
from ovtool.devices import plugin_errors
from ovtool.graph import runtime_layers as layers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ATTRIBUTED = 0.995
"""Share of a model's FLOPs below which it is said that some could not be given to a layer."""


@dataclass(frozen=True, slots=True)
class WorkerProfile:
    """What profiling a model came to.

    Args:
        layers: Those that ran, with their times.
        latency_ms: Mean of one request without counters.
        latency_counted_ms: The same with counters.
        inferences: Counted requests.
        flops: Of one request; None where they cannot be told.
        attributed: Share of the known FLOPs that some layer is known to do; None without any.
        others_cpu_pct: Share of the machine that others took meanwhile; None where not told.
    """

    layers: tuple[layers.Layer, ...]
    latency_ms: float
    latency_counted_ms: float
    inferences: int
    flops: int | None
    attributed: float | None
    others_cpu_pct: float | None


@dataclass(frozen=True, slots=True)
class Placement:
    """Where it ran; ``ran_on`` names the devices, None where they are not told."""

    ran_on: str | None
    notes: tuple[Note, ...] = ()


def determine_placement(
    device: str, told: Sequence[str], layers: Mapping[str, int] | None = None
) -> Placement:
    """Return what a trial of ``device`` ran on.

    Args:
        device: What was asked for.
        told: ``EXECUTION_DEVICES`` of the compiled model; AUTO puts the device that stands in for
            another while that compiles into parentheses.
        layers: Operations by device, where they are spread over several.

    Raises:
        TrialFailedError: Another device did the work of one that was named.
    """
    ran_on = [name.strip("() ") for name in told]
    if not ran_on:
        return Placement(None)
    listed = ", ".join(ran_on)
    if not device_names.is_virtual(device):
        if not all(device_names.same_device(device, name) for name in ran_on):
            raise TrialFailedError(f"it ran on {listed}: that is no figure of {device}")
        return Placement(listed)
    notes = [] if layers is None else [_spread_note(layers)]
    absent = device_names.not_behind(device, ran_on)
    if absent:
        notes.append(
            make_note("device-fallback", f"{device} ran on {listed}, not on {' or '.join(absent)}")
        )
    return Placement(listed, tuple(notes))


def _spread_note(layers: Mapping[str, int]) -> Note:
    shown = ", ".join(f"{name} {count}" for name, count in layers.items())
    return make_note("placement", shown)


def parse_opened(answer: Mapping[str, Any], job: Job) -> Opened:
    """Read what opening a model told.

    Raises:
        KeyError: Something is missing; or ValueError, TypeError: it is of another form.
        TrialFailedError: Another device, or another precision, took the place of what was asked.
    """
    where = determine_placement(
        job.trial.device, answer["execution_devices"], answer.get("placement")
    )
    _check_precision(job.trial.precision, answer["precision"])
    figures = {
        **{name: answer[name] for name in ("streams", "requests", "threads")},
        "pinned": answer["pinned"],
        "usable_cpus": answer["usable_cpus"],
        "quota_cpus": answer["quota_cpus"],
    }
    layers_told, flops = answer["layers"], answer["flops"]
    notes = [*job.notes, *where.notes, *_layer_notes(layers_told)]
    if flops is None:
        notes.append(make_note("no-flops"))
    if told := answer.get("inputs"):
        shown = ", ".join(f"{name}: {values}" for name, values in told.items())
        notes.append(make_note("random-inputs", shown))
    if not answer.get("steady", True):
        notes.append(make_note("warm-up-unsteady", f"{answer['warm_up_s']:.1f} s of warm-up"))
    known = {n: float(value) for n, value in figures.items() if value is not None}
    return Opened(
        figures=known | _arithmetic(layers_told, flops, job.trial.batch),
        executed_precision=name_executed_precision(
            answer["precision"], layers_told and layers_told["layer_share"]
        ),
        properties=job.properties,
        notes=tuple(notes),
        compile_ms=float(answer["compile_ms"]),
        first_inference_ms=float(answer["first_inference_ms"]),
        loaded_from_cache=answer["loaded_from_cache"],
        ran_on=where.ran_on,
    )


def _check_precision(asked: str, told: str | None) -> None:
    """Refuse figures of a precision that nobody asked for."""
    if asked != "default" and told is not None and told != asked:
        raise TrialFailedError(
            f"asked for {asked}, but the device would run in {told}: ask for that, or for default"
        )


def parse_round(answer: Mapping[str, Any]) -> RawRound:
    """Read a round; it raises as :func:`parse_opened` does."""
    spent = answer.get("energy")
    return RawRound(
        windows=tuple(Window(**w) for w in answer["windows"]),
        latencies_ms=tuple(tuple(w) for w in answer["latencies_ms"]),
        stretches=tuple(Stretch(*s) for s in answer["stretches"]),
        energy=Spent(**spent) if spent else None,
        energy_unknown=answer.get("energy_unknown", ""),
        peak_rss_mib=answer["peak_rss_mib"],
        rss_growth_mib=answer["rss_growth_mib"],
    )


def parse_profile(answer: Mapping[str, Any]) -> WorkerProfile:
    """Read a profile; it raises as :func:`parse_opened` does."""
    return WorkerProfile(
        **dict(answer) | {"layers": tuple(map(layers.from_json, answer["layers"]))}
    )


def parse_layers(answer: Mapping[str, Any]) -> tuple[layers.Layer, ...] | None:
    """Read the executed layers; it raises as :func:`parse_opened` does."""
    told = answer["layers"]
    return None if told is None else tuple(map(layers.from_json, told))


def _layer_notes(told: Mapping[str, Any] | None) -> list[Note]:
    """Say what the layers execute in, and what of an INT8 model does not run in INT8."""
    if told is None:
        return [make_note("no-runtime-graph")]
    if not told["compute_layers"]:
        return []
    by_flops = told["flops_share"]
    shown = units.percentages(by_flops or told["layer_share"])
    notes = [make_note("executed-layers", f"{shown} of {'FLOPs' if by_flops else 'layers'}")]
    back, share = told["fallbacks"], told["fallback_share"]
    if back:
        count = f"{len(back)} of {told['compute_layers']} layers"
        flops = "" if share is None else f", {units.text(100 * share)} % of FLOPs"
        more = ", ..." if len(back) > 3 else ""
        notes.append(make_note("int8-fallback", f"{count}{flops}: {', '.join(back[:3])}{more}"))
    if told["attributed"] is not None and told["attributed"] < ATTRIBUTED:
        notes.append(
            make_note("flops-unattributed", f"{100 * told['attributed']:.0f} % of FLOPs mapped")
        )
    return notes


def _arithmetic(told: Mapping[str, Any] | None, flops: int | None, batch: int) -> dict[str, float]:
    """Return the figures of the arithmetic: per sample, and by precision where it is shown."""
    found = {} if flops is None else {"gflops": flops / 1e9 / batch}
    by_flops = told["flops_share"] if told is not None else {}
    if by_flops:
        found |= {
            f"flops_{name}_pct": 100.0 * by_flops.get(name, 0.0)
            for name in ("i8", "bf16", "f16", "f32")
        }
    return found


def name_executed_precision(hint: str | None, shares: Mapping[str, float] | None) -> str | None:
    """Name what a compiled model runs in: its precision, with ``i8+`` where layers run in INT8.

    Args:
        hint: ``INFERENCE_PRECISION_HINT`` as read back, or None.
        shares: Of the computing layers by executed precision, or None where the device does not
            show.
    """
    if hint and (shares or {}).get("i8"):
        return f"i8+{hint}"
    return hint


def parse_blob_mib(reply: Mapping[str, Any]) -> float | None:
    """Read the size of a saved cache; raises as :func:`parse_opened` does."""
    blob_mib = reply["blob_mib"]
    return None if blob_mib is None else float(blob_mib)


def explain_error(error: str) -> str:
    """Return a plugin's exception on one line: meaning and remedy where the error is known."""
    known = plugin_errors.explain(error)
    return plugin_errors.condense(error) if known is None else known.line
