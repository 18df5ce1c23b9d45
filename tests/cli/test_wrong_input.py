"""Wrong input: one clear line, the right exit code, no traceback, nothing half-written."""

import os
import pickle
import sys

import numpy as np
import pytest
from PIL import Image

from ovtool.devices import discovery
from tests.helpers import sweeps
from tests.models import source_models as sources


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("none.onnx", None, "model not found: "),
        ("empty.onnx", b"", "model is empty: "),
        ("noise.onnx", bytes(range(256)) * 4, "cannot read "),
        ("empty.xml", b"", "model is empty: "),
        ("page.xml", b"<html></html>", "page.xml"),
        ("model.weird", b"abc", "model.weird"),
    ],
)
def test_a_model_that_is_none(refused, tmp_path, name, content, said):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    error = refused("convert", tmp_path / name, "--out", tmp_path / "out")
    assert said in error
    assert name in error


def test_an_ir_without_its_weights(refused, tmp_path):
    xml = sources.conv_ir(tmp_path / "m.xml")
    xml.with_suffix(".bin").unlink()
    assert "m.bin is missing" in refused("convert", xml, "--out", tmp_path / "out")


def test_a_truncated_onnx_file(refused, tmp_path):
    path = sources.conv_onnx(tmp_path / "m.onnx")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "is the file complete?" in refused("convert", path, "--out", tmp_path / "out")


@pytest.mark.parametrize("suffix", ["pt", "pkl"])
def test_a_pickle_is_not_run(refused, tmp_path, suffix):
    made = tmp_path / "made"
    path = tmp_path / f"m.{suffix}"
    path.write_bytes(pickle.dumps(Payload(made)))
    assert "can run any code" in refused("convert", path, "--out", tmp_path / "out")
    assert not made.exists()


def test_pickled_samples_are_not_run(refused, tmp_path, small):
    made, arrays = tmp_path / "made", tmp_path / "a.npz"
    np.savez(arrays, x=np.array([Payload(made)], dtype=object))
    error = refused("compress", small.folder, "int8", "--data", arrays, "--out", tmp_path / "out")
    assert "holds Python objects" in error
    assert not made.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("quantize",), "unknown method 'quantize'"),
        (("int9",), "unknown method 'int9' | did you mean int8?"),
        (("weights", "--set", "mod=int8_sym"), "unknown setting 'mod', did you mean mode?"),
        (("weights", "--set", "mode=int9"), "method weights: mode: "),
        (("weights", "--set", "mode"), "--set 'mode' is not key=value"),
        (
            ("int8",),
            "method int8 needs samples to calibrate on | give some with --data",
        ),
        (("int8", "--data", "nowhere"), "data not found: 'nowhere'"),
        (("int8", "--data", "noise", "--labels", "x.csv"), "a CSV of labels goes with a folder"),
        (("int8", "--data", "sample:cats"), "unknown sample 'cats'"),
        (("fp16", "--labels", "x.csv"), "--labels needs --data"),
        (("fp16", "--limit", "0"), "'--limit'"),
        (("fp16", "--mean", "1,x"), "--mean: '1,x' is not a number"),
        (("fp16", "--channels", "CMYK"), "--channels: "),
        (("fp16", "--size", "224"), "--size: '224' is not a height and a width | as 224x224"),
        (("fp16", "--size", "?x224"), "--size: '?x224'"),
        (("fp16", "--mean", "nan"), "--mean: Input should be a finite number"),
        (("fp16", "--size", "0x3"), "not a shape: '0x3'"),
        (("fp16", "--shape", "1x3"), "--shape '1x3' is not NAME=VALUE"),
        (("fp16", "--tolerance", "-1"), "--tolerance: "),
    ],
)
def test_compress_says_what_is_wrong(refused, small, tmp_path, arguments, said):
    assert said in refused("compress", small.folder, *arguments, "--out", tmp_path / "out")


