"""Wrong input: one error line, the right exit code, no traceback, no partial file."""

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
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("none.onnx", None),
        ("empty.onnx", b""),
        ("noise.onnx", bytes(range(256)) * 4),
        ("empty.xml", b""),
        ("page.xml", b"<html></html>"),
        ("model.weird", b"abc"),
    ],
)
def test_an_unreadable_model_is_named(refused, tmp_path, name, content):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert name in refused("convert", tmp_path / name, "--out", tmp_path / "out").error


def test_an_ir_without_weights_names_the_missing_file(refused, tmp_path):
    xml = sources.conv_ir(tmp_path / "m.xml")
    xml.with_suffix(".bin").unlink()
    assert "m.bin" in refused("convert", xml, "--out", tmp_path / "out").error


def test_a_truncated_onnx_file_is_named(refused, tmp_path):
    path = sources.conv_onnx(tmp_path / "m.onnx")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert str(path) in refused("convert", path, "--out", tmp_path / "out").error


@pytest.mark.parametrize("suffix", ["pt", "pkl"])
def test_a_pickled_model_is_not_executed(refused, tmp_path, suffix):
    created = tmp_path / "created"
    path = tmp_path / f"m.{suffix}"
    path.write_bytes(pickle.dumps(Payload(created)))
    assert path.name in refused("convert", path, "--out", tmp_path / "out").error
    assert not created.exists()


def test_pickled_samples_are_not_executed(refused, tmp_path, small):
    created, arrays = tmp_path / "created", tmp_path / "a.npz"
    np.savez(arrays, x=np.array([Payload(created)], dtype=object))
    refusal = refused("compress", small.folder, "int8", "--data", arrays, "--out", tmp_path / "out")
    assert str(arrays) in refusal.error
    assert not created.exists()


@pytest.mark.parametrize(
    ("arguments", "named", "hint"),
    [
        (("quantize",), ("'quantize'",), "int8"),
        (("int9",), ("'int9'",), "int8?"),
        (("weights", "--set", "mod=int8_sym"), ("'mod'", "weights"), ""),
        (("weights", "--set", "mode=int9"), ("weights", "mode"), ""),
        (("weights", "--set", "mode"), ("--set", "'mode'"), ""),
        (("int8",), ("int8",), "--data"),
        (("int8", "--data", "nowhere"), ("'nowhere'",), ""),
        (("int8", "--data", "noise", "--labels", "x.csv"), ("labels",), ""),
        (("int8", "--data", "sample:cats"), ("'cats'",), ""),
        (("fp16", "--labels", "x.csv"), ("--labels", "--data"), ""),
        (("fp16", "--limit", "0"), ("'--limit'",), ""),
        (("fp16", "--mean", "1,x"), ("--mean", "'1,x'"), ""),
        (("fp16", "--channels", "CMYK"), ("--channels",), ""),
        (("fp16", "--size", "224"), ("--size", "'224'"), "224x224"),
        (("fp16", "--size", "?x224"), ("--size", "'?x224'"), ""),
        (("fp16", "--mean", "nan"), ("--mean",), ""),
        (("fp16", "--size", "0x3"), ("'0x3'",), ""),
        (("fp16", "--shape", "1x3"), ("--shape", "'1x3'"), ""),
        (("fp16", "--tolerance", "-1"), ("--tolerance",), ""),
    ],
)
def test_compress_names_the_wrong_argument(refused, small, tmp_path, arguments, named, hint):
    refusal = refused("compress", small.folder, *arguments, "--out", tmp_path / "out")
    assert all(name in refusal.error for name in named)
    assert hint in refusal.hint


