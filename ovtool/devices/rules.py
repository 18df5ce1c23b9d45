"""What each kind of device is told for a trial, as OpenVINO properties."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ovtool.trial import Trial

# Batches are swept by us: a plugin that batches on its own would measure something else.
# The NPU driver's own cache would turn a cold compile into a load.
_ALWAYS = {
    "GPU": {"ALLOW_AUTO_BATCHING": "NO"},
    "NPU": {"NPU_BYPASS_UMD_CACHING": "YES"},
}


def refuses_open_dimensions(device: str) -> str | None:
    """Return why a device takes no model with open dimensions; None where it takes them."""
    if device.partition(".")[0] == "NPU":
        return "the NPU compiles for fixed shapes only: give --shape and leave --data-shape out"
    return None


def properties(trial: Trial) -> dict[str, str]:
    """Return the OpenVINO properties that a trial is compiled with."""
    kind = trial.device.partition(".")[0]
    found = dict(_ALWAYS.get(kind, {}))
    if trial.hint:
        found["PERFORMANCE_HINT"] = trial.hint.upper()
    if trial.streams is not None:
        found["NUM_STREAMS"] = str(trial.streams)
    if trial.threads is not None:
        found["INFERENCE_NUM_THREADS"] = str(trial.threads)
    if trial.pinning is not None:
        found["ENABLE_CPU_PINNING"] = "YES" if trial.pinning else "NO"
    if trial.precision != "default":
        found["INFERENCE_PRECISION_HINT"] = trial.precision
    return found


def reference_properties() -> dict[str, str]:
    """Return the properties of an exact run on the CPU: f32, no quantized activations or cache."""
    return {
        "INFERENCE_PRECISION_HINT": "f32",
        "EXECUTION_MODE_HINT": "ACCURACY",
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0",
        "KV_CACHE_PRECISION": "f32",
    }
