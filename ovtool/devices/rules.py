"""Requirements and OpenVINO properties of each kind of device: one row per kind.

A trial that a device does not support gets a reason (:func:`find_unsupported`), never a crash or a
silent replacement.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ovtool.core import units
from ovtool.core.device_names import is_virtual, kind_of, members
from ovtool.core.notes import Note, make_note
from ovtool.core.units import mib
from ovtool.graph.reference_run import EXACT_PROPERTIES
from ovtool.system.host import Unknown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ovtool.core.trial import Generation, Trial
    from ovtool.core.variant import VariantRecord
    from ovtool.system.host import Host

MANUAL_SETTINGS = ("streams", "threads", "pinning")
"""Settings of a trial that not every kind supports.  Requests in flight work on every device."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of one kind of device.

    Args:
        always: Properties of every trial.
        precisions: Supported precisions besides ``default``.
        settings: Supported settings of :data:`MANUAL_SETTINGS`.
        fixed_shapes: Whether every dimension must be fixed before compiling.
        exact: Properties of the most accurate mode.
    """

    always: Mapping[str, str] = field(default_factory=dict)
    precisions: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    fixed_shapes: bool = False
    exact: Mapping[str, str] = field(default_factory=dict)


RULES: Mapping[str, Rules] = {
    "CPU": Rules(
        precisions=("f32", "bf16", "f16"), settings=MANUAL_SETTINGS, exact=EXACT_PROPERTIES
    ),
    # The sweep varies the batch: automatic batching would measure another one.
    "GPU": Rules(
        always={"ALLOW_AUTO_BATCHING": "NO"},
        precisions=("f32", "f16"),
        settings=("streams", "pinning"),
        exact={"INFERENCE_PRECISION_HINT": "f32", "EXECUTION_MODE_HINT": "ACCURACY"},
    ),
    # The driver's cache would turn a cold compile into a load.  NPU_USE_NPUW stays unset: with it,
    # a model compiles without an NPU, and EXECUTION_DEVICES still reports NPU.
    "NPU": Rules(
        always={"NPU_BYPASS_UMD_CACHING": "YES"},
        precisions=("f16",),
        settings=("streams",),
        fixed_shapes=True,
        exact={"INFERENCE_PRECISION_HINT": "f16", "EXECUTION_MODE_HINT": "ACCURACY"},
    ),
    # A figure belongs to one device, not to the CPU while another device compiles.  AUTO:CPU does
    # not compile with ENABLE_RUNTIME_FALLBACK off, so the worker checks the devices instead.
    "AUTO": Rules(always={"ENABLE_STARTUP_FALLBACK": "NO", "ALLOW_AUTO_BATCHING": "NO"}),
    "MULTI": Rules(always={"ALLOW_AUTO_BATCHING": "NO"}),
    "HETERO": Rules(always={"ALLOW_AUTO_BATCHING": "NO"}),
    "BATCH": Rules(),
}


def get_rules(kind: str) -> Rules:
    """Return the rules of a kind of device; empty rules for a kind without a row."""
    return RULES.get(kind, Rules())


def list_kinds(device: str) -> tuple[str, ...]:
    """Return the kinds of device that may run a trial: more than one for a virtual device."""
    if not is_virtual(device):
        return (kind_of(device),)
    return tuple(dict.fromkeys(kind_of(member) for member in members(device)))


def needs_fixed_shapes(device: str) -> bool:
    """Whether a device, or a device behind a virtual one, supports fixed shapes only."""
    return any(get_rules(kind).fixed_shapes for kind in list_kinds(device))


def find_unsupported(trial: Trial) -> str | None:
    """Return which setting of a trial its device does not support, with the supported ones."""
    for kind in list_kinds(trial.device):
        rules = get_rules(kind)
        name = kind if is_virtual(trial.device) else trial.device
        if trial.precision not in ("default", *rules.precisions):
            supported = ", ".join(("default", *rules.precisions))
            return f"{name} does not support precision {trial.precision}; supported: {supported}"
        for setting in MANUAL_SETTINGS:
            if getattr(trial, setting) is not None and setting not in rules.settings:
                supported = ", ".join(rules.settings) or "hints only"
                return f"{name} does not support the setting {setting}; supported: {supported}"
    return None


_GPU_CACHES = ("default", "f16", "u8")
"""KV cache precisions of GPUs: u8, u4 and f16 by "Managing iGPU Memory Allocation for OpenVINO
Inference" (OpenVINO 2026), which is of discrete GPUs too."""
GPU_QUANTIZED_TOKENS = 64
"""Prompts above so many tokens have dynamically quantized activations on GPUs with XMX, by "Dynamic
quantization support from GPU with XMX" (blog.openvino.ai, OpenVINO 2025.2)."""
_CACHE_BYTES = {"default": 0.5, "u8": 1.0, "f16": 2.0, "bf16": 2.0, "f32": 4.0}
"""Bytes of a value of the KV cache, at least: a device may choose u4 by default."""