def test_a_folder_without_images_is_named(refused, small, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("no image")
    for folder in ("empty", "notes"):
        arguments = ("int8", "--data", tmp_path / folder, "--out", tmp_path / "out")
        assert str(tmp_path / folder) in refused("compress", small.folder, *arguments).error


def test_a_damaged_image_is_named(refused, small, tmp_path):
    (tmp_path / "images").mkdir()
    Image.new("RGB", (32, 32)).save(tmp_path / "images" / "a.png")
    (tmp_path / "images" / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    arguments = ("int8", "--data", tmp_path / "images", "--size", "16x16")
    refusal = refused("compress", small.folder, *arguments, "--out", tmp_path / "out")
    assert "b.png" in refusal.error


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--batch", "0"), ("--batch", "0")),
        (("--batch", "x"), ("--batch", "x")),
        (("--batch", "1,-2"), ("--batch", "-2")),
        (("--batch", "1.5"), ("--batch", "1.5")),
        (("--streams", "0"), ("--streams", "0")),
        (("--hint", "fastest"), ("hint", "'fastest'")),
        (("--precision", "f31"), ("precision", "'f31'")),
        (("--device", "XPU"), ("device", "'XPU'")),
        (("--metric", "top5"), ("metric", "'top5'")),
        (("--metric", "top1"), ("metric", "top1")),
        (("--metric", "top1", "--data", "noise:4"), ("noise:4", "labels")),
        (("--shape", "x=1x3x16x16,"), ("''",)),
        (("--shape", "y=1x3x16x16"), ("'y'",)),
        (("--data-shape", "1x3"), ("--data-shape", "'1x3'")),
        (("--shape", "x=2x3x16x16", "--batch", "1,2"), ("--batch 1", "x=2x3x16x16")),
        (
            ("--data-shape", "x=1x1,1x2", "--data-shape", "y=1,2,3"),
            ("--data-shape", "x has 2", "y has 3"),
        ),
        (("--rate", "0"), ("--rate", "0")),
        (("--rate", "10,soon"), ("--rate", "'soon'")),
        (("--rate", "nan"), ("--rate", "nan")),
        (("--find-rate",), ("--find-rate", "--max-latency-ms")),
        (("--max-latency-ms", "20"), ("--find-rate", "--max-latency-ms")),
        (("--find-rate", "--max-latency-ms", "20", "--rate", "5"), ("rate",)),
        (("--find-rate", "--max-latency-ms", "nan"), ("--max-latency-ms",)),
        (("--find-rate", "--max-latency-ms", "20", "--percentile", "95"), ("percentile", "95")),
        (("--rounds", "1"), ("--rounds",)),
        (("--target-pct", "0"), ("--target-pct",)),
        (("--max-seconds", "nan"), ("--max-seconds",)),
        (("--frobnicate",), ("--frobnicate",)),
    ],
)
def test_sweep_names_the_wrong_argument(refused, small, tmp_path, arguments, named):
    refusal = refused("sweep", small.folder, *arguments, "--out", tmp_path / "out")
    assert all(name in refusal.error for name in named)


@pytest.mark.slow
def test_two_variants_with_one_name_are_refused(refused, small, tmp_path):
    refusal = refused("sweep", small.folder, small.folder, "--out", tmp_path / "out")
    assert "'small'" in refusal.error
    assert "--name" in refusal.hint


@pytest.mark.slow
def test_sweep_names_a_missing_model(refused, tmp_path):
    refusal = refused("sweep", tmp_path / "none.onnx", "--out", tmp_path / "out")
    assert "none.onnx" in refusal.error


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--hint", "fastest"), ("hint", "'fastest'")),
        (("--precision", "f31"), ("precision", "'f31'")),
        (("--device", "XPU"), ("device", "'XPU'")),
        (("--shape", "y=1x3"), ("'y'",)),
        (("--shape", "1x3"), ("--shape", "'1x3'")),
        (("--data", "nowhere"), ("'nowhere'",)),
        (("--batch", "0"), ("'--batch'",)),
        (("--top", "0"), ("'--top'",)),
        (("--seconds", "0"), ("'--seconds'",)),
    ],
)
def test_profile_names_the_wrong_argument(refused, small, tmp_path, arguments, named):
    refusal = refused("profile", small.folder, *arguments, "--out", tmp_path / "out")
    assert all(name in refusal.error for name in named)


