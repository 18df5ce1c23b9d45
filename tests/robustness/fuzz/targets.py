"""The readers: a small valid file of each, built by code, and the function that reads it."""

from __future__ import annotations

import functools
import json
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.helpers import sweeps
from tests.robustness import inputs
from tests.robustness.fuzz import formats

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Target:
    """A reader.

    Args:
        files: Writes a folder of valid files.
        victim: The file to mutate.
        read: Reads the folder; raises OvtoolError if a file is refused.
        repair: Restores what the reader checks first (hashes, lengths), so that a mutation gets
            further.
    """

    files: Callable[[Path], object]
    victim: str
    read: Callable[[Path], object]
    repair: Callable[[Path], object] = lambda _: None


def _variant(folder: Path) -> None:
    from tests.helpers.graphs import save

    save(folder / "v", _tiny_model())


def _tiny_model() -> Any:
    import openvino as ov
    from openvino import opset15 as op

    x = op.parameter([-1, 3, 8, 8], ov.Type.f32, name="x")
    x.output(0).set_names({"x"})
    kernels = op.constant(np.ones((4, 3, 3, 3), np.float32))
    h = op.relu(op.convolution(x, kernels, [1, 1], [0, 0], [0, 0], [1, 1]))
    h = op.reshape(h, op.constant(np.array([0, -1])), special_zero=True)
    h = op.matmul(h, op.constant(np.ones((144, 2), np.float32)), False, False)
    h.output(0).set_names({"y"})
    x.set_layout(ov.Layout("NCHW"))
    return ov.Model([op.result(h)], [x], "tiny")


def _rehash(folder: Path) -> None:
    """Record the hash and the sizes of changed files, as an attacker would."""
    from ovtool.core import files

    record = folder / "v" / "variant.json"
    xml, weights = folder / "v" / "model.xml", folder / "v" / "model.bin"
    document = json.loads(record.read_bytes())
    document.pop("crc32", None)
    document |= {"xml_bytes": xml.stat().st_size, "bin_bytes": weights.stat().st_size}
    record.write_text(json.dumps(document | {"sha256": files.sha256(xml, weights)}))


def _analyze(folder: Path) -> object:
    from ovtool import api

    return api.analyze(folder / "v")


def _load_variant(folder: Path) -> object:
    from ovtool.core.variant import Variant

    return Variant.load(folder / "v")


def _onnx(folder: Path) -> None:
    from tests.helpers.owned import write_onnx

    write_onnx(folder / "m.onnx")


def _sweep(folder: Path) -> None:
    from ovtool.results.sweep_rows import write_sweep_rows

    sweeps.whole(folder / "s", batches=(1,))
    write_sweep_rows(folder / "s")


def _choose(folder: Path) -> object:
    from ovtool import api
    from ovtool.results.table import load_results

    load_results([folder / "s"])
    return api.choose([folder / "s"])


def _rows(folder: Path) -> None:
    """A changed table of rows is rebuilt: it never gives other figures."""
    from ovtool.results.sweep_rows import load_sweep_rows

    assert load_sweep_rows(folder / "s").rows.equals(_true_rows())


@functools.cache
def _true_rows() -> Any:
    import tempfile

    from ovtool.results.sweep_rows import load_sweep_rows

    with tempfile.TemporaryDirectory() as folder:
        _sweep(Path(folder))
        return load_sweep_rows(Path(folder) / "s").rows.combine_chunks()


def _resume(folder: Path) -> object:
    from ovtool.core.sweep_folder import SweepFolder

    sweep = SweepFolder.create(folder / "s")
    return sweep.plan, sweep.environment, list(sweep.measurements())


def _without_rows(folder: Path) -> None:
    _sweep(folder)
    (folder / "s" / "results.parquet").unlink()


def _recipe(folder: Path) -> None:
    (folder / "r.yaml").write_text(
        inputs.RECIPE + "choose: {objective: latency, max_latency_ms: 20}\n"
    )


