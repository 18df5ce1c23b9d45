"""What comes out: the answer alone on stdout, progress on stderr, JSON that is JSON."""

import json
import math
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from ovtool import api
from ovtool.cli import console as terminal
from ovtool.cli import progress
from ovtool.cli.command import PANELS, load_command
from ovtool.cli.main import VERBS
from ovtool.compression import registry as compress
from ovtool.core.notes import Note
from ovtool.evaluation.device_difference import Apart, Difference
from ovtool.evaluation.evaluate import Quality
from ovtool.recipes import schema as recipe
from ovtool.report.write import ReportFiles
from tests.helpers import sweeps

COMMANDS = [
    *((verb,) for verbs in VERBS.values() for verb in verbs if verb != "recipes"),
    ("recipes", "list"),
    ("recipes", "show"),
    ("recipes", "check"),
]


def plain(text):
    """Return help without its frames, on one line."""
    return " ".join(re.sub(r"[╭─╮│╰╯]", " ", text).split())


def resolve(*words):
    """Return the command that a command line names."""
    command = load_command(words[0])
    return command if len(words) == 1 else command.commands[words[1]]


@pytest.mark.parametrize("words", COMMANDS, ids="-".join)
def test_help_shows_the_examples(ovtool, words):
    ran = ovtool(*words, "--help")
    assert ran.status == 0
    assert ran.err == ""
    head = plain(" ".join(("ovtool", *words)))
    assert plain(ran.out).partition("Example")[2].count(head) >= 1


@pytest.mark.parametrize("words", COMMANDS, ids="-".join)
def test_every_example_is_accepted_by_the_parser(words):
    command = resolve(*words)
    examples = re.findall(r"\[bold\](.*?)\[/bold\]", command.epilog)
    assert examples
    for example in examples:
        name, *arguments = shlex.split(example.partition(" > ")[0])
        assert (name, *arguments[: len(words)]) == ("ovtool", *words)
        with command.make_context(name, arguments[len(words) :]) as context:
            assert context.args == []


@pytest.mark.parametrize("words", COMMANDS, ids="-".join)
def test_every_option_is_in_a_panel(words):
    command = resolve(*words)
    with command.make_context("ovtool", [], resilient_parsing=True) as context:
        panels = [
            parameter.rich_help_panel
            for parameter in command.get_params(context)
            if parameter.param_type_name == "option"
        ]
    assert set(panels) <= set(PANELS)
    assert panels == sorted(panels, key=PANELS.index)


@pytest.mark.parametrize("verb", sorted({*(words[0] for words in COMMANDS)} - {"methods"}))
def test_every_verb_is_a_function_of_the_api(verb):
    assert verb in api.__all__


@pytest.mark.parametrize("function", ["list", "show", "check"])
def test_recipes_verbs_are_functions_of_the_api(function):
    assert callable(getattr(api.recipes, function))