def test_profile_names_a_missing_model(refused, tmp_path):
    assert "none.onnx" in refused("profile", tmp_path / "none.onnx").error


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["sweep", "evaluate", "profile", "run"])
def test_a_missing_device_has_its_own_exit_code(refused, small, tmp_path, verb, monkeypatch):
    absent = discovery.Device("NPU", available=False, unavailable_reason="no driver")
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
    refusal = refused(verb, *arguments[verb], status=3)
    assert "NPU: no driver" in refusal.error
    assert "ovtool devices --why" in refusal.hint


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--precision", "f31"), ("'f31'",)),
        (("--device", "AUTO:CPU", "--precision", "exact"), ("AUTO:CPU",)),
        (("--tolerance", "0"), ("tolerance", " 0")),
        (("--tolerance", "nan"), ("tolerance", "nan")),
    ],
)
def test_evaluate_names_the_wrong_argument(refused, small, arguments, named):
    refusal = refused(
        "evaluate", small.folder, "--data", "noise:2", "--baseline", small.folder, *arguments
    )
    assert all(name in refusal.error for name in named)


@pytest.mark.slow
def test_a_sweep_of_missing_devices_only_is_refused(refused, small, tmp_path, monkeypatch):
    absent = discovery.Device("NPU", available=False, unavailable_reason="no driver")
    monkeypatch.setattr(discovery, "discover", lambda: [absent])
    arguments = ("--device", "NPU", "--out", tmp_path / "out")
    assert "NPU: no driver" in refused("sweep", small.folder, *arguments, status=3).error


def test_a_missing_package_is_named_with_the_install_command(refused, small, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "foolbox", None)
    arguments = ("int8", "--data", "sample:imagenet20", "--out", tmp_path / "out")
    refusal = refused("compress", small.folder, *arguments, status=3)
    assert "foolbox" in refusal.error
    assert "pip install 'ovtool[demo]'" in refusal.text


def test_a_recipe_reports_all_mistakes_with_their_lines(ovtool, tmp_path):
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
        assert head.startswith(f"error: {path}: 3 ")
        assert [line.strip().partition(": ")[0] for line in lines] == [
            f"{path}:{number}" for number in (3, 6, 7)
        ]
    assert sorted(tmp_path.iterdir()) == [path]


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["choose", "report"])
def test_a_folder_without_a_sweep_is_named(refused, tmp_path, verb):
    assert str(tmp_path / "none") in refused(verb, tmp_path / "none").error
    (tmp_path / "empty").mkdir()
    assert "plan.json" in refused(verb, tmp_path / "empty").error
    (tmp_path / "bad").mkdir()
    for content in (b"", b"{", b"[]", bytes(range(256))):
        (tmp_path / "bad" / "plan.json").write_bytes(content)
        assert "plan.json" in refused(verb, tmp_path / "bad").error


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--objective", "beauty"), ("'beauty'",)),
        (("--percentile", "95"), ("percentile", "95")),
        (("--max-latency-ms", "-1"), ("max", "latency", "ms")),
        (("--min-quality", "95"), ("min", "quality", "95")),
        (("--min-throughput-fps", "nan"), ("min", "throughput", "fps")),
        (("--max-model-mib", "x"), ("--max-model-mib", "x")),
        (("--objective", "energy"), ("energy",)),
        (("--objective", "throughput=2,latencie=1"), ("latencie", "latency?")),
        (("--objective", "throughput=0"), ("throughput", "0")),
        (("--max-memory-mib", "0"), ("max", "memory", "mib")),
        (("--max-energy-mj", "-1"), ("max", "energy", "mj")),
        (("--rate", "nan"), ("rate", "nan")),
        (("--max-cost", "1"), ("--prices",)),
        (("--objective", "cost"), ("--prices",)),
        (("--prices", "none.yaml"), ("none.yaml",)),
        (("--front", "--snippet"), ("--front", "--snippet")),
    ],
)
def test_choose_names_the_wrong_argument(refused, swept, arguments, named):
    refusal = refused("choose", swept, *arguments)
    assert all(name in refusal.text for name in named)


