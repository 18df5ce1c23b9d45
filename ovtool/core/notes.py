"""Every note, warning and explanation of ovtool, by id: the only place of their wording.

Code creates notes by id, with numbers and names as evidence.  Tests assert ids and evidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Note:
    """Advice or a warning: a key of :data:`NOTES`, its sentences, and evidence as text."""

    id: str
    message: str
    evidence: str = ""
    remedy: str = ""

    @property
    def text(self) -> str:
        """The note in one line."""
        return "; ".join(part for part in (self.message, self.evidence, self.remedy) if part)


def make_note(note_id: str, evidence: str = "", /, **values: object) -> Note:
    """Return the note of an id; ``values`` are the fields of its message and its remedy.

    Raises:
        KeyError: The id is unknown, or a field has no value.
    """
    message, remedy = NOTES[note_id]
    return Note(note_id, message.format(**values), evidence, remedy.format(**values))


# fmt: off
NOTES: Mapping[str, tuple[str, str]] = {
    # Conversion: what the output check did not establish.  Repeated with every row of the variant.
    "conversion-not-checked": (
        "the outputs of the conversion were not compared with those of the source",
        "compare them yourself before relying on the variant"),
    "outputs-not-checked": (
        "some outputs of the conversion were not compared with those of the source",
        "give inputs that make sense to the model: ovtool convert --data, --value"),
    "inputs-dropped": (
        "inputs of the source that no output depends on are not inputs of the variant",
        "give the variant the other inputs only"),

    "tokenizer-differs": (
        "the converted tokenizer differs from the original on some texts",
        "compare texts of your own before relying on it"),
    "outputs-random": (
        "outputs that depend on random numbers cannot be compared with those of the source",
        "compare their statistics, or fix the random numbers as inputs of the model"),
    "dropout-active": (
        "the source has dropout in training mode: its outputs are random and were not compared",
        "convert it in eval mode: module.eval(), training=False in functional.dropout"),
    "integers-limited": (
        "the outputs agree with the source's only for a part of the integers of an input",
        "keep the integers in the range that agrees, or reduce them before the model"),
    "mask-limited": (
        "the outputs agree with the source's unless a mask starts with zeros",
        "pad at the end, or compare the outputs for padding at the start yourself"),
    "rows-limited": (
        "the outputs agree with the source's unless a mask leaves out a whole row",
        "keep a value in every row, or compare the outputs for such rows yourself"),
    "values-limited": (
        "the outputs agree with the source's except for special values of an input",
        "keep the inputs finite and in the range of the type to which the model casts them"),
    "overlap-limited": (
        "boxes are selected as in the source unless an overlap equals the threshold",
        "change the threshold by a small amount if such boxes occur"),
    "cast-undefined": (
        "casts of values beyond the range of an integer type have no defined result, and differ",
        "clip the values before the cast, or keep the inputs in the range"),
    "size-fixed": (
        "a dimension keeps the size of the conversion: at another size the outputs are wrong",
        "convert again for each size that you need: ovtool convert --shape"),
    "sizes-tied": (
        "the outputs agree with the source's only if these dimensions have equal sizes",
        "pad or cut the inputs to one size"),

    # Emulated devices and estimates of compilers.
    "emulated": (
        "an emulated device: speed, memory and precision say nothing about real hardware",
        "use the figures in tests only"),
    "emulated-left-out": (
        "emulated devices are left out: their figures are for tests only", ""),
    "estimate": (
        "a compiler's estimate for one inference in isolation: nothing ran on the device",
        "measure on the device before relying on it"),
    "estimates-left-out": (
        "compiler estimates are left out: nothing was measured", "include them: --allow-estimates"),
    "estimates-not-compared": (
        "compiler estimates are left out: nothing was measured", ""),
    "estimates-without-figure": (
        "estimates without the objective's figure are left out: compilers estimate latency only",
        "choose by latency"),

    # Variants: how they were converted, and on which data they are judged.
    "traced-control-flow": (
        "tracing kept the Python control flow of the example: other inputs may give wrong outputs",
        "export with torch.export and torch.cond, or script the module with torch.jit.script"),
    "outputs-left-out": (
        "outputs that are not tensors are left out", ""),
    "no-preprocessing": (
        "no preprocessing is recorded: image files become pixels 0..255, unusual for float inputs",
        "convert with the --mean and --scale of the training, in units of pixels 0..255"),
    "images-stretched": (
        "no resizing is recorded: images and their boxes or masks are stretched to the input",
        "convert with --resize stretch or crop to record how the model takes images"),
    "samples-random": (
        "the bundle stores outputs of random inputs",
        "store those of real samples: --data"),
    "samples-shared": (
        "the same samples served two purposes: figures on them look better than on new data",
        "use samples for evaluation that no step of the variant has seen"),

    # Measuring: what the trial ran on and in.
    "device-fallback": (
        "the virtual device did not run on every device that it names",
        "run ovtool devices --why; use the figure only for the devices that did the work"),
    "placement": ("operations of the model by device, as HETERO places them", ""),
    "why-fixed-shapes": (
        "open dimensions were compiled with fixed sizes: open ones may be slower",
        "measure it: ovtool sweep --data-shape"),
    "fixed-shapes": (
        "the device supports fixed shapes only: compiled for the shapes of the data", ""),
    "random-inputs": ("measured on random inputs", ""),
    "state-initial": (
        "a model with state: outputs, quality and ranges are of single inferences from the start",
        "judge sequences of steps in your own program, also before int8"),
    "state-not-converted": (
        "a run of the module changes what the next run reads; each inference starts anew instead",
        "make the state an argument and an output of the module, and carry it in your program"),
    "state-reset": (
        "each request starts from the model's initial state: throughput includes the reset", ""),
    "state-not-reset": (
        "the device cannot reset the model's state: speed may depend on how long it is measured",
        "measure the device itself in place of a virtual one"),
    "executed-layers": ("executed precision of the compute layers", ""),
    "int8-fallback": ("layers of an INT8 model run in floating point", ""),
    "no-runtime-graph": (
        "executed precisions are unknown: the device does not report its executed graph", ""),
    "no-flops": ("FLOPs are unknown: shapes or loop counts depend on the data", ""),
    "flops-unattributed": (
        "the executed graph maps some FLOPs to no layer: shares are of the mapped FLOPs", ""),

    # Measuring: how reliable the figures are.
    "warm-up-unsteady": ("throughput was still changing after the warm-up", ""),
    "few-inferences": (
        "p99 is close to the maximum: too few inferences", "measure longer (--max-seconds)"),
    "slow-inference": (
        "an inference takes longer than a round: few were measured, intervals are wide or unknown",
        "measure longer (--max-seconds)"),
    "interval-beyond-windows": (
        "a confidence interval reaches beyond every measured window: few or very different rounds",
        "measure more rounds (--rounds), on an idle machine"),
    "throughput-not-stable": (
        "throughput did not stabilize on an idle CPU: clock, heat, or shared caches and memory",
        "measure longer (--max-seconds), or at another time"),
    "disturbed-paused": ("the measuring process was suspended", ""),
    "disturbed-quota": ("the CPU quota of a control group throttled the process", ""),
    "disturbed-clock": ("the processor lowered its clock or throttled", ""),
    "disturbed-hypervisor": ("the hypervisor gave CPU time to other virtual machines", ""),
    "disturbed-others": ("other processes used the CPU", ""),
    "uncontended-stretches": (
        "the uncontended throughput (an estimate) is the rate of the undisturbed moments", ""),
    "uncontended-cpu-time": (
        "uncontended throughput is estimated by CPU time: waiting threads and lost caches bias it",
        ""),
    "no-threads": (
        "no uncontended estimate: the device does not report its number of threads", ""),
    "concurrency-found": ("result of the search for the highest concurrency", ""),
    "concurrency-unlimited": (
        "no concurrency that was tried misses a limit: higher ones may keep the limits too",
        "raise --max-seconds if the search stopped below 256"),
    "prompt-padded": (
        "an NPU pads each prompt to its longest one: TTFT is that of the full length",
        "measure the prompts of your use; MAX_PROMPT_LEN of openvino-genai sets the length"),
    "dynamic-quantization": (
        "a GPU with XMX quantizes activations of compressed layers in prompts above 64 tokens",
        "compare precisions at prompt lengths of your use"),
    "text-pipeline": (
        "a pipeline of openvino-genai ran the requests, without its prefix cache",
        ""),
    "random-prompts": (
        "random prompts without special tokens; outputs have their full length in any case", ""),
    "kv-cache-default": ("precision of the KV cache by default of the device", ""),
    "no-energy": ("energy was not measured", ""),
    "energy-source": ("source of the energy figures", ""),
    "no-cached-start": ("start-up from the model cache was not measured", ""),
    "rate-not-kept": (
        "requests arrived faster than they were served: queue and latency kept growing",
        "lower --rate"),
    "limit-missed-later": (
        "the rate met the latency limit during the search, but not in the measurement",
        "leave a margin, or repeat the search on an idle machine"),
    "rate-search-stopped": (
        "the search for the highest rate ended with a wide interval", "raise --max-seconds"),
    "calibration-unreadable": (
        "no roofline limit: the calibration cannot be read", "calibrate the device again"),
    "roofline-unavailable": ("no roofline limit: the executed layers are not available", ""),
    "contended": (
        "other processes used the CPU: times are longer than on an idle machine",
        "profile again on an idle machine"),
    "layers-not-counted": ("some layers are not counted: the totals are too low", ""),

    # Models that are compressed already.
    "compressed-source": (
        "the source is compressed already, so it is no baseline for quality and speed-up",
        "compare it with the uncompressed model: --baseline MODEL"),
    "integer-kernels-differ": (
        "the graph agrees in f32; with the 8-bit kernels of this CPU its outputs differ",
        "measure its quality on the device that runs it: ovtool evaluate, with --baseline MODEL"),
    "no-baseline": (
        "quality not evaluated: the source is compressed, and there is no baseline",
        "add the uncompressed model: --baseline MODEL"),
    "compressed-baseline": (
        "the baseline is compressed itself: quality and speed-up are relative to it", ""),

    # Compression steps that did not do what the method is for.
    "files-larger": (
        "compression made the files larger: what it adds takes more than it saves", ""),
    "int8-not-executed": (
        "the CPU runs hardly any layer of the quantized model in INT8",
        "measure the speed before using this variant; ovtool profile lists the layers"),
    "mode-not-applied": (
        "the mode applies to few weights: not to convolutions, embeddings and the last layer",
        "use all_layers=true for embeddings and the last layer, backup_mode for the rest"),

    "quantization-noise": (
        "outputs of the quantized model differ strongly from those of the model in float",
        "evaluate it; try --set effort=medium, or --max-drop with --validation-data"),

    # Evaluation of quality.
    "device-difference": (
        "outputs differ from the CPU in f32 by more than the tolerance",
        "evaluate --precision exact: does the device's most accurate mode agree?"),
    "outputs-not-repeatable": (
        "the same samples gave other outputs in another run: no figure of this model is reliable",
        "evaluate again, and with --precision exact; if only several streams differ: one stream"),
    "labels-unused": (
        "the labels were not used: the output is not [samples, classes]",
        "name the output that the labels are for: --output"),
    "labels-shifted": (
        "the labels differ from the classes of the model by an offset of one",
        "number the classes as the model does"),
    "output-not-finite": (
        "outputs contain NaN or infinity: those samples count as wrong",
        "run in f32, or leave the layer that overflows uncompressed"),
    "reference-not-finite": (
        "outputs of the uncompressed model contain NaN or infinity: those samples count as wrong",
        "run in f32, or leave the layer that overflows uncompressed"),
    "worst-output": (
        "cosine and errors are those of the worst output or channel group", ""),
    "worst-agreement": ("agreement is that of the worst output with class scores", ""),
    "output-not-compared": (
        "an output was not compared with that of the uncompressed model", ""),
    "output-sizes-differ": (
        "outputs have another size than those of the uncompressed model: those samples count as 0",
        "judge by labels, or by --metric module:function"),
    "classes-differ": (
        "no detected class is a class of the labels: the model numbers its classes differently",
        "change the category ids of the labels to the classes of the model"),
    "no-labeled-boxes": ("mAP is unknown: the labels have no box", ""),
    "evaluation-failed": (
        "quality is unknown: the evaluation failed; the speed was measured before", ""),

    # Tables of results.
    "earlier-plan": (
        "trials of earlier plans are left out",
        "sweep with the same axes and variants to include them"),
    "sweep-unfinished": (
        "planned trials are not measured yet", "run the same sweep command again to continue"),
    "host-speed-changed": (
        "the anchor trial of a host has another speed after its work than before",
        "measure on an idle and cool host before comparing small differences"),
    "host-speed-steady": (
        "the anchor trial of a host shows no significant change of speed during its work",
        ""),
    "measured-twice": ("rows measured in several sweeps: the latest is shown", ""),
    "quality-metrics-differ": (
        "the sweeps have different quality metrics: only {column} is compared", ""),
    "speedup-by-cpu-time": (
        "speed-ups are by CPU time, since the CPU was taken: intervals are {doubt_pct:g}% wider",
        ""),
    "speedup-unpaired": (
        "speed-ups of separate measurements: drift between the two is not in their intervals",
        "measure both in one sweep, in at least three rounds"),
    "no-speedup-f32": (
        "no speed-up over the uncompressed model in f32: not measured at this load",
        "sweep the uncompressed variant too (--baseline), with --precision f32"),
    "no-speedup-default": (
        "no speed-up over the uncompressed model in default precision: not measured at this load",
        "sweep the uncompressed variant too (--baseline), with --precision default"),

    # Choosing: warnings.
    "winner-estimated": (
        "the recommended row is a compiler's estimate: throughput and quality are unknown",
        "measure on the device before relying on it"),
    "limit-uncertain": (
        "a confidence interval straddles its limit",
        "measure longer, or evaluate on more samples"),
    "rate-by-capacity": (
        "the time that requests wait at this rate was not measured",
        "measure it: ovtool sweep --rate {rate:g}"),
    "quality-unknown": (
        "the quality of the recommended variant was not evaluated",
        "evaluate it before deployment"),
    "quality-too-few": (
        "too few samples to tell whether a variant loses quality that matters",
        "evaluate on more samples, or set the limit that you accept: --min-quality"),
    "quality-without-labels": (
        "accuracy is unknown: only outputs were compared, not labels",
        "evaluate with labels: --labels"),
    "quality-lower": (
        "quality is lower than that of the best variant, and no limit of quality is set",
        "set the lowest acceptable quality: --min-quality"),
    "failed-rows": ("failed trials cannot be chosen", ""),
    "unrepeatable-left-out": (
        "models whose outputs differ between two runs on the same samples are not chosen",
        "evaluate them again, with --precision exact"),
    "device-unavailable": ("a requested device is not available", ""),
    "limit-on-unknown": ("rows without a figure that a limit needs are left out", ""),
    "objective-on-unknown": ("rows without the figure of the objective are left out", ""),
    "several-shapes": (
        "rows of different input shapes were compared: a smaller input is less work",
        "sweep each shape separately to choose for it"),
    "several-environments": ("rows of different machines or software versions were compared", ""),

    # Choosing: explanations of rows.
    "int8-baseline-reduced": (
        "INT8 gains little: the uncompressed model already runs in a narrower precision than f32",
        "weigh the loss of quality against the speed-up over the default precision"),
    "fallback-f32": (
        "some layers run in f32, the others in a narrower precision",
        "ovtool profile lists these layers and their share of the time"),
    "fallback-float": (
        "some layers run in floating point, the others in a narrower precision",
        "ovtool profile lists these layers and their share of the time"),
    "memory-bound": (
        "bound by memory at this batch: the same arithmetic on fewer bytes is faster",
        "compress the weights; more streams share the same bandwidth and do not help"),
    "memory-bound-roofline": (
        "bound by memory at this batch, by the measured peak and bandwidth of the device",
        "compress the weights; more streams share the same bandwidth and do not help"),
    "knee": (
        "a larger batch adds relatively more latency than throughput",
        "use the smaller batch where latency matters"),
    "measured-contended": (
        "other processes used the CPU during the measurement", "measure again on an idle machine"),
    "measured-throttled": (
        "clock, heat or a quota slowed down the measurement",
        "measure again with cooling, or without a quota"),
    "measured-unsteady": ("throughput did not stabilize", "measure again, for longer"),
    "sparse-not-faster": (
        "zero weights make the model no faster: dense kernels multiply them like any other weight",
        "prune channels, or rely on the smaller file only"),
    "quality-interval-wide": (
        "the quality is uncertain: a loss of several percent may go unnoticed",
        "evaluate on that number of samples; it assumes the same quality"),

    # Comparing sweeps.
    "matched-by-name": (
        "variants with different files in A and B, matched by their names", ""),
    "nothing-decided": (
        "no figure was decided, so --fail-on-regression passes without a finding",
        "add --fail-on-unknown to exit with 5 instead"),
}
# fmt: on

VARIANT_NOTES = frozenset((
    "cast-undefined", "conversion-not-checked", "dropout-active", "files-larger",
    "images-stretched", "inputs-dropped", "integers-limited", "mask-limited", "no-baseline",
    "no-preprocessing", "outputs-left-out", "outputs-not-checked", "outputs-not-repeatable",
    "outputs-random", "overlap-limited", "quantization-noise", "rows-limited", "samples-shared",
    "size-fixed", "sizes-tied", "state-initial", "state-not-converted", "tokenizer-differs",
    "traced-control-flow", "values-limited",
))  # fmt: skip
"""Ids of the notes that stay with a variant: in its record, its rows and a choice of it."""
