"""INT8 of real networks against NNCF's default: quality, share in INT8, size, speed, time.

``make bench`` runs it; what is not installed is skipped. Quality is computed in the kernels of this
CPU. ``OVTOOL_BENCH_EFFORTS`` are the efforts to compare, by default ``none,low,medium``.
"""

import os
import statistics
import time

import openvino as ov
import pytest

from ovtool import api
from ovtool.core.paired import compare_scores
from ovtool.datasets.samples import FirstSamples, batches
from ovtool.evaluation.evaluator import GraphEvaluator
from ovtool.graph.flops import compute_cost
from ovtool.graph.reference_run import EXACT_PROPERTIES
from ovtool.graph.runtime import compute_precision_shares, read_layers
from tests.benchmarks.int8_networks import CALIBRATION, JUDGED, NETWORKS

LEAST_INT8 = 0.95
"""Share of the FLOPs in INT8, on the CPU."""
PARTLY_FLOAT = ("noise suppressor", "tiny ViT", "MiniLM")
"""Networks with GRU layers or attention, which INT8 leaves in float in part."""
TOLERANCE = 0.005
"""Of a metric that is no share of samples."""
EFFORTS = os.environ.get("OVTOOL_BENCH_EFFORTS", "none,low,medium").split(",")
ROUNDS, ROUND_S = 8, 0.3


def open_request(variant, feed):
    model = ov.Core().read_model(variant.xml)
    model.reshape({name: list(values.shape) for name, values in feed.items()})
    compiled = ov.Core().compile_model(model, "CPU", EXACT_PROPERTIES)
    return compiled, compiled.create_infer_request()


def cpu_time(request, feed):
    """CPU seconds of an inference, over a short round."""
    started, count, end = time.process_time(), 0, time.perf_counter() + ROUND_S
    while time.perf_counter() < end:
        request.infer(feed)
        count += 1
    return (time.process_time() - started) / count


def describe(network, variant, evaluator, before):
    """The figures of a variant: quality with its paired loss, share in INT8, MiB, speed-up."""
    metric = evaluator(ov.Core().read_model(variant.xml))
    paired = None
    if before is not None and evaluator.sample_scores is not None:
        paired = compare_scores(before, evaluator.sample_scores)
    sample = next(iter(network.samples(network.judged)))
    batch = next(batches([sample], network.variant.record.inputs, 1))
    feed = dict(batch.inputs)
    compiled, request = open_request(variant, feed)
    _, plain = open_request(network.variant, feed)
    ratios = [cpu_time(plain, feed) / cpu_time(request, feed) for _ in range(ROUNDS)]
    model = ov.Core().read_model(variant.xml)
    model.reshape({name: list(values.shape) for name, values in feed.items()})
    cost = compute_cost(model)
    shares = compute_precision_shares(read_layers(compiled, cost) or ())
    return metric, paired, shares, statistics.median(ratios)


@pytest.mark.benchmark
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", NETWORKS)
def test_int8_keeps_more_than_the_default_of_nncf(name, tmp_path):
    network = NETWORKS[name](tmp_path)
    samples = FirstSamples(network.samples(network.judged), JUDGED)
    evaluator = GraphEvaluator(samples, network.variant)
    in_float = evaluator(ov.Core().read_model(network.variant.xml))
    before = evaluator.sample_scores
    print(f"\n{name}: {evaluator.metric} FP32 {in_float.value:.4f}, {len(samples)} samples,"
          f" {network.variant.model_mib:.1f} MiB")  # fmt: skip
    losses, scores = {}, {}
    for effort in EFFORTS:
        started, cpu = time.perf_counter(), time.process_time()
        variant = api.compress(
            network.variant, "int8", data=network.calibration, limit=CALIBRATION,
            settings={"effort": effort}, out=tmp_path / effort,
        )  # fmt: skip
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        metric, paired, shares, speed = describe(network, variant, evaluator, before)
        losses[effort] = in_float.value - metric.value
        scores[effort] = evaluator.sample_scores
        if effort != "none":
            assert shares["i8"] >= LEAST_INT8 or name in PARTLY_FLOAT, shares
        interval = "" if paired is None else (
            f" drop [{paired.drop.low:.4f}, {paired.drop.high:.4f}]"
        )  # fmt: skip
        if paired is not None and paired.lost is not None:
            interval = f" lost {paired.lost} won {paired.won}{interval}"
        details = variant.record.steps[-1].details
        chosen = details.get("chosen") or {d["setting"]: d["value"] for d in details["decisions"]}
        print(f"{effort:7s} {metric.value:.4f}{interval} i8 {shares} {variant.model_mib:.2f} MiB"
              f" {speed:.2f}x {seconds:.0f} s, CPU {cpu:.0f} s, {chosen}", flush=True)  # fmt: skip
    first = EFFORTS[0]
    for effort, loss in losses.items():
        if before is None:
            assert loss <= losses[first] + TOLERANCE, effort
            continue
        # Not significantly worse than the default; a quarter or more of its loss is back.
        assert compare_scores(scores[first], scores[effort]).drop.low <= 0, effort
        if effort != first and compare_scores(before, scores[first]).drop.low > 0:
            assert loss <= 0.75 * losses[first], effort
