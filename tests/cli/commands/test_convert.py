"""``ovtool convert``."""

import numpy as np
import openvino as ov
import pytest
from openvino import opset15 as op


@pytest.mark.slow
def test_convert_prints_the_variant(ovtool, small, tmp_path):
    out = tmp_path / "fp32"
    ran = ovtool("convert", small.xml, "--out", out, "--json")
    assert ran.status == 0
    assert (ran.document["name"], ran.document["folder"]) == ("fp32", str(out))
    assert ran.err
    again = ovtool("convert", small.xml, "--out", out, "--force")
    assert again.out.startswith(f"{out}: fp32, ")


@pytest.mark.slow
def test_samples_and_fixed_values_are_checked(ovtool, tmp_path):
    x, rate = (
        op.parameter(shape, ov.Type.f32, name=name)
        for name, shape in (("x", [-1, 3]), ("rate", []))
    )
    for port in (x, rate):
        port.output(0).set_names({port.get_friendly_name()})
    ov.save_model(ov.Model([op.result(op.multiply(x, rate))], [x, rate], "m"), tmp_path / "m.xml")
    np.savez(tmp_path / "x.npz", x=np.ones((3, 3), np.float32))
    given = ("convert", tmp_path / "m.xml", "--data", tmp_path / "x.npz", "--out", tmp_path / "v")
    ran = ovtool(*given, "--value", "rate=250", "--json")
    assert ran.status == 0
    assert "x.npz: x 1x3" in ran.document["check"]["inputs"]
    assert ran.document["check"]["differences"][0]["largest_value"] >= 250
    assert ovtool(*given, "--value", "rate=fast", "--force").status == 2
    assert ovtool(*given, "--value", "speed=1", "--force").status == 2
