"""``ovtool profile``."""

import re

import pytest
from rich.console import Console

from ovtool.cli import console
from ovtool.cli.commands.profile import print_profile
from ovtool.core.notes import make_note
from ovtool.graph.runtime import Layer
from ovtool.profiling.run import Profile
from ovtool.roofline.predict import LayerRoofline, RooflineComparison

pytestmark = pytest.mark.usefixtures("local_workers")


def make_profile(**fields):
    """A profile with invented figures."""
    layers = (
        Layer("encoder/" * 8 + "product", "FullyConnected", "i8", "p_i8", 40_000_000, 2.0, "CPU"),
        Layer("Add_12", "Convolution", "bf16", "p_bf16", 10_000_000, 1.0, "CPU", ("stem/conv",)),
        Layer("copy", "Reorder", "f32", "p_f32", None, 0.5, "CPU"),
    )
    values = {
        "variant": "net",
        "device": "CPU",
        "precision": "default",
        "executed_precision": "i8+bf16",
        "batch": 2,
        "load": "latency",
        "latency_ms": 4.0,
        "latency_counted_ms": 4.2,
        "inferences": 400,
        "gflops": 0.025,
        "attributed": 1.0,
        "others_cpu_pct": 1.0,
        "layers": layers,
    }
    return Profile(**values | fields)


@pytest.fixture
def printed(monkeypatch, capsys):
    """Return the lines of a profile on a terminal of a given width."""

    def show(profile, width, top=15):
        output = Console(width=width, force_terminal=True, no_color=True, highlight=False)
        monkeypatch.setattr(console, "get_console", lambda **_: output)
        print_profile(profile, top=top, json=False)
        return re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()

    return show


@pytest.mark.parametrize("width", [80, 200])
def test_a_profile_fits_narrow_and_wide_terminals(printed, width):
    lines = printed(make_profile(), width)
    assert max(map(len, lines)) <= width
    first = next(line for line in lines if line.lstrip().startswith("2.000"))
    assert first.split()[:7] == ["2.000", "57.1", "57.1", "FullyConnected", "i8", "0.0400", "20.0"]
    name = first.split()[7]
    assert name.startswith("encoder/enco")
    assert name.endswith("oduct")
    assert ("…" in name) == (width == 80)


def test_a_profile_shows_latency_precisions_and_fallback_layers(printed):
    text = "\n".join(
        printed(make_profile(notes=(make_note("device-fallback", "AUTO ran on CPU"),)), 200)
    )
    for value in ("net", "CPU", "i8+bf16", "batch 2", "latency", "4.00 ms", "4.20 ms", "+5%",
                  "3.50 ms", "400", "0.0250 GFLOP", "12.5 GFLOP/s", "i8 80.0%, bf16 20.0%",
                  "i8 57.1%, bf16 28.6%, f32 14.3%", "AUTO ran on CPU"):  # fmt: skip
        assert value in text
    (fallback,) = (line for line in text.splitlines() if "stem/conv (bf16)" in line)
    assert "1 layer" in fallback
    assert "20.0%" in fallback


def test_layers_beyond_top_are_summed(printed):
    text = "\n".join(printed(make_profile(), 100, top=1))
    rest = next(line for line in text.splitlines() if "2 more" in line)
    assert "1.500 ms, 42.9%" in rest
    assert "stem/conv" not in text.partition("layers")[2].partition(rest)[0]


def test_unknown_figures_are_not_zero(printed):
    hidden = (Layer("a", "Conv", None, "", None, 1.0, None),)
    profile = make_profile(layers=hidden, gflops=None, executed_precision=None, attributed=None)
    lines = printed(profile, 100)
    assert "unknown" in lines[0]
    assert any(line.startswith("arithmetic: unknown") for line in lines)
    assert not any(line.startswith("FLOPs:") for line in lines)
    assert "unknown 100%" in "\n".join(lines)


def test_the_device_is_a_column_if_there_are_several(printed):
    both = (
        Layer("a", "Conv", "f16", "", 10, 1.0, "GPU"),
        Layer("b", "Conv", "f32", "", 10, 0.5, "CPU"),
    )
    lines = printed(make_profile(layers=both), 100)
    heading = next(line for line in lines if "sum %" in line)
    assert "device" in heading
    assert "device" not in "".join(printed(make_profile(), 100))


@pytest.mark.slow
def test_the_json_document_has_every_layer(ovtool, small):
    ran = ovtool("profile", small.folder, "--seconds", "0.05", "--top", "1", "--json")
    assert ran.status == 0
    assert len(ran.document["layers"]) > 1
    assert ran.document["flops_shares"]
    assert "small" in ran.err


@pytest.mark.slow
def test_the_table_goes_to_stdout_and_progress_to_stderr(ovtool, small, tmp_path):
    out = tmp_path / "out"
    ran = ovtool("profile", small.folder, "--seconds", "0.05", "--precision", "f32", "--out", out)
    assert ran.status == 0
    assert ran.out.startswith("small on CPU in f32, batch 1")
    assert "f32 100%" in ran.out
    assert f"{out / 'layers.csv'}" in ran.out
    assert ran.err.splitlines()[0] not in ran.out


def make_comparison(**fields):
    """Invented limits of the layers of :func:`make_profile`."""
    names = [layer.name for layer in make_profile().layers]
    values = {
        "latency_ms": 3.6,
        "latency_ms_ci_low": 3.0,
        "latency_ms_ci_high": 4.3,
        "limit_ms": 1.0,
        "by_bound_ms": {"compute": 2.7, "memory": 0.9},
        "layers": {
            names[0]: LayerRoofline(1.5, 1.8, "compute", 75.0, 50.0),
            names[1]: LayerRoofline(0.5, 0.9, "memory", 50.0, 2.0),
            names[2]: LayerRoofline(),
        },
        "unknown": (),
        "peaks": {"i8": 800.0},
        "bandwidths": {"memory": 20.0},
        "calibrated": "today, 9 measurements: 9 stable",
    }
    return RooflineComparison(**values | fields)


@pytest.mark.parametrize("width", [80, 200])
def test_limits_are_columns_next_to_the_measured_time(printed, width):
    lines = printed(make_profile(roofline=make_comparison()), width)
    assert max(map(len, lines)) <= width
    first = next(line for line in lines if line.lstrip().startswith("2.000"))
    assert first.split()[:7] == ["2.000", "1.800", "1.500", "75", "compute", "FullyConnected", "i8"]
    unknown = next(line for line in lines if line.lstrip().startswith("0.500"))
    assert unknown.split()[:5] == ["0.500", "-", "-", "-", "-"]
    text = " ".join(" ".join(lines).split())
    for value in ("3.60 [3.00, 4.30] ms", "4.00 ms", "-10%", "1.00 ms", "25%",
                  "compute 75.0%, memory 25.0%", "today, 9 measurements: 9 stable"):  # fmt: skip
        assert value in text


def test_a_prediction_without_calibration_of_a_layer_is_unknown(printed):
    roofline = make_comparison(latency_ms=None, limit_ms=None, unknown=("copy",))
    lines = printed(make_profile(roofline=roofline), 200)
    assert any("unknown" in line and line.endswith("copy") for line in lines)
