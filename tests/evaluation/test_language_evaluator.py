"""Quality of the trials of text generators."""

import sys

import numpy as np
import pytest

from ovtool.benchmark.session import TrialFailedError
from ovtool.core.errors import InputError
from ovtool.core.trial import Generation, Trial
from ovtool.datasets import text as text_data
from ovtool.datasets.spec import DataSpec, VariantSamples
from ovtool.evaluation import language, language_worker
from ovtool.evaluation.evaluate import evaluate_each
from ovtool.evaluation.language_evaluator import TextEvaluator, judge_text
from ovtool.evaluation.metrics import MetricRequest
from ovtool.models.convert import convert
from tests.helpers.decoders import HEAD, VOCABULARY, build_decoder, write_openvino_folder

TOKENS = np.random.default_rng(1).integers(0, 30, (1, 300))


@pytest.fixture(autouse=True)
def text(tmp_path, monkeypatch):
    """A text whose tokens need no tokenizer, and one prompt of it."""
    monkeypatch.setattr(text_data, "tokenize", lambda *_: {"input_ids": TOKENS})
    monkeypatch.setattr(language, "PROMPTS", 1)
    (tmp_path / "text.txt").write_text("a text")


@pytest.fixture(scope="module")
def variants(tmp_path_factory):
    """A text generator and two others, one of them of another vocabulary."""
    tmp_path = tmp_path_factory.mktemp("v")
    heads = {"base": HEAD * 0.05, "other": HEAD * 0.045, "small": HEAD[:, : VOCABULARY - 5]}
    made = {}
    for name, head in heads.items():
        source = write_openvino_folder(tmp_path / f"{name}-source", build_decoder(head))
        (source / "config.json").write_text('{"n_positions": 64}')
        made[name] = convert(source, out=tmp_path / name)
    return made


def evaluator(variants, folder, baseline="base"):
    by_id = {v.id: v for v in variants.values()}
    baselines = dict.fromkeys(by_id, None if baseline is None else variants[baseline].id)
    samples = VariantSamples(DataSpec(str(folder / "text.txt")))
    return TextEvaluator(samples, by_id, baselines, folder)


def trial(variant, precision="f32", **generation):
    return Trial(
        variant.id, variant.name, "CPU", 1, precision=precision,
        generation=Generation(8, 8, **generation),
    )  # fmt: skip


@pytest.mark.slow
def test_a_configuration_has_the_figures_of_evaluate_once(variants, tmp_path):
    judge = evaluator(variants, tmp_path)
    figures, _ = judge(trial(variants["other"]))
    (expected,) = evaluate_each(
        variants["other"], tmp_path / "text.txt", baseline=variants["base"], precisions=["f32"]
    )
    assert figures == expected.figures
    assert figures["perplexity_rise_pct"] != 0
    assert judge(trial(variants["other"], concurrency=4)) == ({}, [])
    assert judge(trial(variants["base"]))[0]["perplexity_rise_pct"] == 0
    assert judge(trial(variants["other"], kv_cache_precision="u8"))[0] != {}


@pytest.mark.slow
def test_without_a_baseline_there_is_the_perplexity_alone(variants, tmp_path):
    figures, _ = evaluator(variants, tmp_path, None)(trial(variants["other"]))
    assert "perplexity" in figures
    assert "perplexity_rise_pct" not in figures


@pytest.mark.slow
def test_a_baseline_of_another_vocabulary_fails_the_evaluation(variants, tmp_path):
    with pytest.raises(TrialFailedError, match=f"{VOCABULARY - 5} and {VOCABULARY}"):
        evaluator(variants, tmp_path)(trial(variants["small"]))


@pytest.mark.slow
@pytest.mark.parametrize("wish", [{"metric": "top1"}, {"outputs": ("logits",)}])
def test_wishes_for_other_models_are_refused(variants, tmp_path, wish):
    samples = VariantSamples(DataSpec(str(tmp_path / "text.txt")))
    assert judge_text(MetricRequest(), variants["base"], samples).column == "perplexity"
    with pytest.raises(InputError, match=next(iter(wish)).removesuffix("s")):
        judge_text(MetricRequest(**wish), variants["base"], samples)


@pytest.mark.slow
def test_data_that_are_no_text_are_refused(variants, tmp_path):
    with pytest.raises(InputError, match="noise"):
        judge_text(MetricRequest(), variants["base"], VariantSamples(DataSpec("noise:4")))


@pytest.mark.slow
def test_a_process_that_dies_fails_the_evaluation_alone(variants, tmp_path, monkeypatch):
    command = (sys.executable, "-c", "import os; os._exit(3)")
    with monkeypatch.context() as patched:
        patched.setattr(language_worker, "_COMMAND", command)
        with pytest.raises(TrialFailedError, match="3"):
            evaluator(variants, tmp_path)(trial(variants["other"]))
    judge = evaluator(variants, tmp_path, None)
    assert judge(trial(variants["other"]))[0]["perplexity"] > 1
