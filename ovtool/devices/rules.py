"""What each kind of device demands of a trial, and is told, as data: one row a kind.

What a trial asks for and a device cannot do is a reason (:func:`refusal`), never left to a crash
and never replaced by something else in silence.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ovtool.core.device_names import is_virtual, kind_of, members
from ovtool.graph.reference_run import EXACT_PROPERTIES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ovtool.core.trial import Trial

BY_HAND = ("streams", "threads", "pinning")
"""Settings of a trial that not every kind takes; requests in flight are the tool's own affair."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What one kind of device demands.

    Args:
        always: Properties that every trial is compiled with.
        precisions: That may be asked for; ``default`` always may.
        by_hand: Those of :data:`BY_HAND` that it takes.
        fixed_shapes: Whether every dimension must be fixed before compiling.
        exact: Properties of its most accurate mode.
    """

    always: Mapping[str, str] = field(default_factory=dict)
    precisions: tuple[str, ...] = ()
    by_hand: tuple[str, ...] = ()
    fixed_shapes: bool = False
    exact: Mapping[str, str] = field(default_factory=dict)


RULES: Mapping[str, Rules] = {
    "CPU": Rules(precisions=("f32", "bf16", "f16"), by_hand=BY_HAND, exact=EXACT_PROPERTIES),
    # Batches are swept by us: a plugin that batches on its own would measure something else.
    "GPU": Rules(
        always={"ALLOW_AUTO_BATCHING": "NO"},
        precisions=("f32", "f16"),
        by_hand=("streams", "pinning"),
        exact={"INFERENCE_PRECISION_HINT": "f32", "EXECUTION_MODE_HINT": "ACCURACY"},
    ),
    # The driver's own cache would turn a cold compile into a load.  NPU_USE_NPUW is never set: with
    # it a model compiles without an NPU, and EXECUTION_DEVICES still says NPU.
    "NPU": Rules(
        always={"NPU_BYPASS_UMD_CACHING": "YES"},
        precisions=("f16",),
        by_hand=("streams",),
        fixed_shapes=True,
        exact={"INFERENCE_PRECISION_HINT": "f16", "EXECUTION_MODE_HINT": "ACCURACY"},
    ),
    # One device must stand behind a figure, not first the CPU while another compiles.  With
    # ENABLE_RUNTIME_FALLBACK off too, AUTO:CPU no longer compiles: that is watched instead.
    "AUTO": Rules(always={"ENABLE_STARTUP_FALLBACK": "NO", "ALLOW_AUTO_BATCHING": "NO"}),
    "MULTI": Rules(always={"ALLOW_AUTO_BATCHING": "NO"}),
    "HETERO": Rules(always={"ALLOW_AUTO_BATCHING": "NO"}),
    "BATCH": Rules(),
}


def rules_of(kind: str) -> Rules:
    """Return the rules of a kind; none of one that OpenVINO is left to refuse itself."""
    return RULES.get(kind, Rules())


def kinds_behind(device: str) -> tuple[str, ...]:
    """Return the kinds that a trial's work may go to: its own, or those of a virtual one's list."""
    if not is_virtual(device):
        return (kind_of(device),)
    return tuple(dict.fromkeys(kind_of(member) for member in members(device)))


def needs_fixed_shapes(device: str) -> bool:
    """Whether a device, or one that it may hand the work to, takes fixed shapes only."""
    return any(rules_of(kind).fixed_shapes for kind in kinds_behind(device))


def refusal(trial: Trial) -> str | None:
    """Return why a device cannot do what a trial asks for, with what it can; None where it can."""
    for kind in kinds_behind(trial.device):
        rules = rules_of(kind)
        of = kind if is_virtual(trial.device) else trial.device
        if trial.precision not in ("default", *rules.precisions):
            can = " and ".join(rules.precisions)
            return f"{of} does not run in {trial.precision}: ask for default or {can}"
        for name in BY_HAND:
            if getattr(trial, name) is not None and name not in rules.by_hand:
                takes = " and ".join(rules.by_hand) or "hints alone"
                return f"{of} takes no {name} by hand: it takes {takes}"
    return None


def properties(trial: Trial) -> dict[str, str]:
    """Return the OpenVINO properties that a trial is compiled with."""
    kind = kind_of(trial.device)
    found = dict(rules_of(kind).always)
    if "NPU" in kinds_behind(trial.device) and kind != "NPU":
        found |= _to_the_npu(trial.device)
    if trial.hint:
        found["PERFORMANCE_HINT"] = trial.hint.upper()
    return found | _asked(trial)


def _to_the_npu(device: str) -> dict[str, str]:
    """Return the NPU's own properties in the form in which a virtual device passes them on."""
    own = RULES["NPU"].always
    if kind_of(device) == "BATCH":
        return dict(own)
    listed = ",".join(f"{name}:{value}" for name, value in own.items())
    return {"DEVICE_PROPERTIES": f"{{NPU:{{{listed}}}}}"}


def _asked(trial: Trial) -> dict[str, str]:
    found: dict[str, str] = {}
    if trial.streams is not None:
        found["NUM_STREAMS"] = str(trial.streams)
    if trial.threads is not None:
        found["INFERENCE_NUM_THREADS"] = str(trial.threads)
    if trial.pinning is not None:
        found["ENABLE_CPU_PINNING"] = "YES" if trial.pinning else "NO"
    if trial.precision != "default":
        found["INFERENCE_PRECISION_HINT"] = trial.precision
    return found


def exact_properties(device: str) -> dict[str, str]:
    """Return the properties of a device's most accurate mode; none for a virtual device."""
    return dict(rules_of(kind_of(device)).exact)
