"""The search for the smallest weight compression: its order, its verdicts, and its resumption."""

from types import SimpleNamespace

import numpy as np
import pytest

from ovtool.compression import weight_search
from ovtool.compression.compress import compress
from ovtool.compression.method import MethodContext, MethodInputs, MethodResult
from ovtool.compression.methods.weight_compression import WeightCompressionSettings
from ovtool.compression.weight_search import LADDER, find_smallest, list_candidates
from ovtool.core.errors import InputError, LimitNotMetError
from ovtool.datasets import text as text_data
from ovtool.datasets.spec import DataSpec
from ovtool.datasets.text import TextSamples
from ovtool.evaluation import language
from ovtool.evaluation.evaluate import evaluate
from ovtool.evaluation.language_evaluator import TextGraphEvaluator
from ovtool.models.convert import convert
from tests.helpers.decoders import HEAD, VOCABULARY, build_decoder, write_openvino_folder

WINDOWS = 40
HARD = np.random.default_rng(0).uniform(100, 900, WINDOWS)  # of the windows, for every model
NOISE = np.random.default_rng(1).standard_normal(WINDOWS)


class Scripted(TextGraphEvaluator):
    """Losses by the name of a graph: its rise, and the spread over the windows."""

    def iterate_losses(self, model):
        rise, spread = map(float, model.get_friendly_name().split("_"))
        counts = np.array(self._counts(WINDOWS))
        yield from HARD + counts * (np.log1p(rise) + spread * NOISE)


@pytest.fixture
def search(tmp_path):
    """Returns a function that searches; ``search.tried`` are the settings that were compressed."""
    model = build_decoder()
    model.set_friendly_name("0_0")
    lines, tried = [], []
    parent = SimpleNamespace(name="net", folder=tmp_path, xml=tmp_path / "net.xml", record=None)
    weight_search_read = SimpleNamespace(model=model)

    def run(rises, limit=0.05, spread=0.0, interrupt_at=None, **settings):
        """``rises``: of the settings by key, see :func:`key`; the default is a rise by 1."""
        tokens = TextSamples("text", np.zeros(512 + 256 * (WINDOWS - 1), np.int64), 32, ())
        evaluator = Scripted(tokens, parent)
        own = WeightCompressionSettings(max_perplexity_rise=limit, **settings)

        def compress(context):
            name = key(context.settings)
            if len(tried) == interrupt_at:
                raise KeyboardInterrupt
            tried.append(name)
            rise = rises.get(name, 1.0)
            if isinstance(rise, Exception):
                raise rise
            graph = build_decoder()
            graph.set_friendly_name(f"{rise}_{spread}")
            return MethodResult(graph)

        progress = SimpleNamespace(note=lines.append, start=lambda *_: None)
        context = MethodContext(
            weight_search_read.model, own, parent, MethodInputs(evaluator=evaluator),
            tmp_path / "scratch", progress,
        )  # fmt: skip
        return find_smallest(context, compress)

    import openvino as ov

    ov.save_model(model, parent.xml)
    run.tried, run.lines = tried, lines
    return run


def key(settings):
    """Name the settings of a candidate."""
    parts = [settings.mode, settings.group_size, settings.ratio]
    parts += [n for n in ("awq", "scale_estimation") if getattr(settings, n)]
    return " ".join(str(part) for part in parts if part is not None)


ORDER = [
    "int4_sym 128", "int4_asym 128", "int4_sym 64", "int4_asym 64", "int4_sym 32", "int4_asym 32",
    "int4_asym 64 0.8", "int4_asym 64 0.6", "int8_asym",
]  # fmt: skip


def test_the_ladder_needs_more_bits_from_row_to_row():
    def bits(row):
        if row["mode"] == "int8_asym":
            return 8
        scale = 16 + 4 * (row["mode"] == "int4_asym")
        ratio = row.get("ratio", 1)
        return ratio * (4 + scale / row["group_size"]) + (1 - ratio) * 8

    sizes = [bits(row) for row in LADDER]
    assert sizes == sorted(sizes)
    for row in LADDER:
        WeightCompressionSettings(**row)


