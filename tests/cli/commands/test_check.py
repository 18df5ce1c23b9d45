"""``ovtool check``."""

from dataclasses import replace

import pytest

from ovtool.cli.commands.check import ESTIMATE
from ovtool.compile_check import compile_check
from ovtool.compile_check.compiling import Outcome
from ovtool.compile_check.npu import offline
from tests.compile_check.graphs import with_segments
from tests.compile_check.test_compile_check import Scripted, good, no_segments
from tests.helpers import graphs as models


@pytest.fixture
def compiles(monkeypatch):
    """Replace the compiler of every device by a script."""

    def use(answer):
        monkeypatch.setattr(compile_check, "select_compiler", lambda *_: Scripted(answer))

    return use


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return models.save(tmp_path_factory.mktemp("variants") / "text", models.embedding())


@pytest.mark.slow
def test_the_cpu_plugin_compiles_a_variant(ovtool, small):
    ran = ovtool("check", small.folder, "--json")
    assert ran.status == 0, ran.err
    (check,) = ran.document["checks"]
    assert check["compiles"]
    assert check["device"] == "CPU"
    assert check["shapes"] == {"x": [1, 3, 16, 16]}
    assert check["compiler_estimate_ms"] is None
    assert check["blob_mib"] > 0


def test_estimates_are_in_a_column_of_their_own(ovtool, small, compiles):
    compiles(good)
    ran = ovtool("check", small.folder, "--device", "NPU.3720,NPU.4000", "--batch", 2)
    assert ran.status == 0, ran.err
    assert ESTIMATE in ran.out
    assert "x=2x3x16x16" in ran.out
    assert ran.out.count("0.322") == 2
    assert any("NPU.3720, NPU.4000" in line for line in ran.out.splitlines())


def test_a_plugin_that_splits_the_batch_is_named(ovtool, small, compiles):
    arguments = ("check", small.folder, "--device", "NPU.4000", "--batch", 4)
    compiles(good)
    whole = ovtool(*arguments).out
    compiles(lambda model: replace(good(model), of_one_sample=True))
    assert ovtool(*arguments).out.count("NPU.4000") == whole.count("NPU.4000") + 1


def test_a_failed_compilation_is_the_answer_with_exit_code_1(ovtool, tmp_path, compiles):
    compiles(no_segments)
    variant = models.save(tmp_path / "segments", with_segments(count=2))
    ran = ovtool("check", variant.folder, "--device", "NPU.4000")
    assert ran.status == 1
    (check,) = ovtool("check", variant.folder, "--device", "NPU.4000", "--json").document["checks"]
    (suspect,) = check["search"]["suspects"]
    assert (suspect["type"], suspect["name"]) == ("SegmentMax", "largest.0")
    assert check["search"]["rest_compiles"]
    assert "SegmentMax 'largest.0'" in ran.out
    assert check["remedy"] in ran.out
    assert "Traceback" not in ran.err


def test_a_failure_on_one_device_keeps_the_result_of_another(ovtool, small, compiles):
    outcomes = iter([Outcome("timeout", "9 s")])
    compiles(lambda model: next(outcomes, good(model)))
    ran = ovtool("check", small.folder, "--device", "NPU.3720,NPU.4000", "--json")
    assert ran.status == 1
    assert [check["compiles"] for check in ran.document["checks"]] == [False, True]


def test_an_open_dimension_is_named(refused, text):
    refusal = refused("check", text.folder, "--shape", "ids=?x8")
    assert "mask" in refusal.error
    assert "?x?" in refusal.error
    assert "--shape mask=?x?" in refusal.hint


def test_shapes_close_open_dimensions(ovtool, text, compiles):
    compiles(good)
    shapes = ("--shape", "ids=?x8", "--shape", "mask=?x8")
    ran = ovtool("check", text.folder, *shapes, "--batch", 4, "--json")
    assert ran.document["checks"][0]["shapes"] == {"ids": [4, 8], "mask": [4, 8]}


@pytest.mark.parametrize(
    ("arguments", "status", "named"),
    [
        (("--device", "AUTO:NPU,CPU"), 2, "AUTO:NPU,CPU"),
        (("--device", "NPU.1"), 3, "NPU.1"),
        (("--device", "NPU.1234"), 2, "'1234'"),
        (("--shape", "y=1x3"), 2, "'y'"),
        (("--batch", "2", "--shape", "x=1x3x16x16"), 2, "x=1x3x16x16"),
        (("--precision", "int3"), 2, "'int3'"),
    ],
)
def test_check_names_the_wrong_argument(refused, small, arguments, status, named):
    assert named in refused("check", small.folder, *arguments, status=status).error


def test_a_folder_without_a_variant_is_named(refused, tmp_path):
    assert str(tmp_path) in refused("check", tmp_path).error


def test_a_missing_npu_compiler_is_a_missing_dependency(refused, small, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(offline, "find_native_library", lambda: None)
    refusal = refused("check", small.folder, "--device", "NPU.4000", status=3)
    assert "NPU.4000" in refusal.error
    assert "ovtool devices --install-npu-compiler" in refusal.hint