def test_a_folder_without_images(refused, small, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("no image")
    for folder in ("empty", "notes"):
        arguments = ("int8", "--data", tmp_path / folder, "--out", tmp_path / "out")
        assert "no images in" in refused("compress", small.folder, *arguments)


def test_a_damaged_image_is_named(refused, small, tmp_path):
    (tmp_path / "images").mkdir()
    Image.new("RGB", (32, 32)).save(tmp_path / "images" / "a.png")
    (tmp_path / "images" / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    arguments = ("int8", "--data", tmp_path / "images", "--size", "16x16")
    assert "b.png" in refused("compress", small.folder, *arguments, "--out", tmp_path / "out")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--batch", "0"), "--batch: '0' is not a whole number of at least 1"),
        (("--batch", "x"), "--batch: 'x' is not a whole number of at least 1"),
        (("--batch", "1,-2"), "--batch: '-2'"),
        (("--batch", "1.5"), "--batch: '1.5'"),
        (("--streams", "0"), "--streams: '0'"),
        (("--hint", "fastest"), "unknown hint 'fastest'"),
        (("--precision", "f31"), "unknown precision 'f31'"),
        (("--device", "XPU"), "unknown device 'XPU'"),
        (("--metric", "top5"), "unknown metric 'top5'"),
        (("--metric", "top1"), "the metric top1 needs samples"),
        (("--metric", "top1", "--data", "noise:4"), "noise:4 has no labels"),
        (("--shape", "x=1x3x16x16,"), "not a shape: ''"),
        (("--shape", "y=1x3x16x16"), "no variant has an input 'y'"),
        (("--data-shape", "1x3"), "--data-shape '1x3' is not NAME=VALUE"),
        (
            ("--shape", "x=2x3x16x16", "--batch", "1,2"),
            "--batch 1 and --shape x=2x3x16x16 contradict each other: its batch is 2",
        ),
        (
            ("--data-shape", "x=1x1,1x2", "--data-shape", "y=1,2,3"),
            "--data-shape: inputs have different numbers of shapes: x has 2, y has 3",
        ),
        (("--rate", "0"), "--rate: '0' is neither a number above 0 nor 'busy'"),
        (("--rate", "10,soon"), "--rate: 'soon' is neither a number above 0 nor 'busy'"),
        (("--rate", "nan"), "--rate: 'nan' is neither"),
        (("--find-rate",), "--find-rate and --max-latency-ms belong together"),
        (("--max-latency-ms", "20"), "--find-rate and --max-latency-ms belong together"),
        (
            ("--find-rate", "--max-latency-ms", "20", "--rate", "5"),
            "a rate is either given or looked for",
        ),
        (("--find-rate", "--max-latency-ms", "nan"), "'--max-latency-ms'"),
        (
            ("--find-rate", "--max-latency-ms", "20", "--percentile", "95"),
            "there is no percentile 95 here",
        ),
        (("--rounds", "1"), "'--rounds'"),
        (("--target-pct", "0"), "'--target-pct'"),
        (("--max-seconds", "nan"), "'--max-seconds'"),
        (("--frobnicate",), "No such option: --frobnicate"),
    ],
)
def test_sweep_says_what_is_wrong(refused, small, tmp_path, arguments, said):
    assert said in refused("sweep", small.folder, *arguments, "--out", tmp_path / "out")


def test_two_variants_of_one_name(refused, small, tmp_path):
    error = refused("sweep", small.folder, small.folder, "--out", tmp_path / "out")
    assert "two variants are called 'small' | rename one with --name" in error


def test_a_sweep_of_what_is_no_model(refused, tmp_path):
    error = refused("sweep", tmp_path / "none.onnx", "--out", tmp_path / "out")
    assert "model not found" in error


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--hint", "fastest"), "unknown hint 'fastest'"),
        (("--precision", "f31"), "unknown precision 'f31'"),
        (("--device", "XPU"), "unknown device 'XPU'"),
        (("--shape", "y=1x3"), "no variant has an input 'y'"),
        (("--shape", "1x3"), "--shape '1x3' is not NAME=VALUE"),
        (("--data", "nowhere"), "data not found: 'nowhere'"),
        (("--batch", "0"), "'--batch'"),
        (("--top", "0"), "'--top'"),
        (("--seconds", "0"), "'--seconds'"),
    ],
)
def test_profile_says_what_is_wrong(refused, small, tmp_path, arguments, said):
    assert said in refused("profile", small.folder, *arguments, "--out", tmp_path / "out")