NPU_PROMPT_TOKENS, NPU_RESPONSE_TOKENS = 1024, 128
"""Defaults of MAX_PROMPT_LEN and MIN_RESPONSE_LEN; their sum is the context of a text generator."""
_NPU_WEIGHTS = "symmetric INT4 or NF4 weights of all layers, in groups of 128 or per channel"
_NPU_COMMAND = "ovtool compress weights --set mode=int4_sym --set group_size=128"


def find_unsupported_text(trial: Trial, record: VariantRecord) -> str | None:
    """Return what a device does not support of a text generator; None if nothing is known of it.

    The rules of GPUs are those of :data:`_GPU_CACHES`.  Those of NPUs are of "OpenVINO GenAI on
    NPU" (OpenVINO 2026.3), and of LLMPipeline, which takes one request at a time there.  The
    weights of a source that is compressed already are not judged: their groups are not known.
    """
    generation, kinds = trial.generation, list_kinds(trial.device)
    if generation is None:
        return None
    if "GPU" in kinds and generation.kv_cache_precision not in _GPU_CACHES:
        supported = ", ".join(_GPU_CACHES)
        requested = generation.kv_cache_precision
        return f"a GPU does not support a KV cache in {requested}; supported: {supported}"
    return _find_unsupported_npu(trial, generation, record) if "NPU" in kinds else None


def _find_unsupported_npu(
    trial: Trial, generation: Generation, record: VariantRecord
) -> str | None:
    if is_virtual(trial.device):
        return "a text generator runs on the device NPU only, not behind a virtual device"
    if generation.concurrency != 1 and trial.rate is None:
        return "an NPU runs one request of a text generator at a time; use --concurrency 1"
    prompt, context = generation.prompt_length, NPU_PROMPT_TOKENS + NPU_RESPONSE_TOKENS
    length = prompt + generation.output_length
    if prompt > NPU_PROMPT_TOKENS:
        return f"an NPU takes at most {NPU_PROMPT_TOKENS} tokens of prompt, not {prompt}"
    if length > context:
        return f"an NPU has a context of {context} tokens, not {length} of prompt and output"
    return None if _fits_npu(record) else f"an NPU needs {_NPU_WEIGHTS}: {_NPU_COMMAND}"


def find_memory_shortage(
    trial: Trial, record: VariantRecord, cache_values: int | None, memory_bytes: int | None
) -> str | None:
    """Return why the memory of a GPU is too small for a text generator; None if it may suffice.

    The need is the least possible: weights as they are stored, those of an uncompressed model in
    f16, and the KV cache of all requests at their full length.  Buffers come on top.

    ``cache_values`` is the number of values of the KV cache for each token, ``memory_bytes`` the
    ``GPU_DEVICE_TOTAL_MEM_SIZE``, of an integrated GPU that of the host; None if not known.
    """
    generation = trial.generation
    if generation is None or memory_bytes is None:
        return None
    compressed = record.source.compression != "none" or any(
        step.method == "weights" for step in record.steps
    )
    weights = record.bin_bytes * (1.0 if compressed else 0.5)
    requests = generation.concurrency or 1
    tokens = requests * (generation.prompt_length + generation.output_length)
    cache = tokens * (cache_values or 0) * _CACHE_BYTES[generation.kv_cache_precision]
    if weights + cache <= memory_bytes:
        return None
    parts = f"{units.text(mib(weights))} MiB of weights"
    if cache_values is not None:
        parts += f" and {units.text(mib(cache))} MiB of KV cache ({tokens} tokens)"
    return (
        f"{trial.device} has {units.text(mib(memory_bytes))} MiB of memory, but {parts} are needed"
        " at least: compress the weights, or use fewer requests, shorter ones or a cache in u8"
    )


