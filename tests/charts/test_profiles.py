"""Profiles of layers on the page, read from the folders that ovtool profile writes."""

import json

import pytest

from ovtool.charts.profiles import charts
from ovtool.charts.render import write_charts
from ovtool.core.errors import InputError
from ovtool.report.write import write
from tests.helpers import sweeps

LIMITS = {"peaks": {"i8": 400.0}, "bandwidths": {"memory": 20.0}}


def profile_folder(folder, name="int8", **changes):
    folder.mkdir()
    told = {
        "variant": name, "device": "CPU", "executed_precision": "i8", "batch": 1,
        "load": "latency", "inferences": 200,
    }  # fmt: skip
    (folder / "profile.json").write_text(json.dumps(told | changes))
    heads = "name,label,type,precision,device,primitive,time_ms,share_pct"
    rows = [f"conv{i},conv{i},Convolution,i8,CPU,jit,{3 - i},{20 * (3 - i)}" for i in range(3)]
    (folder / "layers.csv").write_text("\n".join([heads, *rows]) + "\n")
    return folder


def with_limits(folder):
    """Add to the layers what a calibration says of them; the last does no arithmetic."""
    head, *lines = (folder / "layers.csv").read_text().splitlines()
    wider = [f"{head},gflops_per_s,intensity,bound", *(f"{one},120.5,30,compute" for one in lines)]
    (folder / "layers.csv").write_text("\n".join([*wider[:-1], f"{lines[-1]},,,"]) + "\n")
    return folder


def test_profiles_are_charts_of_the_report(tmp_path):
    sweep = sweeps.whole(tmp_path / "s", batches=(1,))
    folders = [profile_folder(tmp_path / "one"), profile_folder(tmp_path / "two", "<b>fp32")]
    made = write([sweep], tmp_path / "out", profiles=folders)
    names = {path.name for path in made.charts}
    assert {"time-by-layer.svg", "time-by-layer-2.svg"} <= names
    text = made.page.read_text()
    assert "Time by layer: &lt;b&gt;fp32" in text
    assert "200 inferences with counters" in text


def test_a_profile_with_limits_has_its_roofline(tmp_path):
    folder = profile_folder(tmp_path / "one", roofline=LIMITS)
    with pytest.raises(InputError, match="without bound, gflops_per_s, intensity"):
        charts([folder])
    with_limits(folder)
    time, roof = charts([folder])
    assert (time.name, roof.name) == ("time-by-layer", "roofline")
    assert roof.title == "Roofline: int8"
    assert "1 of 3 layers" in roof.caption
    (svg, _png) = write_charts([roof], tmp_path / "out")
    assert "GFLOP/s" in svg.read_text()


def test_a_folder_without_a_whole_profile_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"profile\.json"):
        charts([tmp_path])
    broken = profile_folder(tmp_path / "broken")
    (broken / "profile.json").write_text("{}")
    with pytest.raises(InputError, match="cannot be read"):
        charts([broken])
