"""``ovtool why``."""

import re

import pytest
from rich.console import Console

from ovtool.cli import console
from ovtool.cli.commands.why import print_explanation
from ovtool.core.statistics import Interval
from ovtool.profiling.causes import CAUSES, make_cause, rank
from ovtool.profiling.explanation import Explanation, Side


def make_explanation(ids, b_ms=9.0):
    a = [5.0, 5.1, 4.9]
    causes = [
        make_cause(
            cause_id, "12 Convolution f32 3.21 ms; 3 Reorder f32 1.2 ms", [0.1] * 3,
            [1.0, 1.1, 0.9], speedup=2.0, layers=["conv"], precision="bf16",
        )
        for cause_id in ids
    ]  # fmt: skip
    sides = [
        Side("net-with-a-long-name", "i8+f32", Interval(ms, ms, ms), Interval(ms, ms, ms), 9, 1)
        for ms in (5.0, b_ms)
    ]
    ratio = Interval(b_ms / a[0], b_ms / 5.1, b_ms / 4.9)
    difference = Interval(b_ms - 5.0, b_ms - 5.1, b_ms - 4.9)
    return Explanation(
        *sides, "CPU", 1, "latency", "default", 3, ratio, difference, rank(causes, slower=True),
        2.0, calibrated=False, pairs=(),
    )  # fmt: skip


@pytest.fixture
def printed(monkeypatch, capsys):
    def show(explanation, width=80):
        output = Console(width=width, force_terminal=True, no_color=True, highlight=False)
        monkeypatch.setattr(console, "get_console", lambda **_: output)
        print_explanation(explanation)
        return re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()

    return show


@pytest.mark.parametrize("b_ms", [3.0, 5.0, 9.0])
@pytest.mark.parametrize("ids", [list(CAUSES), list(CAUSES)[:1], []])
def test_the_answer_fits_a_terminal(printed, ids, b_ms):
    lines = printed(make_explanation(ids, b_ms))
    assert len(lines) <= 25
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("B ")


def test_the_causes_are_numbered_and_have_remedies(printed):
    lines = printed(make_explanation(["float-island", "conversions", "in-int8"]))
    assert re.search(r"1 +0\.100 +1\.00 +\+0\.900", "\n".join(lines))
    remedies = [line for line in lines if re.match(r"[12]\. [a-z]", line)]
    assert len(remedies) == 2


def test_time_that_no_layer_explains_has_a_row_of_its_own(printed):
    row = next(line for line in printed(make_explanation(list(CAUSES))) if "unexplained: " in line)
    assert re.match(r" 5 +0\.100 +1\.00 +\+0\.900", row)


def test_noise_that_no_layer_explains_is_not_the_main_cause():
    added = make_cause("conversions", "", [1.0, 1.1, 0.9], [1.2, 1.3, 1.1], speedup=2.0)
    noise = make_cause("unexplained", "", [1.0, 1.1, 0.9], [1.0, 5.1, 0.1], speedup=2.0)
    assert noise.added_ms.value > added.added_ms.value
    assert [cause.id for cause in rank([noise, added], slower=True)] == [added.id, noise.id]
    beyond = make_cause("unexplained", "", [1.0, 1.1, 0.9], [3.0, 3.2, 2.8], speedup=2.0)
    assert [cause.id for cause in rank([added, beyond], slower=True)] == [beyond.id, added.id]


@pytest.mark.slow
def test_the_json_document_has_everything(ovtool, small):
    ran = ovtool("why", small.folder, small.folder, "--rounds", "3", "--max-seconds", "0.1",
                 "--json")  # fmt: skip
    assert ran.status == 0
    document = ran.document
    assert document["schema"] == 1
    assert document["rounds"] == 3
    assert {pair["cause"] for pair in document["pairs"]} <= set(CAUSES)
    total = sum(c["added_ms"]["value"] for c in document["causes"])
    assert total == pytest.approx(document["difference_ms"]["value"])


def test_a_device_that_is_not_available_is_one_line(ovtool, small):
    ran = ovtool("why", small.folder, small.folder, "--device", "NPU")
    assert ran.status == 3
    assert len([line for line in ran.errors if line.startswith("error: ")]) == 1