@pytest.mark.parametrize("width", [80, 200])
def test_help_lists_every_verb_on_one_line_and_the_exit_codes(ovtool, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    out = ovtool("--help").out
    lines = [plain(line) for line in out.splitlines()]
    for verbs in VERBS.values():
        for verb, summary in verbs.items():
            assert f"{verb} {summary}" in lines
    assert all(f" {code} " in plain(out).partition("Exit codes")[2] for code in range(5))


def test_help_shows_defaults_that_depend_on_other_options(ovtool):
    assert "[default: (name of the folder)]" in plain(ovtool("convert", "--help").out)
    shown = plain(ovtool("sweep", "--help").out)
    for default in ("CPU", "1, or the batch in --shape", "both"):
        assert f"[default: ({default})]" in shown


def test_no_verb_shows_the_help_and_is_wrong_use(ovtool):
    ran = ovtool()
    assert ran.status == 2
    assert all(verb in ran.out for verbs in VERBS.values() for verb in verbs)
    assert ran.err == ""


def test_shell_completion_can_be_had(ovtool, monkeypatch):
    assert "--install-completion" in ovtool("--help").out
    monkeypatch.setenv("_OVTOOL_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "ovtool c")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert set(ovtool().out.split()) == {"check", "convert", "compare", "compress", "choose"}


def test_devices(ovtool):
    found = ovtool("devices", "--json").document
    by_name = {device["name"]: device for device in found}
    assert by_name["CPU"]["available"]
    assert all(d["available"] or d["why_not"] for d in found)
    assert "CPU" in ovtool("devices").out


def test_convert_and_compress(ovtool, small, tmp_path):
    first = ovtool("convert", small.xml, "--out", tmp_path / "fp32", "--json")
    assert first.status == 0
    assert first.document["name"] == "fp32"
    assert first.document["folder"] == str(tmp_path / "fp32")
    assert "converting" in first.err
    ran = ovtool("compress", tmp_path / "fp32", "fp16", "--out", tmp_path / "fp16", "--json")
    assert ran.document["steps"][0]["method"] == "fp16"
    assert ran.document["parent"] == first.document["id"]
    again = ovtool("compress", tmp_path / "fp32", "fp16", "--out", tmp_path / "fp16")
    assert again.status == 0
    assert "reused" in again.err
    assert again.out.splitlines()[0].startswith(f"{tmp_path / 'fp16'}: fp16, ")
    assert "step fp16" in again.out


def test_the_methods_are_listed(ovtool):
    listed = {row["name"]: row for row in ovtool("methods", "--json").document}
    assert list(listed) == list(compress.METHODS)
    assert listed["int8"]["needs"] == ["calibration"]
    assert listed["prune-channels"]["extra"] == "pruning"
    shown = ovtool("methods").out
    for name, row in listed.items():
        assert name in shown
        assert row["summary"].split()[0] in shown
    assert "ovtool[pruning]" in shown


def test_the_settings_of_a_method_are_shown(ovtool):
    ran = ovtool("methods", "weights")
    for part in ("weights: ", "group_size", "int8_asym", "false"):
        assert part in ran.out
    settings = {s["name"]: s for s in ovtool("methods", "weights", "--json").document["settings"]}
    assert settings["ratio"]["kind"] == "number or none"
    assert settings["ratio"]["default"] is None
    wrong = ovtool("methods", "weight")
    assert wrong.status == 2
    assert wrong.errors == ["error: unknown method 'weight'", "hint: did you mean weights?"]


def test_evaluate(ovtool, small):
    arguments = ("--data", "noise:4", "--baseline", small.folder, "--precision", "f32")
    ran = ovtool("evaluate", small.folder, *arguments, "--json")
    assert ran.document["figures"]["agreement_top1"] == 1
    assert ran.document["executed_precision"] == "f32"
    assert "evaluating small on CPU" in ran.err


def test_quality_is_shown_with_its_meaning_and_notes(ovtool, small, monkeypatch):
    note = Note("few-samples", "few samples", "4", "give more")
    share = {"agreement_top1": 0.5, "agreement_top1_ci_low": 0.15, "agreement_top1_ci_high": 0.85}
    quality = Quality("s", "CPU", "default", "bf16", {"quality_samples": 4.0, **share}, (note,))
    monkeypatch.setattr(api, "evaluate_each", lambda *_, **__: [quality])
    ran = ovtool("evaluate", small.folder, "--data", "noise")
    assert ran.err == "warning: few samples; 4; give more\n"
    assert "4 samples on CPU in bf16" in ran.out
    assert "0.500 [0.150, 0.850]" in ran.out
    assert "share of samples" in ran.out
    assert "off CPU f32" not in ran.out


def test_devices_and_precisions_stand_side_by_side(ovtool, small, monkeypatch):
    share = {"agreement_top1": 0.5, "agreement_top1_ci_low": 0.15, "agreement_top1_ci_high": 0.85}
    figures = {"quality_samples": 4.0, **share, "output_cosine": 0.9}
    apart = Difference(0.25, 0.05, 4, Apart("middle", "MatMul", 0.5, 0.001, 9))
    found = [
        Quality("s", "GPU", "default", "f16", figures, (), apart),
        Quality("s", "GPU", "exact", "f32", figures, (), Difference(0.001, 0.05, 4)),
        Quality("s", "CPU", "exact", "f32", figures, ()),
    ]
    asked = []
    monkeypatch.setattr(api, "evaluate_each", lambda *_, **told: asked.append(told) or found)
    arguments = ("--data", "noise", "--device", "GPU,CPU", "--precision", "default,exact")
    lines = ovtool("evaluate", small.folder, *arguments).out.splitlines()
    assert (asked[0]["devices"], asked[0]["precisions"]) == (["GPU", "CPU"], ["default", "exact"])
    first, from_, second, _, third, *_ = lines[3:]
    assert first.split() == ["GPU", "default", "f16", "0.500", "25.0", "%"]
    assert from_.split() == ["[0.150,", "0.850]", "from", "middle", "on"]
    assert second.split() == ["GPU", "exact", "f32", "0.500", "0.100", "%"]
    assert third.split() == ["CPU", "exact", "f32", "0.500", "it", "is", "that"]
    documents = ovtool("evaluate", small.folder, *arguments, "--json").document
    assert [d["difference"] and d["difference"]["error"] for d in documents] == [0.25, 0.001, None]


def test_report(ovtool, swept, tmp_path):
    written = ovtool("report", swept, "--out", tmp_path / "r", "--json").document
    for path in (*written["charts"], *(p for n, p in written.items() if n != "charts")):
        assert Path(path).stat().st_size > 0


def test_a_report_is_shown_by_its_paths(ovtool, swept, tmp_path, monkeypatch):
    page, csv, parquet, markdown = (tmp_path / name for name in ("p", "c", "q", "m"))
    files = ReportFiles(page, csv, parquet, markdown, (tmp_path / "charts" / "a.svg",))
    monkeypatch.setattr(api, "report", lambda *_, **__: files)
    ran = ovtool("report", swept)
    assert ran.out.splitlines() == [
        f"page: {page}",
        f"tables: {csv}, {parquet}, {markdown}",
        f"charts: {tmp_path / 'charts'} (1 files)",
    ]
    assert ran.err == "writing the report\n"


def test_choose(ovtool, swept):
    found = ovtool("choose", swept, "--objective", "latency", "--json").document
    assert found["winner"]["batch"] == 1
    assert found["properties"] == {"PERFORMANCE_HINT": "LATENCY"}
    shown = ovtool("choose", swept, "--objective", "latency").out
    assert found["headline"].split()[1] in shown
    assert '{"PERFORMANCE_HINT": "LATENCY"}' in shown


def test_choose_prints_only_the_snippet(ovtool, swept):
    ran = ovtool("choose", swept, "--snippet")
    assert ran.out == ovtool("choose", swept, "--json").document["snippet"]
    compile(ran.out, "snippet", "exec")
    assert ran.err == ""


def test_choose_prints_the_front(ovtool, swept):
    ran = ovtool("choose", swept, "--front")
    front = ovtool("choose", swept, "--json").document["front"]
    assert f"{len(front['rows'])} of {front['compared']} rows" in ran.out
    assert "Measured nowhere: energy" in ran.out


def test_a_warning_is_no_answer(ovtool, tmp_path):
    made = [sweeps.contended(sweeps.measure(t)) for t in sweeps.trials(batches=(1,))]
    folder = sweeps.make(tmp_path / "s", made, unavailable=[("NPU", "no driver")])
    ran = ovtool("choose", folder)
    assert "warning: " not in ran.out
    assert "no driver" in ran.err
    assert all(line.startswith("warning: ") for line in ran.err.splitlines())


def test_recipes(ovtool):
    every = {row["name"]: row for row in ovtool("recipes", "list", "--json").document}
    shown = ovtool("recipes", "list").out
    assert set(every) == {path.stem for path in recipe.folder().glob("*.yaml")}
    assert all(name in shown for name in every)
    listed = every["efficientnet-lite0"]
    shown = ovtool("recipes", "show", "efficientnet-lite0").out
    assert shown == Path(listed["path"]).read_text(encoding="utf-8")
    assert ovtool("recipes", "check", "efficientnet-lite0").out.endswith("no mistakes\n")
    checked = ovtool("recipes", "check", "efficientnet-lite0", "--json").document
    assert checked == recipe.read(Path(listed["path"])).model_dump(mode="json")


def test_sweep(ovtool, small, tmp_path):
    arguments = ("--hint", "latency", "--rounds", "3", "--max-seconds", "0.3")
    out = tmp_path / "s"
    ran = ovtool("sweep", small.folder, *arguments, "--device", "CPU,NPU", "--out", out, "--json")
    if ran.document["unavailable"]:
        assert "NPU left out: " in ran.err
    assert ran.document["folder"] == str(out)
    assert ran.document["measured"] + ran.document["failed"] >= 1
    assert "1/1 small CPU batch 1 latency: p50 " in ran.err
    again = ovtool("sweep", small.folder, *arguments, "--out", out)
    assert "small" in again.out
    assert "trials: 0 measured, 1 finished before and reused" in again.out
    assert "1 trial, 1 finished before and reused" in again.err
    assert "next: " in again.err


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["at the end", "while writing"])
def test_a_reader_that_leaves_is_no_error(unbuffered):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as closed:
        done = subprocess.run(
            [sys.executable, "-m", "ovtool.cli.main", "recipes", "show", "efficientnet-lite0"],
            stdout=closed,
            stderr=subprocess.PIPE,
            check=False,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        )
    assert done.returncode == 0
    assert done.stderr == b""


def test_what_is_no_number_is_null(capsys):
    terminal.print_json(
        {"a": math.nan, "b": [1.5, -math.inf], "c": {"d": (math.inf,)}, "e": Path("f")}
    )
    found = capsys.readouterr().out
    assert json.loads(found) == {"a": None, "b": [1.5, None], "c": {"d": [None]}, "e": "f"}


def test_lines_wrap_on_a_terminal_and_stay_whole_elsewhere():
    for on_terminal, lines in ((True, 3), (False, 1)):
        console = Console(width=20, force_terminal=on_terminal, highlight=False)
        with console.capture() as caught:
            terminal.write_line(console, "seven words [that] do not fit twenty columns")
        assert len(caught.get().splitlines()) == lines
        assert "[that]" in caught.get(), "what looks like markup is text"


def test_a_failed_trial_is_a_line_with_its_reason():
    (trial, *_) = sweeps.trials()
    line = progress.outcome(sweeps.failed(trial, "out of memory"))
    assert line == "fp32 f32 CPU batch 1 latency: failed: out of memory"
    line = progress.outcome(sweeps.contended(sweeps.measure(trial)))
    assert line.startswith("fp32 f32 CPU batch 1 latency: p50 7.20 ms, ")
    assert line.endswith(" samples/s, contended")
