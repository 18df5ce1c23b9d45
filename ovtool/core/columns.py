"""Every column of the results: name, unit, direction and meaning, declared once.

The table, CSV, page, Markdown and documentation use these rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Collection

Kind = Literal["identity", "figure", "derived"]
Metric = str
"""A key of :data:`METRIC_COLUMNS`, or ``module:function``."""
QualityMetric = Literal[
    "accuracy_top1", "agreement_top1", "accuracy_characters", "output_cosine",
    "mean_absolute_error", "mean_average_precision", "mean_iou", "perplexity", "custom_metric",
]  # fmt: skip
METRIC_COLUMNS: dict[Metric, QualityMetric] = {
    "top1": "accuracy_top1",
    "agreement": "agreement_top1",
    "characters": "accuracy_characters",
    "cosine": "output_cosine",
    "mae": "mean_absolute_error",
    "map": "mean_average_precision",
    "iou": "mean_iou",
    "perplexity": "perplexity",
}
"""Column of each quality metric. The direction is that of the column."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column; with ``interval`` the columns ``_ci_low`` and ``_ci_high`` exist too.

    ``identity`` columns identify a row, ``figure`` columns are measured in its trial, ``derived``
    columns are calculated from several rows of a table.
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
        """Names of the column and of its interval."""
        if not self.interval:
            return (self.name,)
        return (self.name, f"{self.name}_ci_low", f"{self.name}_ci_high")


def _identity(name: str, title: str, meaning: str, text: bool = True) -> Column:
    return Column(name, title, "identity", meaning, text=text)


_LATENCY = "time of one inference request of `batch` samples, from start to completion"
_TTFT = "time from the submission of a request of a text generator, or its arrival in an open loop, to its first token"
_ITL = "time between consecutive tokens of a request"
_PHASE = "maximum resident memory of the measuring process of a text generator while it"
_FLOPS = "share of the multiply-add FLOPs that execute in"
_SHOWN = "empty if the device does not expose its graph"
_AGREE = "uncompressed variant in f32 on the CPU"