def test_the_first_that_holds_is_the_smallest_without_corrections(search):
    result = search({"int4_asym 64": 0.04, "int4_sym 32": 0.01, "int8_asym": 0})
    smaller = "int4_sym 64"
    assert search.tried == [*ORDER[:4], f"{smaller} awq", f"{smaller} awq scale_estimation"]
    assert result.details["chosen"]["group_size"] == 64
    assert result.details["chosen"]["mode"] == "int4_asym"
    assert result.model.get_friendly_name() == "0.04_0.0"
    attempts = result.details["attempts"]
    assert [a["holds"] for a in attempts] == [False] * 3 + [True] + [False] * 2
    assert attempts[3]["rise"]["value"] == pytest.approx(0.04)
    assert attempts[3]["perplexity"]["value"] > result.details["reference"]["value"]
    assert attempts[3]["mib"] > 0


@pytest.mark.slow
def test_corrections_are_tried_on_smaller_ones_until_they_fail(search):
    result = search({
        "int4_asym 128": 0.9, "int4_sym 64": 0.8, "int4_asym 64": 0.01,
        "int4_sym 64 awq": 0.2, "int4_sym 64 awq scale_estimation": 0.03, "int4_asym 128 awq": 0.02,
    })  # fmt: skip
    assert search.tried[4:] == [
        "int4_sym 64 awq", "int4_sym 64 awq scale_estimation", "int4_asym 128 awq",
        "int4_sym 128 awq", "int4_sym 128 awq scale_estimation",
    ]  # fmt: skip
    assert result.details["chosen"]["mode"] == "int4_asym"
    assert result.details["chosen"]["group_size"] == 128
    assert result.details["chosen"]["awq"]
    assert result.model.get_friendly_name() == "0.02_0.0"


def test_what_is_clearly_above_the_limit_is_not_judged_on_all_windows(search):
    result = search({"int4_sym 128": 0.5, "int4_asym 128": 0.04}, spread=0.0001)
    windows = [attempt["windows"] for attempt in result.details["attempts"]]
    assert windows[0] == weight_search._EARLIEST
    assert windows[1] == WINDOWS


def test_the_interval_decides(search):
    result = search({"int4_sym 128": 0.03, "int4_asym 128": 0.001}, spread=0.1)
    first, second = result.details["attempts"][:2]
    assert first["rise"]["low"] < 0.05 < first["rise"]["high"]
    assert not first["holds"]
    assert second["holds"]
    assert second["rise"]["high"] <= 0.05


@pytest.mark.slow
def test_without_any_that_holds_the_nearest_is_named(search):
    with pytest.raises(LimitNotMetError, match="int8_asym") as raised:
        search({"int8_asym": 0.2})
    assert search.tried == ORDER
    assert "20" in str(raised.value)


@pytest.mark.slow
def test_an_interrupted_search_resumes(search):
    rises = {"int4_asym 64": 0.04, "int4_sym 64 awq": 0.01}
    with pytest.raises(KeyboardInterrupt):
        search(rises, interrupt_at=2)
    assert search.tried == ORDER[:2]
    with pytest.raises(KeyboardInterrupt):
        search(rises, interrupt_at=5)
    assert search.tried == [*ORDER[:4], "int4_sym 64 awq"]
    result = search(rises)
    assert len(result.details["attempts"]) == 7
    # Only the graph of the best one is made again.
    assert search.tried[5:] == [
        "int4_asym 128 awq", "int4_asym 128 awq scale_estimation", "int4_sym 64 awq",
    ]  # fmt: skip
    assert result.model.get_friendly_name() == "0.01_0.0"


