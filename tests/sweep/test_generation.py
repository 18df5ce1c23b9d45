"""Sweeps of text generators: with scripted times, and with openvino-genai."""

import importlib.util
import json
import sys

import pytest

from ovtool import api
from ovtool.benchmark import process
from ovtool.benchmark.fake import FakeRunner
from ovtool.charts.sweep_charts import draw_sweep_charts
from ovtool.core.errors import (
    InputError,
    LimitNotMetError,
    MissingDependencyError,
    NothingMeasuredError,
    UndecidedError,
)
from ovtool.core.sweep_spec import FindConcurrency, SweepSpec
from ovtool.models.convert import convert
from ovtool.results.table import load_results
from ovtool.selection.candidates import DifferentRequestsError
from ovtool.sweep import measurer, run
from tests.helpers.decoders import write_openvino_folder
from tests.helpers.graphs import convolutional, save

QUICK = {"rounds": 3, "round_s": 0.05, "max_seconds": 1.0, "starts": False}
LENGTHS = {"prompt_lengths": [8], "output_lengths": [4]}


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    folder = tmp_path_factory.mktemp("generator")
    return convert(write_openvino_folder(folder / "source"), out=folder / "decoder")


@pytest.fixture
def scripted(monkeypatch):
    """A prompt takes 2 ms, one after another, and the next token of all other requests 2 ms."""
    monkeypatch.setattr(run, "require_packages", lambda *_: None)
    monkeypatch.setattr(measurer, "ProcessRunner", lambda **_: FakeRunner(lambda *_: 2.0))


def swept(models, folder, **fields):
    api.sweep(models, out=folder, **{**QUICK, **LENGTHS, **fields})
    return load_results([folder])


@pytest.mark.slow
def test_lengths_concurrency_and_cache_are_axes(generator, scripted, tmp_path):
    table = swept(
        [generator], tmp_path / "s", prompt_lengths=[8, 16], concurrency=[1, 4],
        kv_cache_precisions=["default", "u8"],
    )  # fmt: skip
    rows = table.rows
    assert len(rows) == 2 * 2 * 2
    assert set(rows["load"]) == {
        "concurrency=1", "concurrency=4", "concurrency=1 kv=u8", "concurrency=4 kv=u8"
    }  # fmt: skip
    assert set(zip(rows["prompt_length"], rows["output_length"], strict=True)) == {(8, 4), (16, 4)}
    assert set(rows["kv_cache_precision"]) == {"default", "u8"}
    properties = {
        table.details_of(row).properties.get("KV_CACHE_PRECISION") for row in table.records
    }
    assert properties == {None, "u8"}


@pytest.mark.slow
def test_figures_of_tokens_are_of_all_requests_together(generator, scripted, tmp_path):
    rows = swept([generator], tmp_path / "s", concurrency=[1, 4]).rows.set_index("concurrency")
    assert rows.loc[1, "tokens_s"] == pytest.approx(4 / 0.008, rel=0.02)
    # Each step of four requests has a prompt and three tokens.
    assert rows.loc[4, "tokens_s"] == pytest.approx(4 / 0.004, rel=0.02)
    assert rows.loc[4, "throughput_fps"] == pytest.approx(1 / 0.004, rel=0.02)
    for concurrency, step_ms in ((1, 2.0), (4, 4.0)):
        for name in ("ttft_ms", "tpot_ms", "itl_p50_ms"):
            assert rows.loc[concurrency, name] == pytest.approx(step_ms, rel=0.02)
    assert (rows["tokens_s_ci_low"] <= rows["tokens_s"]).all()


@pytest.mark.slow
def test_the_highest_concurrency_keeps_the_limit(generator, scripted, tmp_path):
    # Four steps of a request have 22 prompts, two of them 5 and two of them 6: 12 ms and 14 ms.
    found = swept([generator], tmp_path / "s", find_concurrency={"max_ttft_ms": 12.5})
    (row,) = found.records
    assert row["load"] == "ttft<=12.5ms"
    assert row["concurrency"] == 21
    assert row["ttft_ms"] <= 12.5
    assert "concurrency-found" in {note.id for note in found.details_of(row).notes}


