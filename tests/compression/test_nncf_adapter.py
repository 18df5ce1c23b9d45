"""The output, errors and data of NNCF."""

import json
import logging
import os
import subprocess
import sys

import numpy as np
import openvino as ov
import pytest
import rich

from ovtool.compression.nncf_adapter import quiet_nncf
from ovtool.core.errors import InputError
from tests.compression.samples import Listed, Notes, compress, types_of
from tests.helpers.graphs import convolutional, save


def test_rejection_by_nncf_is_one_line_with_its_cause(conv, tmp_path):
    with pytest.raises(InputError, match="mxfp4 failed: Group-wise") as caught:
        compress(conv, "weights", {"mode": "mxfp4", "all_layers": True}, None,
                 out=tmp_path / "w", name="w")  # fmt: skip
    assert type(caught.value.__cause__).__module__ == "nncf.errors"
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_data_with_a_wrong_shape_raises_one_line(conv, tmp_path):
    wrong = Listed([np.zeros((3, 9, 9), np.float32)])
    with pytest.raises(InputError, match="int8") as caught:
        compress(conv, "int8", {}, wrong, out=tmp_path / "q", name="q")
    assert "\n" not in str(caught.value)
    assert "Exception from" not in str(caught.value)


def test_error_of_the_data_is_not_changed(conv, tmp_path):
    class Damaged(Listed):
        def __iter__(self):
            yield from super().__iter__()
            raise InputError("image is damaged: b.png")

    damaged = Damaged([np.zeros((3, 16, 16), np.float32)])
    with pytest.raises(InputError, match=r"^image is damaged: b\.png$"):
        compress(conv, "int8", {}, damaged, out=tmp_path / "q", name="q")


@pytest.mark.slow
def test_calibration_samples_are_spread_over_the_data(conv, tmp_path, progress):
    arrays = [np.full((3, 16, 16), index, np.float32) for index in range(12)]
    one_high = Listed(arrays)
    compressed = compress(
        conv, "int8", {"subset_size": 3}, one_high, out=tmp_path / "q", name="q", progress=progress
    )
    # NNCF takes the mean of the samples' maxima: of 0, 4 and 8, not of 0, 1 and 2.
    model = ov.Core().read_model(compressed.xml)
    ranges = [
        op.input_value(2).get_node().get_vector()[0]
        for op in model.get_ops()
        if op.get_type_name() == "FakeQuantize"
        and op.input_value(0).get_node().get_type_name() == "Parameter"
    ]
    assert ranges == pytest.approx([4], rel=0.02)
    assert ("calibrating", 3) in progress.tasks


@pytest.mark.slow
def test_static_batch_is_calibrated_in_padded_batches(tmp_path, pictures, progress):
    parent = save(tmp_path / "four", convolutional(batch=4), batch_note="")
    some = Listed([sample.inputs["x"] for sample in pictures][:6])
    compressed = compress(parent, "int8", {}, some, out=tmp_path / "q", name="q", progress=progress)
    assert types_of(compressed)["i8"]["share_pct"] == 100
    assert progress.steps == 6


@pytest.mark.slow
def test_nncf_prints_nothing_to_the_terminal(conv, pictures, tmp_path):
    code = (
        "import sys, logging; from pathlib import Path;"
        "from ovtool.compression.method import MethodInputs;"
        "from ovtool.compression.pipeline import apply_method;"
        "from ovtool.datasets.registry import load_samples as load;"
        "from ovtool.core.variant import Variant;"
        "v = Variant.load(sys.argv[1]); noise = load('noise:4', v.record.inputs, None);"
        "out = Path(sys.argv[2]);"
        "apply_method(v, 'int8', {}, MethodInputs(calibration=noise), out=out / 'q', name='q');"
        "apply_method(v, 'weights', {}, MethodInputs(), out=out / 'w', name='w');"
        "print('end', end='')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(conv.folder), str(tmp_path)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("end", "")


@pytest.mark.slow
def test_progress_listener_can_print(conv, pictures, tmp_path, capsys):
    class Printing(Notes):
        def start(self, task, total=None):
            super().start(task, total)
            print(task)

    compress(conv, "int8", {}, pictures, out=tmp_path / "q", name="q", progress=Printing())
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["reading the graph", "calibrating", "quantizing and correcting"]
    assert lines[-2:] == ["checking", "comparing outputs"]


def test_output_of_nncf_goes_to_the_log(conv, tmp_path, caplog, capfd):
    import nncf

    before = list(nncf.nncf_logger.handlers)
    with caplog.at_level(logging.DEBUG, "ovtool"):
        compress(conv, "weights", {}, None, out=tmp_path / "w", name="w")
    assert any("bitwidth distribution" in record.message for record in caplog.records)
    assert {record.name for record in caplog.records} == {"ovtool.nncf"}
    assert capfd.readouterr() == ("", "")
    assert nncf.nncf_logger.handlers == before


def test_warnings_go_to_the_log(caplog):
    import warnings

    with quiet_nncf("trying"):
        warnings.warn("beware", FutureWarning, stacklevel=1)
    assert "beware" in caplog.messages


def test_import_of_nncf_keeps_the_logger_class():
    with quiet_nncf("trying"):
        pass
    assert type(logging.getLogger("made after nncf")) is logging.Logger


@pytest.mark.slow
def test_telemetry_is_off_and_writes_nothing(tmp_path):
    code = (
        "import ovtool, openvino, nncf, json;"
        "from openvino.tools.ovc import telemetry as a; from nncf.telemetry import telemetry as b;"
        "print(json.dumps([type(a).__module__, type(b).__name__]))"
    )
    env = {**os.environ, "HOME": str(tmp_path), "LOCALAPPDATA": str(tmp_path)}
    env = {key: value for key, value in env.items() if key not in ("CI", "TF_BUILD", "NNCF_CI")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env
    )
    assert json.loads(done.stdout) == ["openvino.tools.ovc.telemetry_stub", "MagicMock"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no user database")
def test_nncf_runs_in_a_process_without_home(tmp_path):
    """As in a container with a user id that has no entry in the user database."""
    program = """
import pwd
def unknown(_uid):
    raise KeyError
pwd.getpwuid = unknown
from ovtool.compression.nncf_adapter import quiet_nncf
with quiet_nncf("a task"):
    pass
"""
    environment = {name: value for name, value in os.environ.items() if name != "HOME"}
    ran = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**environment, "TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("in_notebook", [True, False])
def test_bars_of_nncf_are_not_widgets_of_a_notebook(monkeypatch, in_notebook):
    console = rich.get_console()
    monkeypatch.setattr(console, "is_jupyter", in_notebook)
    with quiet_nncf("a test"):
        assert not console.is_jupyter
    assert console.is_jupyter == in_notebook