def test_a_profile_of_what_is_no_model(refused, tmp_path):
    assert "model not found" in refused("profile", tmp_path / "none.onnx")


@pytest.mark.parametrize("verb", ["sweep", "evaluate", "profile", "run"])
def test_a_missing_device_is_no_wrong_input(refused, small, tmp_path, verb, monkeypatch):
    absent = discovery.Device("NPU", available=False, why_not="no driver")
    present = [d for d in discovery.discover() if d.name == "CPU"]
    monkeypatch.setattr(discovery, "discover", lambda: [*present, absent])
    text = f"recipe: 1\nname: x\nmodel: {{source: {small.xml}}}\nvariants: {{a: {{}}}}\n"
    (tmp_path / "r.yaml").write_text(text + "sweep: {devices: [CPU, NPU]}")
    out = ("--out", tmp_path / "out")
    arguments = {
        "sweep": (small.folder, "--device", "CPU,NPU", "--strict", *out),
        "evaluate": (small.folder, "--device", "NPU", "--data", "noise:2"),
        "profile": (small.folder, "--device", "NPU", *out),
        "run": (tmp_path / "r.yaml", "--strict", *out),
    }
    error = refused(verb, *arguments[verb], status=3)
    assert error == "not available: NPU: no driver | ovtool devices --why says what to do"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--precision", "f31"), "unknown precision 'f31'"),
        (("--device", "AUTO:CPU", "--precision", "exact"), "no most accurate mode of its own"),
        (("--tolerance", "0"), "the tolerance 0 is not above 0"),
        (("--tolerance", "nan"), "the tolerance nan is not above 0"),
    ],
)
def test_evaluate_says_what_is_wrong(refused, small, arguments, said):
    found = refused(
        "evaluate", small.folder, "--data", "noise:2", "--baseline", small.folder, *arguments
    )
    assert said in found


def test_only_missing_devices_leave_nothing_to_sweep(refused, small, tmp_path, monkeypatch):
    absent = discovery.Device("NPU", available=False, why_not="no driver")
    monkeypatch.setattr(discovery, "discover", lambda: [absent])
    arguments = ("--device", "NPU", "--out", tmp_path / "out")
    assert "NPU: no driver" in refused("sweep", small.folder, *arguments, status=3)


def test_a_missing_package_is_said_with_how_to_install_it(refused, small, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "foolbox", None)
    arguments = ("int8", "--data", "sample:imagenet20", "--out", tmp_path / "out")
    error = refused("compress", small.folder, *arguments, status=3)
    assert "needs the package foolbox" in error
    assert "pip install 'ovtool[demo]'" in error


