"""Charts of saved profiles."""

import json

import pytest

from ovtool.charts.layer_report import load_profile_charts, write_layer_report
from ovtool.charts.render import write_charts
from ovtool.core.errors import InputError
from ovtool.report.write import report
from tests.helpers import sweeps

pytestmark = pytest.mark.usefixtures("local_renderer")

LIMITS = {"peaks": {"i8": 400.0}, "bandwidths": {"memory": 20.0}}


def profile_folder(folder, name="int8", **changes):
    folder.mkdir()
    profile = {
        "variant": name, "device": "CPU", "executed_precision": "i8", "batch": 1,
        "load": "latency", "inferences": 200,
    }  # fmt: skip
    (folder / "profile.json").write_text(json.dumps(profile | changes))
    header = "name,label,type,precision,device,primitive,time_ms,share_pct"
    rows = [f"conv{i},conv{i},Convolution,i8,CPU,jit,{3 - i},{20 * (3 - i)}" for i in range(3)]
    (folder / "layers.csv").write_text("\n".join([header, *rows]) + "\n")
    return folder


def with_limits(folder):
    """Add the limits of a calibration; the last layer has no counted operations."""
    header, *lines = (folder / "layers.csv").read_text().splitlines()
    wide = [
        f"{header},gflops_per_s,intensity,bound",
        *(f"{line},120.5,30,compute" for line in lines),
    ]
    (folder / "layers.csv").write_text("\n".join([*wide[:-1], f"{lines[-1]},,,"]) + "\n")
    return folder


@pytest.mark.slow
def test_report_has_the_charts_of_profiles(tmp_path):
    sweep = sweeps.whole(tmp_path / "s", batches=(1,))
    folders = [profile_folder(tmp_path / "one"), profile_folder(tmp_path / "two", "<b>fp32")]
    files = report([sweep], out=tmp_path / "out", profiles=folders)
    names = {path.name for path in files.charts}
    assert {"time-by-layer.svg", "time-by-layer-2.svg"} <= names
    text = files.page.read_text()
    assert ": &lt;b&gt;fp32" in text
    assert "<b>fp32" not in text
    assert " 200 " in text, "inferences"


@pytest.mark.slow
def test_profile_with_limits_has_a_roofline(tmp_path):
    folder = profile_folder(tmp_path / "one", roofline=LIMITS)
    with pytest.raises(InputError, match="bound, gflops_per_s, intensity"):
        load_profile_charts([folder])
    with_limits(folder)
    time, roof = load_profile_charts([folder])
    assert (time.name, roof.name) == ("time-by-layer", "roofline")
    assert roof.title.endswith(": int8")
    assert "1 of 3 layers" in roof.caption
    (svg, _png) = write_charts([roof], tmp_path / "out")
    assert "GFLOP/s" in svg.read_text()


def test_incomplete_profile_raises(tmp_path):
    with pytest.raises(InputError, match=r"profile\.json"):
        load_profile_charts([tmp_path])
    broken = profile_folder(tmp_path / "broken")
    (broken / "profile.json").write_text("{}")
    with pytest.raises(InputError, match=str(broken)):
        load_profile_charts([broken])


def test_no_cell_of_the_layers_is_a_formula(tmp_path):
    rows = [{"name": "=1+1", "time_ms": -0.5}]
    files = write_layer_report(tmp_path, tmp_path, "profile", {}, rows, ["name", "time_ms"])
    assert files.csv.read_text() == "name,time_ms\n'=1+1,-0.5\n"