@pytest.mark.slow
def test_limits_that_no_row_meets_exit_with_1(refused, ovtool, swept):
    refusal = refused("choose", swept, "--max-latency-ms", "0.001", status=1)
    assert "0.001" in refusal.error
    assert refusal.hint
    ran = ovtool("choose", swept, "--max-latency-ms", "0.001", "--json")
    assert ran.status == 1
    assert ran.document["nearest"]["missed"]


@pytest.mark.slow
def test_a_sweep_of_failed_trials_exits_with_4(refused, tmp_path):
    failed = [sweeps.failed(trial, "out of memory") for trial in sweeps.trials(batches=(1,))]
    folder = sweeps.make(tmp_path / "failed", failed)
    assert " 8 " in refused("choose", folder, status=4).error


@pytest.mark.slow
def test_a_sweep_without_a_valid_trial_is_refused(ovtool, tmp_path):
    fixed = sources.conv_onnx(tmp_path / "m.onnx", batch=1)
    out = tmp_path / "out"
    ran = ovtool("sweep", fixed, "--device", "CPU", "--shape", "x=1x3x8", "--out", out, "--json")
    assert ran.status == 2
    assert ran.out == ""
    error = ran.errors[0]
    assert "x has 4" in error
    assert "shape has 3" in error
    assert not (out / "journal.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("m.onnx", "--no-such"), "--no-such"),
        (("m.onnx", "n.onnx", "--out", "x"), "n.onnx"),
    ],
)
def test_wrong_use_is_one_line_with_the_help_command(refused, arguments, named):
    refusal = refused("convert", *arguments)
    assert named in refusal.error
    assert refusal.hint == "ovtool convert --help"


def test_an_unknown_verb_suggests_the_closest_ones(refused):
    refusal = refused("compres")
    assert "'compress', 'compare'" in refusal.error
    assert refusal.hint == "ovtool --help"


def test_an_existing_output_folder_is_kept(refused, tmp_path, small):
    source = sources.conv_onnx(tmp_path / "m.onnx")
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    for verb in (
        ("convert", source),
        ("compress", small.folder, "fp16"),
        ("profile", small.folder),
    ):
        assert str(out) in refused(*verb, "--out", out).error
    assert [p.name for p in out.iterdir()] == ["mine.txt"]


@pytest.mark.slow
def test_a_file_in_place_of_the_output_folder_is_named(refused, tmp_path, small):
    (tmp_path / "file").write_text("")
    for verb in ("convert", "sweep"):
        source = small.xml if verb == "convert" else small.folder
        assert (
            str(tmp_path / "file") in refused(verb, source, "--out", tmp_path / "file" / "o").error
        )


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0,
    reason="root and Windows can write to any folder",
)
def test_a_folder_without_write_permission_is_named(refused, tmp_path, small):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    for verb in ("convert", "sweep"):
        source = small.xml if verb == "convert" else small.folder
        assert str(locked) in refused(verb, source, "--out", locked / "out").error


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("why", "variants/fp32"), "B"),
        (("why",), "A"),
        (("compare", "sweeps/a"), "B"),
        (("compress", "net.onnx"), "METHOD"),
        (("choose",), "SWEEPS"),
    ],
)
def test_an_absent_argument_is_explained_by_an_example(refused, arguments, name):
    refusal = refused(*arguments)
    assert refusal.error.startswith(f"missing {name}: ")
    assert f"ovtool {arguments[0]} " in refusal.hint


def test_an_absent_argument_without_an_example_points_to_the_help(refused):
    assert refused("recipes", "show").hint == "ovtool recipes show --help"