def _read_recipe(folder: Path) -> object:
    from ovtool.recipes.schema import read_recipe

    return read_recipe(folder / "r.yaml")


def _prices(folder: Path) -> None:
    (folder / "p.yaml").write_text("currency: EUR\nprices:\n  '*EPYC*': 0.08\n  'a?': 1\n")
    (folder / "p.csv").write_text("machine,price_per_hour,currency\n*EPYC*,0.08,EUR\n*,1,EUR\n")


def _read_prices(name: str) -> Callable[[Path], object]:
    def read(folder: Path) -> object:
        from ovtool.selection.prices import read_prices

        return read_prices(folder / name).of("AMD EPYC 7")

    return read


def _profile(folder: Path) -> None:
    document = {
        "variant": "v", "device": "CPU", "executed_precision": "f32", "batch": 1,
        "load": "latency", "inferences": 10, "inference_ms": 1.0,
    }  # fmt: skip
    (folder / "profile.json").write_text(json.dumps(document))
    (folder / "layers.csv").write_text(
        "name,label,type,precision,time_ms,share_pct,gflops_per_s,intensity,bound\n"
        "a,a,Convolution,f32,0.5,50,10,3,compute\nb,b,MatMul,f32,0.5,50,20,2,memory\n"
    )


def _read_profile(folder: Path) -> object:
    from ovtool.charts.layer_report import load_profile_charts

    return load_profile_charts([folder])


def _calibration(folder: Path) -> None:
    from ovtool.roofline import calibration as c

    os.environ["XDG_CACHE_HOME"] = str(folder)
    over = c.Overhead(value_s=1e-6)
    peak = c.Peak(hint="latency", precision="f32", flops_per_s=1e12, verdict="stable")
    c.write(
        c.Calibration(
            environment="e", machine="m", device="CPU", full_name="cpu", created="2026",
            layer=over, inference=over, peaks=(peak,), rates=(),
        )
    )  # fmt: skip


def _read_calibration(folder: Path) -> object:
    from ovtool.roofline import calibration

    os.environ["XDG_CACHE_HOME"] = str(folder)
    read = calibration.read("e", "CPU")
    return read and (read.device_rates(), read.bandwidths(), read.summary)


@functools.cache
def _ports() -> Any:
    from ovtool.core.ports import ports

    return ports(_tiny_model())["inputs"]


def _images(folder: Path) -> None:
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 255, (12, 10, 3), np.uint8)
    (folder / "i").mkdir()
    for suffix in ("png", "jpg", "bmp", "gif", "tiff", "webp", "ppm"):
        Image.fromarray(pixels).save(folder / "i" / f"{suffix}.{suffix}")
    (folder / "l.csv").write_text('file,label\npng.png,0\njpg.jpg,1\n"bmp.bmp",2\n')
    objects = [{"image_id": 1, "category_id": 3, "bbox": [1, 2, 3, 4], "iscrowd": 0, "id": 1}]
    document = {
        "images": [{"id": 1, "file_name": "png.png", "width": 10, "height": 12}],
        "annotations": objects,
        "categories": [{"id": 3, "name": "c"}],
    }
    (folder / "l.json").write_text(json.dumps(document))
    (folder / "m").mkdir()
    Image.fromarray(pixels[..., 0] % 3).save(folder / "m" / "png.png")


def _load(data: str, labels: str | None = None) -> Callable[[Path], object]:
    def read(folder: Path) -> object:
        from ovtool.datasets.registry import load_samples
        from ovtool.datasets.samples import read_labels

        table = folder / labels if labels else None
        samples = load_samples(str(folder / data), _ports(), None, labels=table)
        return [sample.inputs["x"].sum() for sample in samples], read_labels(samples)

    return read


def _arrays(folder: Path) -> None:
    values = np.random.default_rng(0).standard_normal((3, 3, 8, 8)).astype(np.float32)
    np.savez(folder / "a.npz", x=values, label=np.arange(3))
    np.savez_compressed(folder / "c.npz", x=values, label=np.array(["a", "b", "c"]))
    np.save(folder / "a.npy", values)