COLUMNS: tuple[Column, ...] = (
    _identity("variant", "variant", "name of the model variant"),
    _identity("device", "device", "requested OpenVINO device, marked (emulated) or (estimate) where it applies"),
    _identity("ran_on", "ran on", "devices that executed the model, as the compiled model reports: the choice of AUTO, MULTI, HETERO or BATCH; empty if unknown"),
    _identity("emulated", "emulated", "yes if the device is emulated or may have delegated to an emulated device: for tests, never drawn and never chosen; otherwise empty"),
    _identity("batch", "batch", "samples in one inference request", text=False),
    _identity("shape", "shape", "input shapes of the compiled model, ? for the batch or an open dimension; empty: the model's shapes"),
    _identity("data_shape", "data shape", "input shapes of inference with a model compiled with open dimensions; empty: the shapes of the compiled model"),
    _identity("prompt_length", "prompt", "tokens of each prompt of a text generator", text=False),
    _identity("output_length", "output", "tokens that each request of a text generator generates", text=False),
    _identity("kv_cache_precision", "KV cache", "requested precision of the KV cache of a text generator; default: the default of the device"),
    _identity("load", "load", "performance hint, or explicit streams, requests and threads; of a text generator, the requests in flight"),
    Column("concurrency", "concurrency", "figure", "requests of a text generator in flight together, empty in an open loop: as requested, or the highest that keeps the limits of the search"),
    _identity("precision", "precision requested", "requested inference precision; default: the default of the device"),
    _identity("executed_precision", "executed", "precision that the layers with arithmetic run in: i8 if any layer does, and that of most other FLOPs; what the device reports where the layers are unknown"),
    _identity("hint", "hint", "OpenVINO performance hint; empty with an explicit load"),
    Column("streams", "streams", "figure", "NUM_STREAMS of the compiled model"),
    Column("requests", "requests", "figure", "inference requests in flight"),
    Column("threads", "threads", "figure", "INFERENCE_NUM_THREADS of the compiled model"),
    _identity("status", "status", "ok (measured), failed with a reason, or estimated: compiled for a device that is not available, without inference"),
    _identity("verdict", "verdict", "stable, contended (other processes used the CPU), throttled (clock, heat or a CPU quota) or unsteady (did not converge in time, drifted, or was stopped)"),
    _identity("reason", "reason", "reason of the failure"),
    Column("latency_p50_ms", "p50", "figure", f"median {_LATENCY}", "ms", "lower", True),
    Column("latency_p90_ms", "p90", "figure", f"90th percentile of the {_LATENCY}", "ms", "lower"),
    Column("latency_p99_ms", "p99", "figure", f"99th percentile of the {_LATENCY}", "ms", "lower", True),
    Column("latency_mean_ms", "mean", "figure", f"mean {_LATENCY}", "ms", "lower"),
    Column("latency_min_ms", "min", "figure", f"minimum {_LATENCY}", "ms", "lower"),
    Column("latency_max_ms", "max", "figure", f"maximum {_LATENCY}", "ms", "lower"),
    Column("latency_estimate_ms", "latency (compiler's estimate)", "figure", "ESTIMATE without inference: time of one inference of `batch` samples that the device's compiler expects; only in rows with the status estimated", "ms", "lower"),
    Column("tokens_s", "tokens/s", "figure", "tokens generated by all requests together / wall seconds, with the time of the prompts", "tokens/s", "higher", True),
    Column("ttft_ms", "TTFT", "figure", f"median {_TTFT}", "ms", "lower", True),
    Column("ttft_p99_ms", "TTFT p99", "figure", f"99th percentile of the {_TTFT}", "ms", "lower", True),
    Column("tpot_ms", "TPOT", "figure", "median over the requests of the time per output token after the first", "ms", "lower", True),
    Column("itl_p50_ms", "inter-token p50", "figure", f"median {_ITL}", "ms", "lower", True),
    Column("itl_p99_ms", "inter-token p99", "figure", f"99th percentile of the {_ITL}", "ms", "lower", True),
    Column("throughput_fps", "throughput", "figure", "samples completed / wall seconds, over the measured time; of a text generator, requests with all their tokens", "samples/s", "higher", True),
    Column("speedup_f32_x", "vs f32", "derived", "throughput / throughput of the uncompressed variant in f32, same device, shapes, batch and load, round by round", "x", "higher", True),
    Column("speedup_default_x", "vs default", "derived", "throughput / throughput of the uncompressed variant in the device's default precision, same device, shapes, batch and load, round by round", "x", "higher", True),
    Column("cpu_s_per_sample", "CPU s/sample", "figure", "CPU time of the measuring process / samples (CPU device only)", "s", "lower"),
    Column("throughput_uncontended_fps", "uncontended (estimate)", "figure", "ESTIMATE, not observed: threads / CPU time per sample, the throughput without other load (CPU device only)", "samples/s", "higher", True),
    Column("rate_rps", "arrivals", "figure", "arrival rate of an open loop with Poisson gaps: the requested rate, or the highest rate within the latency limit, with the bracket of the search as interval; empty for a closed loop", "requests/s", "higher", True),
    Column("others_cpu_pct", "others' CPU", "figure", "CPU time of other processes and the hypervisor during measuring, as a share of the machine", "%", "lower"),
    Column("cpu_wait_pct", "CPU wait", "figure", "share of the demanded CPU time for which the measuring process waited for a processor, including its own threads that wait for one another", "%", "lower"),
    Column("steal_pct", "steal", "figure", "CPU time that a hypervisor gave to other machines, as a share of the machine", "%", "lower"),
    Column("cpu_pressure_pct", "CPU pressure", "figure", "share of the time in which a task of the machine waited for a processor", "%", "lower"),
    Column("quota_wait_pct", "quota wait", "figure", "share of the processors' time for which the CPU quota of a control group paused the process", "%", "lower"),
    Column("switches_hz", "switches", "figure", "involuntary context switches of the measuring process", "1/s", "lower"),
    Column("clock_mhz", "clock", "figure", "mean clock of the usable processors; empty if unknown, as in most virtual machines", "MHz"),
    Column("drift_pct", "drift", "figure", "change of the throughput from the first round to the last", "%"),
    Column("windows", "windows", "figure", "measured windows of about 100 ms"),
    Column("quiet_windows", "quiet windows", "figure", "undisturbed windows; figures use only these if there are enough"),
    Column("pinned", "pinned", "figure", "1 if the compiled model binds its threads to processors, 0 if not; empty if unknown"),
    Column("usable_cpus", "usable CPUs", "figure", "processors available to the measuring process"),
    Column("quota_cpus", "CPU quota", "figure", "CPU quota of the control group in processors; empty without a limit"),
    Column("compile_cold_ms", "compile cold", "figure", "compilation in a new process without a cache; of a text generator, reading and compiling: the first load", "ms", "lower"),
    Column("compile_cached_ms", "compile cached", "figure", "compilation in a new process from the model cache", "ms", "lower"),
    Column("trial_compile_ms", "trial compile", "figure", "compilation for a device that is not available, by the device's offline compiler; only in rows with the status estimated", "ms", "lower"),
    Column("first_inference_ms", "first inference", "figure", "the first inference after compilation without a cache; of a text generator, a single request", "ms", "lower"),
    Column("first_inference_cached_ms", "first inference, cached", "figure", "the first inference after compilation from the model cache", "ms", "lower"),
    Column("peak_rss_mib", "peak memory", "figure", "maximum resident memory of the measuring process", "MiB", "lower"),
    Column("rss_growth_mib", "memory growth", "figure", "peak memory minus the memory of the process before it read the model", "MiB", "lower"),
    Column("rss_load_mib", "memory: load", "figure", f"{_PHASE} reads the graph; empty where the system cannot reset the maximum", "MiB", "lower"),
    Column("rss_compile_mib", "memory: compile", "figure", f"{_PHASE} makes the pipeline: reads, converts and compiles the model", "MiB", "lower"),
    Column("rss_prefill_mib", "memory: prefill", "figure", f"{_PHASE} reads the first prompt, up to its first token", "MiB", "lower"),
    Column("rss_decode_mib", "memory: decode", "figure", f"{_PHASE} serves all further requests", "MiB", "lower"),
    Column("blob_mib", "compiled size", "figure", "size of the compiled model in the model cache or from the offline compiler", "MiB", "lower"),
    Column("model_mib", "size", "figure", "graph and weights of the IR", "MiB", "lower"),
    Column("coded_mib", "coded size (on paper)", "figure", "ON PAPER, without a file: the size with Huffman-coded weights per layer, and relative indices for many zeros, where that is smaller; including the codes", "MiB", "lower"),
    Column("parameters", "parameters", "figure", "weights, biases, scales and tables of the network, however they are stored; shared ones count once"),
    Column("nonzero_pct", "nonzero", "figure", "share of nonzero weights", "%"),
    Column("distinct_weights", "distinct weights", "figure", "distinct stored values of weights, before scales, summed over the layers"),
    Column("limit_ms", "roofline limit", "figure", "CALCULATED, not observed: lower bound of the time of one inference of `batch` samples, each layer by the peak of its precision or by the bandwidth of the calibrated device; only under the latency hint, and empty without a calibration", "ms"),
    Column("memory_bound_pct", "bound by memory", "figure", "CALCULATED, not observed: share of the expected layer time in layers that are limited by bandwidth; known where the roofline limit is known", "%"),
    Column("gflops", "GFLOP/sample", "figure", "arithmetic of one sample: multiply-adds of convolutions, matrix products, attention and recurrent cells; 1 MAC = 2 FLOPs", "GFLOP"),
    Column("flops_i8_pct", "in INT8", "figure", f"{_FLOPS} i8 or u8; {_SHOWN}", "%"),
    Column("flops_bf16_pct", "in bf16", "figure", f"{_FLOPS} bf16; {_SHOWN}", "%"),
    Column("flops_f16_pct", "in f16", "figure", f"{_FLOPS} f16; {_SHOWN}", "%"),
    Column("flops_f32_pct", "in f32", "figure", f"{_FLOPS} f32; {_SHOWN}", "%"),
    Column("energy_mj_per_sample", "energy", "figure", "energy per sample by the machine's counters; empty without a readable counter", "mJ", "lower"),
    Column("power_w", "power", "figure", "mean power during measuring, by the same counters", "W", "lower"),
    Column("accuracy_top1", "top-1", "figure", "share of samples with the label as class (highest output, index, or side of the threshold), on the same device and precision", "", "higher", True),
    Column("accuracy_top5", "top-5", "figure", "share of samples with the label among the five highest outputs", "", "higher", True),
    Column("accuracy_characters", "character accuracy", "figure", "1 - character error rate: edits from the recognized texts to the labels / characters of the labels", "", "higher", True),
    Column("agreement_top1", "agreement", "figure", f"share of samples with the class (of lines: the text) of the {_AGREE}", "", "higher", True),
    Column("mean_absolute_error", "mean absolute error", "figure", "mean |output - label| over the values of a sample and over the samples, in the unit of the labels", "", "lower", True),
    Column("mean_average_precision", "mAP", "figure", "mean average precision of the detected boxes at IoU 0.50 to 0.95, as COCO defines it", "", "higher", True),
    Column("mean_iou", "mean IoU", "figure", "mean over the classes of intersection / union of the predicted and the labeled pixels of all samples", "", "higher", True),
    Column("perplexity", "perplexity", "figure", "exponential of the mean negative log-likelihood of a token of the text, given the tokens before it in a moving window", "", "lower", True),
    Column("perplexity_rise_pct", "perplexity rise", "figure", f"rise of the perplexity over that of the {_AGREE}, on the same text; negative where it is lower; the interval is paired by window", "%", "lower", True),
    Column("kl_divergence", "KL divergence", "figure", f"mean Kullback-Leibler divergence of the probabilities of the next token from those of the {_AGREE}", "nats", "lower", True),
    Column("token_agreement", "equal top tokens", "figure", f"share of the tokens of the text for which the most likely next token is that of the {_AGREE}", "", "higher", True),
    Column("greedy_tokens", "equal greedy tokens", "figure", f"mean number of most likely tokens after prompts from the text before the first that the {_AGREE} does not choose; at most 64", "tokens", "higher"),
    Column("custom_metric", "custom metric", "figure", "what the user's module:function returns; higher is better", "", "higher", True),
    Column("output_cosine", "cosine", "figure", f"mean over the samples of the cosine with the output of the {_AGREE}; below 8 values a sample: of the deviations from its mean, over all samples; of the worst output, or group of its channels", "", "higher", True),
    Column("output_relative_error", "relative error", "figure", f"RMS difference from the output of the {_AGREE} / RMS deviation of that output from its mean over the samples; of the worst output, or group of its channels", "", "lower"),
    Column("output_max_abs_difference", "largest difference", "figure", f"largest absolute difference of an output from the output of the {_AGREE}", "", "lower"),
    Column("output_size_differs_pct", "sizes differ", "figure", f"share of the samples with an output of another size than that of the {_AGREE}; empty if all sizes are fixed", "%", "lower"),
    Column("quality_loss", "loss", "figure", "by labels: how much worse than the uncompressed model on the CPU in f32, on the same samples, in the unit of the metric; negative where it is better; the interval is paired by sample", "", "lower", True),
    Column("samples_lost", "lost", "figure", "samples that the uncompressed model on the CPU in f32 has right and this row wrong", "", "lower"),
    Column("samples_won", "won", "figure", "samples that the uncompressed model on the CPU in f32 has wrong and this row right", "", "higher"),
    Column("quality_samples", "samples", "figure", "number of samples of the quality"),
    Column("quality_tokens", "tokens", "figure", "number of tokens of the text that the perplexity is over"),
    Column("inferences", "inferences", "figure", "completed inference requests"),
    Column("measured_s", "measured", "figure", "measuring time, all rounds together", "s"),
    _identity("machine", "machine", "processor and host of the environment"),
    _identity("host", "host", "name of the host of a fleet; empty without a fleet"),
    _identity("host_labels", "host labels", "labels of the host, NAME=VALUE with commas between; empty without labels"),
    _identity("environment", "environment", "hash of the machine and software, see environment.json"),
    _identity("sweep", "sweep", "name of the sweep of the row"),
    _identity("trial", "trial", "hash of the trial: the same on every machine"),
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


def metric_column(metric: Metric) -> QualityMetric:
    """Return the column of a metric; that of a user's function is ``custom_metric``."""
    return METRIC_COLUMNS.get(metric, "custom_metric")


def common_metric(metrics: Collection[QualityMetric]) -> QualityMetric:
    """Return what sweeps with different metrics have in common, if they have baselines.

    That is the agreement where all judge classes or texts, else the cosine.
    """
    classes = {"accuracy_top1", "agreement_top1", "accuracy_characters"}
    return "agreement_top1" if classes.issuperset(metrics) else "output_cosine"


def quality_loss(column: str, before: float, after: float) -> float:
    """Return how much worse a figure became, in its unit; negative where it is better."""
    return after - before if BY_NAME[column].better == "lower" else before - after


FIGURES = frozenset(n for c in COLUMNS if c.kind == "figure" for n in c.names)
