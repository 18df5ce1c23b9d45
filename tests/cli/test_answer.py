"""The terminal answer of a choice."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from ovtool.cli import console
from ovtool.cli.answer import LINES, Origin, print_answer
from ovtool.results.table import load_results
from ovtool.selection.choice import choose_from
from ovtool.selection.choice_spec import ChoiceSpec
from tests.helpers import sweeps

WIDTH = 80
MANY = tuple(
    replace(sweeps.INT8, name=f"a-rather-long-name-of-a-variant-{number}", mib=4.0 + number)
    for number in range(9)
)


@pytest.fixture
def answer(monkeypatch):
    """Print the answer of a sweep on a terminal of 80 columns; return its lines."""

    def run(folder, page=None, next_step=None, took="", **limits):
        screen = io.StringIO()
        terminal = Console(file=screen, width=WIDTH, force_terminal=True, color_system=None)
        monkeypatch.setattr(console, "get_console", lambda: terminal)
        choice = choose_from(load_results([folder]), ChoiceSpec(**limits))
        print_answer(choice, Origin([str(folder)], page, next_step, took))
        return choice, [line.rstrip() for line in screen.getvalue().splitlines()]

    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    "limits",
    [
        {},
        {"objective": "latency"},
        {"objective": "size"},
        {"objective": "throughput=2,latency=1"},
        {"max_latency_ms": 12, "min_quality": 0.9},
        {"max_latency_ms": 12, "min_quality": 0.97, "max_memory_mib": 200, "rate": 1},
    ],
)
@pytest.mark.parametrize("models", [sweeps.MODELS, (*sweeps.MODELS, *MANY)], ids=["few", "many"])
def test_answer_fits_the_screen(answer, tmp_path, models, limits):
    absent = [("NPU", "no Intel NPU on the PCI bus"), ("GPU", "no driver " * 20)]
    folder = sweeps.whole(tmp_path / "sweep", models, unavailable=absent)
    choice, lines = answer(folder, "reports/page/index.html", **limits)
    assert len(lines) <= LINES
    assert max(map(len, lines)) <= WIDTH
    text = "\n".join(lines)
    assert choice.winner["variant"] in text
    assert "reports/page/index.html" in text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("models", "page", "hidden"),
    [(sweeps.MODELS, "reports/page/index.html", False), (MANY, f"reports/{'x' * 150}", True)],
)
def test_a_line_says_that_configurations_have_no_room(answer, tmp_path, models, page, hidden):
    choice, lines = answer(sweeps.whole(tmp_path / "sweep", models), page)
    start = next(n for n, line in enumerate(lines) if line.startswith(" ──")) + 1
    end = lines.index("", start)
    assert (end - start < 1 + len(choice.runners_up)) == hidden
    assert any("--explain" in line for line in lines[end : lines.index("Why")]) == hidden


@pytest.mark.slow
def test_answer_names_the_faster_row_that_a_limit_excludes(answer, tmp_path):
    folder = sweeps.whole(tmp_path / "sweep")
    choice, lines = answer(folder, max_latency_ms=12, min_quality=0)
    passed = choice.passed_over
    assert passed.ratio.low > 1
    assert [check.limit.option for check in passed.missed] == ["max_latency_ms"]
    text = " ".join(" ".join(lines).split())
    option = text.split("--max-latency-ms ")[1].split()[0]
    assert passed.row["latency_p99_ms"] <= float(option) < 1.1 * passed.row["latency_p99_ms"]
    again = choose_from(
        load_results([folder]), ChoiceSpec(max_latency_ms=float(option), min_quality=0)
    )
    assert again.winner["trial"] == passed.row["trial"]


@pytest.mark.slow
def test_no_row_is_passed_over_without_a_limit(answer, tmp_path):
    choice, _ = answer(sweeps.whole(tmp_path / "sweep"), min_quality=0)
    assert choice.passed_over is None


@pytest.mark.slow
def test_answer_names_the_faster_row_with_a_measurable_loss(answer, tmp_path):
    folder = sweeps.whole(tmp_path / "sweep")
    choice, lines = answer(folder)
    assert choice.winner["variant"] == "int8-weights"
    assert choice.passed_over.row["variant"] == "int8"
    option = " ".join(lines).split("--min-quality ")[1].split()[0]
    again = choose_from(load_results([folder]), ChoiceSpec(min_quality=float(option)))
    assert again.winner["trial"] == choice.passed_over.row["trial"]


@pytest.mark.slow
def test_disturbed_rows_are_counted(answer, tmp_path):
    made = [sweeps.contended(sweeps.measure(trial)) for trial in sweeps.trials()]
    choice, lines = answer(sweeps.make(tmp_path / "sweep", made))
    assert choice.basis.rows == len(made)
    assert choice.basis.unstable == {"contended": len(made)}
    assert any(line.startswith("PROVISIONAL") for line in lines)
    assert sum("contended" in line for line in lines) >= 2


@pytest.mark.slow
def test_stable_rows_have_no_badge(answer, tmp_path):
    choice, lines = answer(sweeps.whole(tmp_path / "sweep"))
    assert choice.basis.unstable == {}
    assert not any(line.startswith(("PROVISIONAL", "ESTIMATE")) for line in lines)


def test_estimate_is_called_one(answer, tmp_path):
    trials = sweeps.trials(devices=("NPU",), batches=(1,), loads=("latency",))
    made = [sweeps.estimate(trial, 5.0 + number) for number, trial in enumerate(trials)]
    _, lines = answer(
        sweeps.make(tmp_path / "sweep", made), objective="latency", allow_estimates=True
    )
    assert any(line.startswith("ESTIMATE") for line in lines)
    assert not any(line.startswith("PROVISIONAL") for line in lines)


@pytest.mark.slow
def test_long_paths_and_a_next_step_fit_the_screen(answer, tmp_path):
    absent = [("NPU", "no Intel NPU on the PCI bus"), ("GPU", "no driver " * 20)]
    deep = tmp_path / ("results-" * 5) / "model"
    made = [
        sweeps.contended(sweeps.with_quality(sweeps.measure(trial), model))
        for model in sweeps.MODELS
        for trial in sweeps.trials([model])
    ]
    folder = sweeps.make(deep, made, unavailable=absent)
    recipe = f"edit the recipe, then: ovtool run {deep}/recipe.yaml --out {deep}"
    _, lines = answer(folder, f"{deep}/index.html", recipe, max_latency_ms=12)
    assert len(lines) <= LINES
    assert "Before you rely on it" in lines
    assert str(deep) in "".join(line.strip() for line in lines)


@pytest.mark.slow
def test_too_few_samples_are_said_first(answer, tmp_path):
    choice, lines = answer(sweeps.whole(tmp_path / "sweep"))
    (note,) = (note for note in choice.warnings if note.id == "quality-too-few")
    assert lines[0].startswith("TOO FEW")
    assert note.evidence.split(":")[0] in lines[0]


@pytest.mark.slow
def test_doubts_are_whole_or_without_their_evidence(answer, tmp_path):
    absent = [(f"GPU.{number}", f"reason {number} of this device") for number in range(6)]
    choice, lines = answer(sweeps.whole(tmp_path / "sweep", unavailable=absent))
    start = lines.index("Before you rely on it") + 1
    end = next(n for n, line in enumerate(lines) if line.startswith("page: "))
    text = " ".join(" ".join(lines[start:end]).split())
    wide = [note for note in choice.explanations if note.id == "quality-interval-wide"]
    left = [*wide, *(note for note in choice.warnings if note.id != "quality-too-few")]
    while left and text.startswith(left[0].message):
        text = text.removeprefix(left[0].message).removeprefix(f": {left[0].evidence}").lstrip()
        del left[0]
    assert text == f"(and {len(left)} more: --explain)"


@pytest.mark.slow
def test_the_time_of_the_command_replaces_the_measured_time(answer, tmp_path):
    _, lines = answer(sweeps.whole(tmp_path / "sweep"), took="took 3 min 28 s")
    assert sum("3 min 28 s" in line for line in lines) == 1
    assert not any(" measured" in line for line in lines)