def _fits_npu(record: VariantRecord) -> bool:
    """Whether the weights are as an NPU needs them, or not known."""
    step = next((s for s in reversed(record.steps) if s.method == "weights"), None)
    if step is None:
        return record.source.compression != "none"
    settings = step.settings
    grouped = settings.get("group_size") in (None, 128, -1)
    whole = settings.get("ratio") in (None, 1.0)
    return settings.get("mode") in ("int4_sym", "nf4") and grouped and whole


def note_text(trial: Trial) -> tuple[Note, ...]:
    """Return the notes on a text generator that a device runs in another way than others."""
    generation, kind = trial.generation, kind_of(trial.device)
    if generation is not None and kind == "GPU":
        if generation.prompt_length <= GPU_QUANTIZED_TOKENS:
            return ()
        return (make_note("dynamic-quantization", f"{generation.prompt_length} tokens"),)
    if generation is None or kind != "NPU":
        return ()
    if generation.prompt_length == NPU_PROMPT_TOKENS:
        return ()
    evidence = f"{generation.prompt_length} of {NPU_PROMPT_TOKENS} tokens"
    return (make_note("prompt-padded", evidence),)


def trial_properties(trial: Trial) -> dict[str, str]:
    """Return the OpenVINO properties of a trial."""
    kind = kind_of(trial.device)
    properties = dict(get_rules(kind).always)
    if "NPU" in list_kinds(trial.device) and kind != "NPU":
        properties |= _forward_to_npu(trial.device)
    settings = {
        "PERFORMANCE_HINT": trial.hint.upper() if trial.hint else None,
        "NUM_STREAMS": trial.streams,
        "INFERENCE_NUM_THREADS": trial.threads,
        "ENABLE_CPU_PINNING": {True: "YES", False: "NO", None: None}[trial.pinning],
        "INFERENCE_PRECISION_HINT": None if trial.precision == "default" else trial.precision,
        "KV_CACHE_PRECISION": _kv_cache_precision(trial),
    }
    return properties | {name: str(v) for name, v in settings.items() if v is not None}


def _kv_cache_precision(trial: Trial) -> str | None:
    if trial.generation is None or trial.generation.kv_cache_precision == "default":
        return None
    return trial.generation.kv_cache_precision


def _forward_to_npu(device: str) -> dict[str, str]:
    """Return the NPU's properties in the form that a virtual device forwards."""
    npu = RULES["NPU"].always
    if kind_of(device) == "BATCH":
        return dict(npu)
    listed = ",".join(f"{name}:{value}" for name, value in npu.items())
    return {"DEVICE_PROPERTIES": f"{{NPU:{{{listed}}}}}"}


def exact_properties(device: str) -> dict[str, str]:
    """Return the properties of a device's most accurate mode; none for a virtual device."""
    return dict(get_rules(kind_of(device)).exact)


# Products of 8 bits are added in 32 bits; AVX2 and AVX-512 without VNNI add pairs in 16 bits, which
# overflow (Intel 64 Software Developer's Manual, VPDPBUSD, TDPBUSD and VPMADDUBSW).
_WIDE_INT8_FLAGS = ("amx_int8", "avx512_vnni", "avx_vnni")
_WIDE_INT8_TARGETS = {
    "gpu": "GPUs add products of 8 bits in 32 bits",
    "npu": "NPUs add products of 8 bits in 32 bits",
    "cpu_spr": "this target has AMX and AVX-512 VNNI",
}


def find_wide_int8(target: str, host: Host) -> str | None:
    """Return why a target adds products of 8 bits without overflow; None if it may overflow.

    Args:
        target: ``any``, ``cpu``, ``gpu``, ``npu`` or ``cpu_spr``, as NNCF names targets.
        host: The machine of the target ``cpu``.
    """
    if target != "cpu":
        return _WIDE_INT8_TARGETS.get(target)
    flags = host.cpu_flags()
    if isinstance(flags, Unknown):
        return None
    wide = [flag for flag in _WIDE_INT8_FLAGS if flag in flags]
    return f"{host.cpu_model()} has {', '.join(wide)}" if wide else None


def find_narrow_int8(host: Host) -> str | None:
    """Return why sums of products of 8 bits overflow on a machine's CPU; None if not known."""
    flags = host.cpu_flags()
    if isinstance(flags, Unknown) or not {"ssse3", "avx2"} & set(flags):
        return None  # not x86
    if any(flag in flags for flag in _WIDE_INT8_FLAGS):
        return None
    return f"{host.cpu_model()} has no VNNI: sums of two products overflow in 16 bits"
