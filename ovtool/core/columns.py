"""Every column of the results: name, unit, direction and meaning, declared once.

The table, CSV, page, Markdown and documentation are made from these rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["identity", "figure", "derived"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column; ``better`` says which way is good, ``interval`` that ``_ci_low/_ci_high`` exist.

    ``identity`` columns say what a row is, ``figure`` ones were measured in its trial, ``derived``
    ones are calculated from several rows when a table is made.
    """

    name: str
    title: str
    kind: Kind
    meaning: str
    unit: str = ""
    better: Literal["lower", "higher"] | None = None
    interval: bool = False
    text: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The column's own name and those of its interval."""
        if not self.interval:
            return (self.name,)
        return (self.name, f"{self.name}_ci_low", f"{self.name}_ci_high")


def _identity(name: str, title: str, meaning: str, text: bool = True) -> Column:
    return Column(name, title, "identity", meaning, text=text)


_LATENCY = "time of one inference request of `batch` samples, from start to completion"
_FLOPS = "share of the multiply-add FLOPs that execute in"
_SHOWN = "empty where the device does not show its graph"
_AGREE = "uncompressed variant run in f32 on the CPU"

COLUMNS: tuple[Column, ...] = (
    _identity("variant", "variant", "name of the model variant"),
    _identity("device", "device", "OpenVINO device that was asked for; (emulated) or (estimate) beside it where that is so"),
    _identity("ran_on", "ran on", "devices that did the work, as the compiled model says: what AUTO, MULTI, HETERO or BATCH came to; empty where it is not told"),
    _identity("emulated", "emulated", "yes where the device is an emulated one, or may have handed work to one: for tests, never drawn and never chosen; empty elsewhere"),
    _identity("batch", "batch", "samples in one inference request", text=False),
    _identity("shape", "shape", "shapes of inputs that the model was compiled with, ? for the batch or what was left open; empty: its own"),
    _identity("data_shape", "data shape", "shapes of what was inferred where the model was compiled with open dimensions; empty: those it was compiled with"),
    _identity("load", "load", "performance hint, or streams, requests and threads set by hand"),
    _identity("precision", "precision asked", "inference precision asked for; default: the device's own"),
    _identity("executed_precision", "executed", "precision that the compiled model says it runs in"),
    _identity("hint", "hint", "OpenVINO performance hint; empty when set by hand"),
    Column("streams", "streams", "figure", "NUM_STREAMS of the compiled model"),
    Column("requests", "requests", "figure", "inference requests in flight"),
    Column("threads", "threads", "figure", "INFERENCE_NUM_THREADS of the compiled model"),
    _identity("status", "status", "ok (measured), failed with a reason, or estimated: compiled for a device that is not there, and nothing was run"),
    _identity("verdict", "verdict", "stable, contended (others took the CPU), throttled (clock, heat or a CPU quota) or unsteady (did not converge in its time, drifted, or was stopped)"),
    _identity("reason", "reason", "why the trial failed"),
    Column("latency_p50_ms", "p50", "figure", f"median {_LATENCY}", "ms", "lower", True),
    Column("latency_p90_ms", "p90", "figure", f"90th percentile of the {_LATENCY}", "ms", "lower"),
    Column("latency_p99_ms", "p99", "figure", f"99th percentile of the {_LATENCY}", "ms", "lower", True),
    Column("latency_mean_ms", "mean", "figure", f"mean {_LATENCY}", "ms", "lower"),
    Column("latency_min_ms", "min", "figure", f"least {_LATENCY}", "ms", "lower"),
    Column("latency_max_ms", "max", "figure", f"greatest {_LATENCY}", "ms", "lower"),
    Column("latency_estimate_ms", "latency (compiler's estimate)", "figure", "ESTIMATE, nothing was run: what the device's compiler expects one inference of `batch` samples by itself to take; in rows of status estimated alone", "ms", "lower"),
    Column("throughput_fps", "throughput", "figure", "samples completed / wall seconds, over the measured time", "samples/s", "higher", True),
    Column("speedup_f32_x", "vs f32", "derived", "throughput / that of the uncompressed variant run in f32, same device, shapes, batch and load, round by round", "x", "higher", True),
    Column("speedup_default_x", "vs default", "derived", "throughput / that of the uncompressed variant in the device's default precision, same device, shapes, batch and load, round by round", "x", "higher", True),
    Column("cpu_s_per_sample", "CPU s/sample", "figure", "CPU time of the measuring process / samples (CPU device only)", "s", "lower"),
    Column("throughput_uncontended_fps", "uncontended (estimate)", "figure", "ESTIMATE, not observed: threads / CPU time per sample, what the same work would reach with its cores to itself (CPU device only)", "samples/s", "higher", True),
    Column("rate_rps", "arrivals", "figure", "requests that arrived a second, with Poisson gaps: the rate asked for, or the highest found to keep the latency limit, whose interval is then the search's bracket; empty where every request was kept busy", "requests/s", "higher", True),
    Column("others_cpu_pct", "others' CPU", "figure", "CPU time that other processes and the hypervisor took while it was measured, as a share of the machine", "%", "lower"),
    Column("cpu_wait_pct", "CPU wait", "figure", "share of the CPU time it wanted that the measuring process waited for a processor, threads of its own that wait for one another included", "%", "lower"),
    Column("steal_pct", "steal", "figure", "CPU time that a hypervisor gave to others, as a share of the machine", "%", "lower"),
    Column("cpu_pressure_pct", "CPU pressure", "figure", "share of the time in which some task of the machine waited for a processor", "%", "lower"),
    Column("quota_wait_pct", "quota wait", "figure", "share of its processors' time for which a control group's CPU quota held the process back", "%", "lower"),
    Column("switches_hz", "switches", "figure", "involuntary context switches of the measuring process", "1/s", "lower"),
    Column("clock_mhz", "clock", "figure", "mean clock of the processors it could use; empty where it is not told, as in most virtual machines", "MHz"),
    Column("drift_pct", "drift", "figure", "how far throughput moved from the first round to the last", "%"),
    Column("windows", "windows", "figure", "windows of about 100 ms that were measured"),
    Column("quiet_windows", "quiet windows", "figure", "of those, the ones that nothing disturbed; figures are of them alone where they are enough"),
    Column("pinned", "pinned", "figure", "1 where the compiled model binds its threads to processors, 0 where not; empty where the device does not tell"),
    Column("usable_cpus", "usable CPUs", "figure", "processors that the measuring process may run on"),
    Column("quota_cpus", "CPU quota", "figure", "processors' worth of time that a control group allows; empty without a limit"),
    Column("compile_cold_ms", "compile cold", "figure", "compiling in a fresh process without any cache", "ms", "lower"),
    Column("compile_cached_ms", "compile cached", "figure", "compiling in a fresh process from the model cache", "ms", "lower"),
    Column("trial_compile_ms", "trial compile", "figure", "compiling for a device that is not there, on this machine and by the device's offline compiler; in rows of status estimated alone", "ms", "lower"),
    Column("first_inference_ms", "first inference", "figure", "the first inference after compiling without any cache", "ms", "lower"),
    Column("first_inference_cached_ms", "first inference, cached", "figure", "the first inference after compiling from the model cache", "ms", "lower"),
    Column("peak_rss_mib", "peak memory", "figure", "greatest resident memory of the measuring process", "MiB", "lower"),
    Column("rss_growth_mib", "memory growth", "figure", "how far that is above the memory of the process before it read the model", "MiB", "lower"),
    Column("blob_mib", "compiled size", "figure", "the compiled model, as in the model cache, or as the offline compiler wrote it", "MiB", "lower"),
    Column("model_mib", "size", "figure", "model.xml and model.bin", "MiB", "lower"),
    Column("coded_mib", "coded size (on paper)", "figure", "ON PAPER, no file is so: the size with each layer's weights under a Huffman code, those of many zeros as relative indices, where that is less; codes counted in", "MiB", "lower"),
    Column("parameters", "weights", "figure", "weights of convolutions, matrix products and embeddings; what layers share counts once"),
    Column("nonzero_pct", "nonzero", "figure", "share of the weights that is not zero", "%"),
    Column("distinct_weights", "distinct weights", "figure", "distinct stored values of weights, before scales, summed over the layers"),
    Column("limit_ms", "roofline limit", "figure", "CALCULATED, not observed: the least that one inference of `batch` samples could take, each layer by the peak of its precision or by the bandwidth, as the device was calibrated; under the latency hint alone, and empty where it was not calibrated", "ms"),
    Column("memory_bound_pct", "bound by memory", "figure", "CALCULATED, not observed: share of the time expected of the layers that goes to layers whose limit is the bandwidth; known where the roofline limit is", "%"),
    Column("gflops", "GFLOP/sample", "figure", "arithmetic of one sample: multiply-adds of convolutions, matrix products, attention and recurrent cells; 1 MAC = 2 FLOPs", "GFLOP"),
    Column("flops_i8_pct", "in INT8", "figure", f"{_FLOPS} i8 or u8; {_SHOWN}", "%"),
    Column("flops_bf16_pct", "in bf16", "figure", f"{_FLOPS} bf16; {_SHOWN}", "%"),
    Column("flops_f16_pct", "in f16", "figure", f"{_FLOPS} f16; {_SHOWN}", "%"),
    Column("flops_f32_pct", "in f32", "figure", f"{_FLOPS} f32; {_SHOWN}", "%"),
    Column("energy_mj_per_sample", "energy", "figure", "energy of a sample by the machine's own counters; empty where none can be read", "mJ", "lower"),
    Column("power_w", "power", "figure", "mean power while it was measured, by the same counters", "W", "lower"),
    Column("accuracy_top1", "top-1", "figure", "share of samples whose highest output is the label, on the same device and precision", "", "higher", True),
    Column("accuracy_top5", "top-5", "figure", "share of samples whose label is among the five highest outputs", "", "higher", True),
    Column("accuracy_characters", "character accuracy", "figure", "1 - character error rate: edits that turn the texts read into those of the labels / characters of the labels", "", "higher", True),
    Column("agreement_top1", "agreement", "figure", f"share of samples whose highest output (of lines: whose text) is that of the {_AGREE}", "", "higher", True),
    Column("output_cosine", "cosine", "figure", f"mean cosine between a sample's outputs and those of the {_AGREE}", "", "higher", True),
    Column("output_max_abs_difference", "largest difference", "figure", f"largest absolute difference of any output from that of the {_AGREE}", "", "lower"),
    Column("quality_samples", "samples", "figure", "samples that the quality was measured on"),
    Column("inferences", "inferences", "figure", "inference requests completed in the measured time"),
    Column("measured_s", "measured", "figure", "time measured, all rounds together", "s"),
    _identity("machine", "machine", "processor and host of the environment"),
    _identity("environment", "environment", "hash of the machine and software, as in environment.json"),
    _identity("sweep", "sweep", "name of the sweep that the row came from"),
    _identity("trial", "trial", "hash of what was measured: the same on every machine"),
    _identity("variant_id", "variant id", "first digits of the hash of the model's files"),
)  # fmt: skip

DETAILS = "details"
"""Nested column after :data:`COLUMNS` in the ``results.parquet`` of a sweep: details of each row.

Fields: ``line`` (position in the journal), ``label`` (name of the trial), ``group`` (hash of the
trial without variant and precision), ``baseline`` (id of the uncompressed variant), ``open_loop``,
``finished`` (time in UTC), ``method_f32`` and ``method_default`` (how the speed-ups were computed),
``notes`` (number of the note in the schema metadata, and evidence), ``properties`` (OpenVINO
properties), ``folder`` (of the variant), ``shapes`` (of inputs), ``open_shapes``.
"""
BY_NAME = {column.name: column for column in COLUMNS}
FIGURES = frozenset(n for c in COLUMNS if c.kind == "figure" for n in c.names)
