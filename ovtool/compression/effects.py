"""Notes on a step that did not do what its method is for, with the figures that show it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ovtool.core import units
from ovtool.core.notes import Note, make_note
from ovtool.evaluation.repeatability import ROUNDING
from ovtool.graph.weights import count_weights, drop_shared, find_weights

if TYPE_CHECKING:
    from collections.abc import Iterable

    import openvino as ov

    from ovtool.compression.execution_check import CheckedRun
    from ovtool.core.variant import Step, Variant
    from ovtool.graph.runtime import Layer

EFFECT_NOTES = frozenset(
    {
        "files-larger",
        "int8-not-executed",
        "mode-not-applied",
        "outputs-not-repeatable",
        "quantization-noise",
    }
)
"""Ids of the notes on the last step of a variant."""
_INT8_METHODS = ("int8", "qat")
_SIZE_METHODS = (
    "binary", "fp16", "fp8", "hashed-weights", "int8", "qat", "ternary", "weight-sharing",
    "weights",
)  # fmt: skip
_MIN_SQNR_DB = 10.0
"""Noise of a tenth of the power; the note is on more."""
_LARGER = 1.01
"""Ratio of sizes above which files count as larger."""
_HARDLY_ANY = 0.1
"""Share of the layers with arithmetic; the note is on at most that many in INT8."""
_APPLIED = 0.5
"""Share of the weights that a mode is expected to apply to, if its setting ``ratio`` is 1."""


def note_effects(
    step: Step, model: ov.Model, checked: CheckedRun, sizes: tuple[int, int]
) -> tuple[Note, ...]:
    """Return the notes on a step.

    Args:
        step: The step, with all settings.
        model: The compressed graph.
        checked: The runs of the graph on the CPU.
        sizes: Bytes of the compressed files, and of those of the parent.
    """
    notes = []
    if step.method in _INT8_METHODS and checked.layers is not None:
        notes += _note_executed(checked.layers)
    if checked.difference > ROUNDING:
        percent = units.text(100 * checked.difference)
        evidence = f"two runs on the CPU differ by {percent}% of the largest value"
        notes.append(make_note("outputs-not-repeatable", evidence))
    if step.method == "weights":
        notes += _note_mode(step.settings, model)
    notes += _note_noise(step.details.get("noise"))
    after, before = map(units.mib, sizes)
    if step.method in _SIZE_METHODS and after > _LARGER * before:
        shown = f"{units.text(after)} MiB, was {units.text(before)} MiB"
        notes.append(make_note("files-larger", shown))
    return tuple(notes)


def keep_notes(parent: Variant) -> tuple[Note, ...]:
    """Return the notes of a variant that hold for its further compression too."""
    return tuple(note for note in parent.record.notes if note.id not in EFFECT_NOTES)


def _note_executed(layers: Iterable[Layer]) -> list[Note]:
    computing = [layer for layer in layers if layer.computes]
    others = [layer for layer in computing if layer.precision != "i8"]
    executed = len(computing) - len(others)
    if not computing or executed > _HARDLY_ANY * len(computing):
        return []
    names = units.listing([f"{layer.label} ({layer.precision})" for layer in others], 3)
    return [make_note("int8-not-executed", f"{executed} of {len(computing)} layers: {names}")]


def _note_noise(noise: dict[str, Any] | None) -> list[Note]:
    """Return a note if the outputs of a quantized model are mostly noise."""
    ratio = None if noise is None else noise["sqnr_db"]
    if noise is None or ratio is None or ratio >= _MIN_SQNR_DB:
        return []
    samples = units.count_text(noise["samples"], "calibration sample")
    subject = f"{noise['output']} {noise.get('channels', '')}".rstrip()
    evidence = f"output {subject}: signal to noise {units.text(ratio)} dB on {samples}"
    return [make_note("quantization-noise", evidence)]


def _note_mode(settings: dict[str, Any], model: ov.Model) -> list[Note]:
    """Return a note if a mode of less than 8 bits applies to few weights."""
    mode = str(settings["mode"])
    digits = re.search(r"\d", mode)
    bits = int(digits.group()) if digits else 8
    if bits >= 8:
        return []
    weights = drop_shared(find_weights(model))
    narrow = [w for w in weights if w.constant.get_element_type().bitwidth <= bits]
    total = sum(count_weights(w.constant) for w in weights)
    applied = sum(count_weights(w.constant) for w in narrow)
    if applied >= _APPLIED * (settings.get("ratio") or 1) * total:
        return []
    others: dict[str, int] = {}
    for w in weights:
        if w not in narrow:
            stored = w.constant.get_element_type().get_type_name()
            name = f"{w.layer.get_type_name()} {stored}"
            others[name] = others.get(name, 0) + 1
    listed = ", ".join(f"{count} {name}" for name, count in others.items())
    evidence = (
        f"{mode} in {len(narrow)} of {len(weights)} layers, {100 * applied / total:.0f}% of the"
        f" weights; other types: {listed}"
    )
    return [make_note("mode-not-applied", evidence)]