def _weights(folder: Path) -> None:
    import torch
    from safetensors.torch import save_file

    state = {"w": torch.ones(3, 2), "b": torch.zeros(3, dtype=torch.float16)}
    save_file(state, folder / "w.safetensors")
    torch.save(state, folder / "w.pt")
    torch.save(state, folder / "old.pt", _use_new_zipfile_serialization=False)


def _read_weights(name: str) -> Callable[[Path], object]:
    def read(folder: Path) -> object:
        from ovtool.models.torch_weights import read_state_dict

        state = read_state_dict(folder / name)
        return [tensor.double().sum() for tensor in state.values()]

    return read


def _relength(folder: Path) -> None:
    """Write the length of a changed header of safetensors."""
    path = folder / "w.safetensors"
    data = path.read_bytes()
    end = data.rfind(b"}") + 1
    if end > 8:
        path.write_bytes(struct.pack("<Q", end - 8) + data[8:])


TARGETS: dict[str, Target] = {
    "variant-record": Target(_variant, "v/variant.json", _load_variant),
    "variant-graph": Target(_variant, "v/model.xml", _analyze, _rehash),
    "variant-weights": Target(_variant, "v/model.bin", _analyze, _rehash),
    "ir": Target(_variant, "v/model.xml", formats.read_source("v/model.xml")),
    "onnx": Target(_onnx, "m.onnx", formats.read_source("m.onnx")),
    "rows": Target(_sweep, "s/results.parquet", _rows),
    "journal": Target(_without_rows, "s/journal.jsonl", _choose),
    "plan": Target(_without_rows, "s/plan.json", _choose),
    "environment": Target(_without_rows, "s/environment.json", _choose),
    "resume": Target(_sweep, "s/plan.json", _resume),
    "recipe": Target(_recipe, "r.yaml", _read_recipe),
    "prices-yaml": Target(_prices, "p.yaml", _read_prices("p.yaml")),
    "prices-csv": Target(_prices, "p.csv", _read_prices("p.csv")),
    "profile": Target(_profile, "profile.json", _read_profile),
    "profile-layers": Target(_profile, "layers.csv", _read_profile),
    "calibration": Target(_calibration, "ovtool/calibration/e/CPU.json", _read_calibration),
    "labels-csv": Target(_images, "l.csv", _load("i", "l.csv")),
    "labels-coco": Target(_images, "l.json", _load("i", "l.json")),
    "masks": Target(_images, "m/png.png", _load("i", "m")),
    **{
        f"image-{suffix}": Target(_images, f"i/{suffix}.{suffix}", _load("i"))
        for suffix in ("png", "jpg", "bmp", "gif", "tiff", "webp", "ppm")
    },
    "npz": Target(_arrays, "a.npz", _load("a.npz")),
    "npz-compressed": Target(_arrays, "c.npz", _load("c.npz")),
    "npy": Target(_arrays, "a.npy", _load("a.npy")),
    "safetensors": Target(_weights, "w.safetensors", _read_weights("w.safetensors")),
    "safetensors-header": Target(
        _weights, "w.safetensors", _read_weights("w.safetensors"), _relength
    ),
    "state-dict": Target(_weights, "w.pt", _read_weights("w.pt")),
    "state-dict-old": Target(_weights, "old.pt", _read_weights("old.pt")),
    "tflite": Target(formats.write_tflite, "m.tflite", formats.read_source("m.tflite")),
    "paddle": Target(formats.write_paddle, "m.pdmodel", formats.read_source("m.pdmodel")),
    "pt2-refused": Target(formats.write_torch, "m.pt2", formats.refuse_source("m.pt2")),
    "pt-refused": Target(formats.write_torch, "m.pt", formats.refuse_source("m.pt")),
    "script-refused": Target(formats.write_torch, "script.pt", formats.refuse_source("script.pt")),
    "search-state": Target(formats.write_state, "state.json", formats.read_state),
    "training-state": Target(formats.write_checkpoint, "training.pt", formats.read_checkpoint),
}