def test_a_candidate_that_fails_is_an_attempt(search):
    result = search({"int4_sym 128": InputError("no group"), "int4_asym 128": 0.0})
    assert result.details["attempts"][0]["error"] == "no group"
    assert result.details["chosen"]["mode"] == "int4_asym"
    with pytest.raises(InputError, match="broken"):
        search(dict.fromkeys(ORDER[1:], InputError("broken")), limit=0.04)


def test_after_the_time_limit_nothing_more_is_tried(search):
    with pytest.raises(LimitNotMetError):
        search({"int4_asym 64": 0.01}, time_limit_s=1e-9)
    assert len(search.tried) <= 1


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"mode": "int4_sym"}, ["int4_sym 128", "int4_sym 64", "int4_sym 32"]),
        ({"mode": "int4_asym", "group_size": 32}, ["int4_asym 32"]),
        (
            {"mode": "int4_asym", "ratio": 0.9},
            ["int4_asym 128 0.9", "int4_asym 64 0.9", "int4_asym 32 0.9"],
        ),
        ({"mode": "nf4"}, ["nf4 128", "nf4 64", "nf4 32"]),
        ({"group_size": 16}, ["int4_sym 16", "int4_asym 16"]),
        ({"mode": "int4_sym", "all_layers": True}, ["int4_sym 128", "int4_sym 64", "int4_sym 32"]),
    ],
)
def test_what_the_user_sets_is_kept(settings, expected):
    rows = list_candidates(WeightCompressionSettings(max_perplexity_rise=0.1, **settings))
    names = [" ".join(str(r[n]) for n in ("mode", "group_size", "ratio") if n in r) for r in rows]
    if "ratio" not in settings:
        names = [name for name in names if name.count(" ") == 1]  # without the mixed ones
    assert names == expected


def test_settings_without_a_candidate_are_refused():
    with pytest.raises(InputError, match="mxfp4"):
        list_candidates(WeightCompressionSettings(max_perplexity_rise=0.1, mode="mxfp4"))
    with pytest.raises(ValueError, match="max_perplexity_rise"):
        WeightCompressionSettings(time_limit_s=5)


def test_a_model_that_generates_no_text_is_refused(tmp_path):
    settings = WeightCompressionSettings(max_perplexity_rise=0.1)
    parent = SimpleNamespace(name="net")
    inputs = MethodInputs(evaluator=SimpleNamespace())
    context = MethodContext(None, settings, parent, inputs, tmp_path, None)
    with pytest.raises(InputError, match="net"):
        find_smallest(context, None)


@pytest.mark.slow
def test_the_variant_that_is_written_holds_the_limit(tmp_path, monkeypatch):
    tokens = np.random.default_rng(1).integers(0, VOCABULARY, (1, 1200))
    monkeypatch.setattr(text_data, "tokenize", lambda *_: {"input_ids": tokens})
    monkeypatch.setattr(language, "PROMPTS", 1)
    (tmp_path / "text.txt").write_text("a text")
    source = write_openvino_folder(tmp_path / "source", build_decoder(HEAD * 0.05))
    (source / "config.json").write_text('{"n_positions": 64}')
    parent = convert(source, out=tmp_path / "v")
    small = compress(
        parent, "weights", out=tmp_path / "small", data=tmp_path / "text.txt",
        max_perplexity_rise=0.2,
    )  # fmt: skip
    (step,) = small.record.steps
    assert list(step.samples) == ["calibration", "validation"]
    assert "samples-shared" not in {note.id for note in small.record.notes}
    chosen = next(a for a in step.details["attempts"] if a["settings"] == step.details["chosen"])
    quality = evaluate(
        small, DataSpec(str(tmp_path / "text.txt"), part="2/2"), baseline=parent, precision="exact"
    )
    assert quality.figures["perplexity"] == pytest.approx(chosen["perplexity"]["value"], rel=1e-3)
    rise = quality.figures["perplexity_rise_pct"] / 100
    assert rise == pytest.approx(chosen["rise"]["value"], abs=1e-3)
    assert rise <= 0.2