@pytest.mark.slow
def test_requests_that_arrive_on_their_own_are_rows_beside_those_in_flight(
    generator, scripted, tmp_path
):
    # A request alone takes 8 ms, and four together 1000 tokens/s: 250 requests/s.
    table = swept([generator], tmp_path / "s", rates=["busy", 20, 120], concurrency=[2])
    rows = table.rows.set_index("load")
    assert set(rows.index) == {"concurrency=2", "rate=20/s", "rate=120/s"}
    assert rows.loc["concurrency=2", "concurrency"] == 2
    assert rows.loc[["rate=20/s", "rate=120/s"], "concurrency"].isna().all()
    assert rows.loc["rate=20/s", "tokens_s"] == pytest.approx(80, rel=0.3)
    assert rows.loc["rate=120/s", "tokens_s"] == pytest.approx(480, rel=0.3)
    assert 2.0 <= rows.loc["rate=20/s", "ttft_ms"] < rows.loc["rate=120/s", "ttft_ms"]
    assert rows.loc["rate=20/s", "rate_rps"] == 20
    (row,) = api.summarize([tmp_path / "s"]).rows
    assert "concurrency=2" in row.latency
    swept([generator], tmp_path / "t", rates=[120, 20])
    (row,) = api.summarize([tmp_path / "t"]).rows
    assert "rate=20/s" in row.latency


@pytest.mark.slow
def test_arrivals_beyond_the_capacity_have_a_note(generator, scripted, tmp_path):
    table = swept([generator], tmp_path / "s", rates=[900])
    (row,) = table.records
    assert row["throughput_fps"] < 500
    assert "rate-not-kept" in {note.id for note in table.details_of(row).notes}


@pytest.mark.parametrize(
    "fields",
    [
        {"rates": [5.0], "concurrency": [2]},
        {"rates": [5.0], "find_concurrency": {"max_ttft_ms": 5}},
    ],
)
def test_a_rate_has_no_concurrency(fields):
    with pytest.raises(ValueError, match="concurrency"):
        SweepSpec(**fields)
    assert SweepSpec(rates=["busy", 5.0], concurrency=[2]).text_loads()


@pytest.mark.slow
def test_a_limit_that_one_request_misses_is_a_failed_row(generator, scripted, tmp_path):
    with pytest.raises(NothingMeasuredError):
        swept([generator], tmp_path / "s", find_concurrency=FindConcurrency(max_tpot_ms=1.0))
    (row,) = load_results([tmp_path / "s"]).records
    assert (row["status"], "2.0" in row["reason"]) == ("failed", True)


@pytest.mark.slow
def test_other_models_keep_their_axes_in_a_sweep_with_a_text_generator(
    generator, scripted, tmp_path
):
    net = save(tmp_path / "net", convolutional())
    rows = swept([net, generator], tmp_path / "s", hints=["latency"], batches=[2]).rows
    by_name = rows.set_index("variant")
    assert set(by_name.index) == {"net", "decoder"}
    assert by_name.loc["net", "load"] == "latency"
    assert by_name.loc["decoder", "load"] == "concurrency=1"


@pytest.mark.slow
@pytest.mark.parametrize(
    "fields",
    [
        {"batches": [2]},
        {"hints": ["latency"]},
        {"shapes": {"input_ids": "1x8"}},
        {"find_rate": {"max_latency_ms": 5.0}},
        {"requests": [2]},
    ],
)
def test_a_setting_of_inferences_is_refused_for_text_generators(generator, tmp_path, fields):
    with pytest.raises(InputError, match=next(iter(fields))[:4]):
        swept([generator], tmp_path / "s", **fields)


@pytest.mark.slow
def test_a_setting_of_text_generators_is_refused_for_other_models(tmp_path):
    net = save(tmp_path / "net", convolutional())
    with pytest.raises(InputError, match="--prompt-length"):
        api.sweep([net], out=tmp_path / "s", prompt_lengths=[8])


