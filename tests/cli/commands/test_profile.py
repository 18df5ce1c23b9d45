"""What ``ovtool profile`` prints."""

import re

import pytest
from rich.console import Console

from ovtool.cli import console as terminal
from ovtool.cli.commands.profile import print_profile
from ovtool.core.notes import make_note
from ovtool.graph.runtime_layers import Layer
from ovtool.profiling.profile import Profile
from ovtool.roofline.predict import LayerRoofline, RooflineComparison


def profiled(**fields):
    """A profile whose figures are invented."""
    layers = (
        Layer("encoder/" * 8 + "product", "FullyConnected", "i8", "p_i8", 40_000_000, 2.0, "CPU"),
        Layer("Add_12", "Convolution", "bf16", "p_bf16", 10_000_000, 1.0, "CPU", ("stem/conv",)),
        Layer("copy", "Reorder", "f32", "p_f32", None, 0.5, "CPU"),
    )
    told = {
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
    return Profile(**told | fields)


@pytest.fixture
def printed(monkeypatch, capsys):
    """The lines of a profile on a terminal so many columns wide."""

    def show(found, width, top=15):
        console = Console(width=width, force_terminal=True, no_color=True, highlight=False)
        monkeypatch.setattr(terminal, "get_console", lambda **_: console)
        print_profile(found, top=top, json=False)
        return re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()

    return show


@pytest.mark.parametrize("width", [80, 200])
def test_it_is_readable_on_a_narrow_and_on_a_wide_terminal(printed, width):
    lines = printed(profiled(), width)
    assert max(map(len, lines)) <= width
    first = next(line for line in lines if line.lstrip().startswith("2.000"))
    assert first.split()[:7] == ["2.000", "57.1", "57.1", "FullyConnected", "i8", "0.0400", "20.0"]
    name = first.split()[7]
    assert name.startswith("encoder/enco")
    assert name.endswith("roduct")
    assert ("…" in name) == (width == 80)


def test_it_says_what_ran_and_what_did_not_run_in_int8(printed):
    text = "\n".join(
        printed(profiled(notes=(make_note("device-fallback", "AUTO ran on CPU"),)), 200)
    )
    assert "net on CPU in i8+bf16, batch 2, latency hint: 4.00 ms a request" in text
    assert "with counters 4.20 ms (+5 %), layers 3.50 ms; means of 400" in text
    assert "0.0250 GFLOP a sample, 12.5 GFLOP/s" in text
    assert "FLOPs: i8 80.0 %, bf16 20.0 %" in text
    assert "time:  i8 57.1 %, bf16 28.6 %, f32 14.3 %" in text
    assert "not in INT8, unlike the rest: 1 layer, 20.0 % of FLOPs: stem/conv (bf16)" in text
    assert "AUTO ran on CPU" in text


def test_the_rest_is_summed_up(printed):
    text = "\n".join(printed(profiled(), 100, top=1))
    assert "and 2 more: 1.500 ms, 42.9 %" in text
    assert "stem/conv" not in text.partition("layers")[2].partition("and 2 more")[0]


def test_what_is_unknown_is_not_zero(printed):
    hidden = (Layer("a", "Conv", None, "", None, 1.0, None),)
    found = profiled(layers=hidden, gflops=None, executed_precision=None, attributed=None)
    text = "\n".join(printed(found, 100))
    assert "in an unknown precision" in text
    assert "arithmetic: unknown" in text
    assert "FLOPs:" not in text
    assert "time:  unknown 100 %" in text


def test_devices_are_told_apart_where_there_are_several(printed):
    both = (
        Layer("a", "Conv", "f16", "", 10, 1.0, "GPU"),
        Layer("b", "Conv", "f32", "", 10, 0.5, "CPU"),
    )
    lines = printed(profiled(layers=both), 100)
    heading = next(line for line in lines if "sum %" in line)
    assert "device" in heading
    assert "device" not in "".join(printed(profiled(), 100))


def test_the_document_has_every_layer_whatever_is_printed(ovtool, small):
    ran = ovtool("profile", small.folder, "--seconds", "0.05", "--top", "1", "--json")
    assert ran.status == 0
    assert len(ran.document["layers"]) > 1
    assert ran.document["flops_shares"]
    assert "profiling small on CPU" in ran.err


def test_the_table_is_the_answer_and_progress_is_not(ovtool, small, tmp_path):
    out = tmp_path / "out"
    ran = ovtool("profile", small.folder, "--seconds", "0.05", "--precision", "f32", "--out", out)
    assert ran.status == 0
    assert ran.out.startswith("small on CPU in f32, batch 1")
    assert "FLOPs: f32 100 %" in ran.out
    assert f"{out / 'layers.csv'}" in ran.out
    assert "profiling" not in ran.out


def compared(**fields):
    """Limits of the layers of :func:`profiled`, invented too."""
    names = [layer.name for layer in profiled().layers]
    told = {
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
    return RooflineComparison(**told | fields)


@pytest.mark.parametrize("width", [80, 200])
def test_limits_stand_beside_what_was_measured(printed, width):
    lines = printed(profiled(roofline=compared()), width)
    assert max(map(len, lines)) <= width
    first = next(line for line in lines if line.lstrip().startswith("2.000"))
    assert first.split()[:7] == ["2.000", "1.800", "1.500", "75", "compute", "FullyConnected", "i8"]
    unknown = next(line for line in lines if line.lstrip().startswith("0.500"))
    assert unknown.split()[:5] == ["0.500", "-", "-", "-", "-"]
    text = " ".join(" ".join(lines).split())
    assert (
        "predicted: 3.60 [3.00, 4.30] ms a request, measured 4.00 ms (-10 %); limit 1.00 ms, 25 %"
        in text
    )
    assert "bound by (share of predicted time): compute 75.0 %, memory 25.0 %" in text
    assert "calibrated today, 9 measurements: 9 stable" in text


def test_a_prediction_that_lacks_a_layer_is_unknown(printed):
    found = compared(latency_ms=None, limit_ms=None, unknown=("copy",))
    text = " ".join(printed(profiled(roofline=found), 200))
    assert "predicted: unknown; not calibrated for 1 of its layers: copy" in text
