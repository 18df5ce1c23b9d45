"""``ovtool check`` and ``ovtool devices --install-npu-compiler``: what they print and ask."""

from dataclasses import replace
from pathlib import Path

import pytest

from ovtool import api
from ovtool.compile_check import compile_check
from ovtool.compile_check.compiling import Outcome
from ovtool.compile_check.npu import offline
from ovtool.compile_check.npu.install import Download, Offer
from tests.compile_check.graphs import with_segments
from tests.compile_check.test_compile_check import Scripted, good, no_segments
from tests.helpers import graphs as models


@pytest.fixture
def compiles(monkeypatch):
    """Every device compiles by a script."""

    def use(answer):
        monkeypatch.setattr(compile_check, "select_compiler", lambda *_: Scripted(answer))

    return use


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return models.save(tmp_path_factory.mktemp("variants") / "text", models.embedding())


def test_the_processor_compiles_for_real(ovtool, small):
    ran = ovtool("check", small.folder, "--json")
    assert ran.status == 0, ran.err
    (found,) = ran.document
    assert found["compiles"]
    assert found["device"] == "CPU"
    assert found["shapes"] == {"x": [1, 3, 16, 16]}
    assert found["compiler_estimate_ms"] is None
    assert found["blob_mib"] > 0


def test_estimates_are_called_the_compilers(ovtool, small, compiles):
    compiles(good)
    ran = ovtool("check", small.folder, "--device", "NPU.3720,NPU.4000", "--batch", 2)
    assert ran.status == 0, ran.err
    assert "compiler's estimate, ms" in ran.out
    assert (
        "x=2x3x16x16: a trial compile, nothing was run. The estimate is the compiler's own"
        in ran.out
    )
    assert ran.out.count("0.322") == 2
    assert "NPU.3720, NPU.4000: by a script" in ran.out


def test_a_batch_that_is_split_is_told(ovtool, small, compiles):
    compiles(lambda model: replace(good(model), of_one_sample=True))
    ran = ovtool("check", small.folder, "--device", "NPU.4000", "--batch", 4)
    assert "On NPU.4000 the plugin runs a batch sample by sample: size and estimate are" in ran.out


def test_what_does_not_compile_is_an_answer_with_exit_code_1(ovtool, tmp_path, compiles):
    compiles(no_segments)
    variant = models.save(tmp_path / "segments", with_segments(count=2))
    ran = ovtool("check", variant.folder, "--device", "NPU.4000")
    assert ran.status == 1
    assert "NPU.4000 does not compile it: the compiler does not support an operation" in ran.out
    assert "- SegmentMax 'largest.0': fails by itself; 1 more of its type, not tried" in ran.out
    assert "Everything else compiles." in ran.out
    assert "What to do: replace" in ran.out
    assert "Traceback" not in ran.err


def test_a_device_that_fails_does_not_hide_one_that_compiles(ovtool, small, compiles):
    answers = iter([Outcome("timeout", "9 s"), good(None)])
    compiles(lambda _: next(answers))
    ran = ovtool("check", small.folder, "--device", "NPU.3720,NPU.4000", "--json")
    assert ran.status == 1
    assert [check["compiles"] for check in ran.document] == [False, True]
    assert ran.document[0]["search"] is None


def test_an_open_dimension_is_named(refused, text):
    said = refused("check", text.folder, "--shape", "ids=?x8")
    assert "dimension 1 of input mask is open (?x?)" in said
    assert "--shape mask=?x?" in said


def test_shapes_fill_it(ovtool, text, compiles):
    compiles(good)
    shapes = ("--shape", "ids=?x8", "--shape", "mask=?x8")
    ran = ovtool("check", text.folder, *shapes, "--batch", 4, "--json")
    assert ran.document[0]["shapes"] == {"ids": [4, 8], "mask": [4, 8]}


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("--device", "AUTO:NPU,CPU"), 2, "AUTO:NPU,CPU"),
        (("--device", "NPU.1"), 3, "not available: NPU.1"),
        (("--device", "NPU.1234"), 2, "unknown NPU platform '1234'"),
        (("--shape", "y=1x3"), 2, "no variant has an input 'y'"),
        (("--batch", "2", "--shape", "x=1x3x16x16"), 2, "contradict each other"),
        (("--precision", "int3"), 2, "unknown precision 'int3'"),
    ],
)
def test_wrong_use_is_one_line(refused, small, arguments, status, said):
    assert said in refused("check", small.folder, *arguments, status=status)


def test_a_folder_that_is_no_variant(refused, tmp_path):
    assert "no variant in" in refused("check", tmp_path)


def test_a_compiler_that_is_not_installed_is_a_missing_dependency(
    refused, small, monkeypatch, tmp_path
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(offline, "find_native_library", lambda: None)
    said = refused("check", small.folder, "--device", "NPU.4000", status=3)
    assert "| ovtool devices --install-npu-compiler" in said


OFFER = Offer(
    Path("/cache/npu-compiler/1"),
    (
        Download("openvino==1", "https://index/o.whl", 60.25, "Apache-2.0", "the compiler"),
        Download("ziglang==2", "https://index/z.whl", None, "MIT", "a C compiler"),
    ),
    "",
)


@pytest.fixture
def offered(monkeypatch):
    """Nothing is installed, and what would be is written down."""
    done = []
    monkeypatch.setattr(api, "npu_compiler_folder", lambda: None)
    monkeypatch.setattr(api, "npu_compiler_offer", lambda: OFFER)
    monkeypatch.setattr(
        api,
        "install_npu_compiler",
        lambda offer, **told: done.append((offer, told["replace"])) or offer.target,
    )
    return done


@pytest.mark.parametrize(("answer", "installs"), [("y\n", True), ("\n", False), ("n\n", False)])
def test_installing_says_what_it_does_and_asks(ovtool, offered, monkeypatch, answer, installs):
    import io
    import sys

    monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
    ran = ovtool("devices", "--install-npu-compiler")
    assert ran.status == 0
    assert "openvino==1, 60.2 MiB, licence Apache-2.0: the compiler" in ran.err
    assert "from https://index/o.whl" in ran.err
    assert "ziglang==2, size not told, licence MIT" in ran.err
    assert "into /cache/npu-compiler/1" in ran.err
    assert bool(offered) is installs
    assert ("installed: /cache" in ran.out) is installs


def test_installing_with_yes_does_not_ask(ovtool, offered):
    ran = ovtool("devices", "--install-npu-compiler", "--yes")
    assert offered == [(OFFER, False)]
    assert "Install it?" not in ran.err


def test_what_is_installed_is_left_alone(ovtool, offered, monkeypatch):
    monkeypatch.setattr(api, "npu_compiler_folder", lambda: Path("/cache/there"))
    assert "installed already: /cache/there" in ovtool("devices", "--install-npu-compiler").out
    assert offered == []
    ovtool("devices", "--install-npu-compiler", "--yes", "--force")
    assert offered == [(OFFER, True)]