def test_a_search_needs_a_limit():
    for limits in ({}, {"max_ttft_ms": None}):
        with pytest.raises(ValueError, match="--max-ttft-ms"):
            SweepSpec(find_concurrency=limits)
    with pytest.raises(ValueError, match="exclude each other"):
        SweepSpec(find_concurrency={"max_ttft_ms": 5}, concurrency=[2])


@pytest.mark.slow
def test_without_openvino_genai_the_command_is_named(generator, monkeypatch, tmp_path):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "openvino_genai" else find(name)
    )
    with pytest.raises(MissingDependencyError) as raised:
        swept([generator], tmp_path / "s")
    assert raised.value.hint == "pip install 'ovtool[llm]'"


@pytest.mark.slow
def test_no_note_of_single_inferences_on_sequences(generator, scripted, tmp_path):
    table = swept([generator], tmp_path / "s")
    notes = {note.id for note in table.details_of(table.records[0]).notes}
    assert "state-initial" not in notes | {note.id for note in generator.record.notes}


@pytest.mark.slow
def test_table_charts_and_choice_are_of_tokens(generator, scripted, tmp_path):
    table = swept([generator], tmp_path / "s", prompt_lengths=[8, 16], concurrency=[1, 4])
    summary = api.summarize([tmp_path / "s"])
    assert "tokens/s" in summary.headings
    assert len(summary.rows) == 2
    drawn = {chart.name: chart for chart in draw_sweep_charts(table).drawn}
    assert {"ttft-concurrency", "tokens-concurrency"} <= drawn.keys()
    assert {"latency-throughput", "batch-scaling"}.isdisjoint(drawn)
    points = drawn["tokens-concurrency"].points
    assert {(p["concurrency"], p["lengths"]) for p in points} == {
        (n, f"prompt {length}, output 4") for n in (1, 4) for length in (8, 16)
    }
    choice = api.choose([tmp_path / "s"], prompt_length=8)
    assert (choice.winner["concurrency"], choice.winner["prompt_length"]) == (4, 8)
    assert {runner.row["prompt_length"] for runner in choice.runners_up} <= {8}
    limits = {"max_ttft_ms": 3, "max_tpot_ms": 2.5, "min_tokens_s": 100}
    limited = api.choose([tmp_path / "s"], prompt_length=16, output_length=4, **limits)
    assert (limited.winner["concurrency"], limited.winner["prompt_length"]) == (1, 16)
    with pytest.raises(LimitNotMetError):
        api.choose([tmp_path / "s"], prompt_length=8, min_tokens_s=5000)
    compile(choice.snippet, "program", "exec")
    assert "openvino_genai" in choice.snippet


@pytest.mark.slow
def test_a_choice_is_of_equal_requests(generator, scripted, tmp_path):
    swept([generator], tmp_path / "s", prompt_lengths=[8, 16], concurrency=[1, 4])
    with pytest.raises(DifferentRequestsError) as raised:
        api.choose([tmp_path / "s"])
    assert raised.value.exit_code == UndecidedError.exit_code
    assert raised.value.hint.endswith("--prompt-length 8")
    swept([generator], tmp_path / "t", output_lengths=[2])
    with pytest.raises(DifferentRequestsError) as raised:
        api.choose([tmp_path / "s", tmp_path / "t"])
    assert raised.value.hint.endswith("--prompt-length 8 --output-length 2")
    both = api.choose([tmp_path / "s", tmp_path / "t"], output_length=2)
    assert both.winner["output_length"] == 2
    with pytest.raises(InputError, match="--prompt-length 9") as raised:
        api.choose([tmp_path / "s"], prompt_length=9)
    assert "prompt 8, output 4" in str(raised.value)


