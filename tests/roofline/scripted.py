"""A scripted device whose rates are known."""

from ovtool import api
from ovtool.benchmark.fake import FakeRunner
from ovtool.benchmark.session import TrialFailedError
from ovtool.core.sweep_spec import MeasurementSettings
from ovtool.graph.geometry import Geometry
from ovtool.graph.runtime import Layer
from ovtool.roofline import probes
from ovtool.roofline.probes import Probe

QUICK = MeasurementSettings(rounds=3, round_s=0.03, max_seconds=0.5, starts=False)


PROBES = (
    Probe(probes.OVERHEAD, 8, copies=2),
    Probe(probes.OVERHEAD, 8, copies=10),
    Probe("elementwise", 4096, copies=2),
    Probe("elementwise", 65536, copies=2),
    Probe("product", 4, 32, 32, copies=2),
    Probe("product", 16, 32, 32, copies=2),
    Probe("convolution", 8, 4, 8, kernel=3, copies=2),
)


INFERENCE_MS, LAYER_MS = 0.02, 0.002


SPEED = {"f32": 1e9, "bf16": 2e9, "i8": 4e9}


def executed(trial):
    """The layers that a probe's name tells; each with 10^5 FLOPs or as many bytes."""
    kind, *_, copies = trial.variant_name.removesuffix("-int8").split("-")
    precision = "i8" if trial.variant_name.endswith("-int8") else trial.precision
    count = int(copies[1:])
    if kind == "product":
        rows = int(trial.variant_name.split("-")[1])
        size = Geometry("product", rows, 32, 32, weights=1024)
        return tuple(
            Layer(f"fc{i}", "FullyConnected", precision, "", 10**5, geometry=size, data_bytes=0)
            for i in range(count)
        )
    if kind == "convolution":
        size = Geometry("convolution", 64, 4, 8, 9)
        return tuple(
            Layer(f"c{i}", "Convolution", precision, "", 10**5, geometry=size, data_bytes=0)
            for i in range(count)
        )
    return tuple(Layer(f"e{i}", "Eltwise", "f32", "", data_bytes=10**5) for i in range(count))


def script(trial, _):
    if trial.precision == "f16":
        raise TrialFailedError("asked for f16, but the device would run in bf16")
    layers = executed(trial)
    own_ms = sum(
        1000 * (layer.flops / SPEED[layer.precision] if layer.flops else layer.data_bytes / 1e9)
        for layer in layers
        if not trial.variant_name.startswith(probes.OVERHEAD)
    )
    return INFERENCE_MS + LAYER_MS * len(layers) + own_ms


def calibrate(**changed):
    fields = {
        "settings": QUICK,
        "probe_list": PROBES,
        "runner": FakeRunner(script, 0.1, 0, executed),
    }
    return api.calibrate("CPU", **(fields | changed))