def test_a_recipe_with_three_mistakes(ovtool, tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(
        "recipe: 1\nname: x\nmodle: {source: m}\nvariants:\n  a:\n    steps: [int9]\n"
        "    precisions: [f31]\nmodel: {source: m}\n"
    )
    for verb in (("run",), ("recipes", "check")):
        ran = ovtool(*verb, path)
        assert ran.status == 2
        assert ran.out == ""
        head, *lines = ran.errors
        assert head == f"error: {path}: 3 mistakes"
        assert [line.strip().partition(": ")[0] for line in lines] == [
            f"{path}:{number}" for number in (3, 6, 7)
        ]
    assert sorted(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("verb", ["choose", "report"])
def test_a_folder_that_is_no_sweep(refused, tmp_path, verb):
    assert "sweep folder not found" in refused(verb, tmp_path / "none")
    (tmp_path / "empty").mkdir()
    assert "it has no plan.json" in refused(verb, tmp_path / "empty")
    (tmp_path / "bad").mkdir()
    for content in (b"", b"{", b"[]", bytes(range(256))):
        (tmp_path / "bad" / "plan.json").write_bytes(content)
        assert "plan.json" in refused(verb, tmp_path / "bad")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--objective", "beauty"), "unknown objective 'beauty'"),
        (("--percentile", "95"), "95"),
        (("--max-latency-ms", "-1"), "latency"),
        (("--min-quality", "95"), "quality"),
        (("--min-throughput-fps", "nan"), "throughput"),
        (("--max-model-mib", "x"), "'--max-model-mib'"),
        (("--objective", "energy"), "energy"),
        (("--objective", "throughput=2,latencie=1"), "did you mean latency"),
        (("--objective", "throughput=0"), "no weight above 0"),
        (("--max-memory-mib", "0"), "max_memory_mib"),
        (("--max-energy-mj", "-1"), "max_energy_mj"),
        (("--rate", "nan"), "rate_rps"),
        (("--max-cost", "1"), "--prices"),
        (("--objective", "cost"), "--prices"),
        (("--prices", "none.yaml"), "table of prices not found"),
        (("--front", "--snippet"), "ask for one of them"),
    ],
)
def test_choose_says_what_is_wrong(refused, swept, arguments, said):
    assert said in refused("choose", swept, *arguments)


def test_limits_that_nothing_meets(refused, ovtool, swept):
    error = refused("choose", swept, "--max-latency-ms", "0.001", status=1)
    assert "the nearest is" in error
    assert "loosen the limit" in error
    ran = ovtool("choose", swept, "--max-latency-ms", "0.001", "--json")
    assert ran.status == 1
    assert ran.document["nearest"]["missed"]


def test_a_sweep_in_which_all_failed(refused, tmp_path):
    failed = [sweeps.failed(trial, "out of memory") for trial in sweeps.trials(batches=(1,))]
    folder = sweeps.make(tmp_path / "failed", failed)
    assert "all 8 trials failed" in refused("choose", folder, status=4)


def test_a_sweep_that_measured_nothing(ovtool, tmp_path):
    fixed = sources.conv_onnx(tmp_path / "m.onnx", batch=1)
    out = tmp_path / "out"
    ran = ovtool("sweep", fixed, "--device", "CPU", "--shape", "x=1x3x8", "--out", out, "--json")
    assert ran.status == 4
    assert ran.out == ""
    assert "not one of 2 trials could be measured" in ran.errors[0]
    assert "has 4 dimensions" in ran.errors[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Missing argument 'source'"),
        (("m.onnx",), "Missing option '--out'"),
        (("m.onnx", "n.onnx", "--out", "x"), "n.onnx"),
    ],
)
def test_wrong_use_is_a_line_too(refused, arguments, said):
    error = refused("convert", *arguments)
    assert said in error
    assert error.endswith(" | ovtool convert --help")


def test_an_unknown_verb_suggests_the_near_one(refused):
    assert "Did you mean 'compress', 'compare'?" in refused("compres")


def test_a_folder_that_is_there_is_left_alone(refused, tmp_path, small):
    source = sources.conv_onnx(tmp_path / "m.onnx")
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    for verb in (
        ("convert", source),
        ("compress", small.folder, "fp16"),
        ("profile", small.folder),
    ):
        assert "already there" in refused(*verb, "--out", out)
    assert [p.name for p in out.iterdir()] == ["mine.txt"]


def test_a_file_in_the_way_of_out(refused, tmp_path, small):
    (tmp_path / "file").write_text("")
    for verb in ("convert", "sweep"):
        source = small.xml if verb == "convert" else small.folder
        assert "cannot write" in refused(verb, source, "--out", tmp_path / "file" / "out")


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root and Windows may write everywhere"
)
def test_a_folder_that_may_not_be_written(refused, tmp_path, small):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    for verb in ("convert", "sweep"):
        source = small.xml if verb == "convert" else small.folder
        error = refused(verb, source, "--out", locked / "out")
        assert "permission denied" in error