@pytest.mark.slow
def test_no_trial_of_a_text_generator_without_its_tokenizer(generator, scripted, tmp_path):
    made = convert(generator.xml, out=tmp_path / "alone")
    with pytest.raises(InputError, match="tokenizer"):
        swept([made], tmp_path / "s")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_worker_that_dies_is_a_failed_row(generator, monkeypatch, tmp_path):
    monkeypatch.setattr(run, "require_packages", lambda *_: None)
    program = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    monkeypatch.setattr(process, "_TEXT_COMMAND", (sys.executable, "-c", program))
    with pytest.raises(NothingMeasuredError):
        swept([generator], tmp_path / "s", concurrency=[1, 2])
    rows = list(load_results([tmp_path / "s"]).records)
    assert [row["status"] for row in rows] == ["failed", "failed"]
    assert all("SIGSEGV" in row["reason"] for row in rows)


@pytest.fixture(scope="module")
def real(llama, tmp_path_factory):
    """A random llama of two layers, in worker processes."""
    folder = tmp_path_factory.mktemp("real") / "s"
    return swept(
        [llama.variant], folder, prompt_lengths=[24], output_lengths=[6], concurrency=[1, 3],
        kv_cache_precisions=["default", "f16"], rates=["busy", 20],
    )  # fmt: skip


@pytest.mark.slow
def test_rows_have_the_figures_of_tokens(real):
    assert set(real.rows["status"]) == {"ok"}, set(real.rows["reason"])
    for row in real.records:
        tokens = row["measured_s"] * row["tokens_s"]
        if row["concurrency"] == 1:
            assert tokens == pytest.approx(row["inferences"] * 6)
        else:  # requests that end in a window have tokens before it, and others tokens in it
            assert tokens == pytest.approx(row["inferences"] * 6, rel=0.2)
        assert 0 < row["ttft_ms"] < row["latency_p50_ms"]
        assert 0 < row["itl_p50_ms"] <= row["itl_p99_ms"]
        assert row["latency_p50_ms"] == pytest.approx(row["ttft_ms"] + 5 * row["tpot_ms"], rel=1)
        assert row["executed_precision"]
        assert row["compile_cold_ms"] > 0


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux resets the peak memory")
def test_the_peak_memory_of_each_phase_is_at_most_that_of_the_process(real):
    for row in real.records:
        phases = [row[f"rss_{name}_mib"] for name in ("load", "compile", "prefill", "decode")]
        assert 0 < max(phases) <= row["peak_rss_mib"] + 0.01
        assert row["rss_load_mib"] < row["rss_compile_mib"]


@pytest.mark.slow
def test_the_pipeline_and_the_default_precision_of_the_cache_are_notes(real):
    for row in real.records:
        notes = {n.id: n.evidence for n in real.details_of(row).notes}
        assert notes["text-pipeline"] == "ContinuousPipeline"
        assert ("kv-cache-default" in notes) == (row["kv_cache_precision"] == "default")
        assert "random-prompts" in notes


@pytest.mark.slow
def test_one_request_at_a_time_gives_the_tokens_of_the_continuous_pipeline(llama):
    """The pipeline of an NPU, on the CPU: the same loop, other times."""
    import numpy as np

    from ovtool.benchmark.generation import PausableClock
    from ovtool.benchmark.generation_worker import ContinuousPipeline, SinglePipeline

    folder, clock = str(llama.variant.folder), PausableClock()
    clock.resume()
    for made in (
        ContinuousPipeline(folder, "CPU", {}, 2, clock),
        SinglePipeline(folder, "CPU", {}, clock),
    ):
        made.submit(np.arange(5, 25), 7, clock())
        made.submit(np.arange(30, 50), 4, clock())
        ended, tokens = [], 0
        while made.in_flight:
            step = made.step()
            tokens += step.tokens
            ended += step.finished
        assert (sorted(len(each.tokens_ns) for each in ended), tokens) == ([4, 7], 11)
        for each in ended:
            moments = [each.submitted_ns, *each.tokens_ns]
            assert moments == sorted(moments)


@pytest.mark.slow
def test_a_request_beyond_the_positions_is_a_failed_row(llama, tmp_path):
    config = json.loads((llama.variant.folder / "config.json").read_text())
    longest = config["max_position_embeddings"]
    with pytest.raises(InputError, match=str(longest)):
        swept([llama.variant], tmp_path / "s", prompt_lengths=[longest])
