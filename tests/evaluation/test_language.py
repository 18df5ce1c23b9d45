import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovtool.core.errors import InputError, MissingDependencyError
from ovtool.core.progress import SILENT
from ovtool.core.third_party import read_graph
from ovtool.datasets.text import TextSamples
from ovtool.evaluation.evaluate import evaluate_each
from ovtool.evaluation.language import (
    choose_windows,
    compare_losses,
    evaluate_text,
    open_reference,
    score_run,
    split_windows,
)
from ovtool.evaluation.language_runs import GENERATED, DecoderRun, StoredRun
from ovtool.models.convert import convert
from ovtool.models.language.decoder import GraphDecoder
from tests.helpers import graphs
from tests.helpers.decoders import (
    HEAD,
    VOCABULARY,
    ArrayDecoder,
    build_decoder,
    write_openvino_folder,
)

SIZES = {"window": 32, "stride": 16}
TOKENS = np.random.default_rng(1).integers(0, VOCABULARY, 300)


@pytest.fixture(scope="module")
def variants(tmp_path_factory):
    """A text generator, and the same with smaller logits."""
    folder = tmp_path_factory.mktemp("v")
    made = {}
    for name, head in (("base", HEAD * 0.05), ("other", HEAD * 0.045)):
        source = write_openvino_folder(folder / f"{name}-source", build_decoder(head))
        made[name] = convert(source, out=folder / name)
    return made


@given(st.integers(2, 400), st.integers(2, 60), st.data())
def test_windows_predict_each_token_but_the_first_once(tokens, window, data):
    stride = data.draw(st.integers(1, window - 1))
    windows = split_windows(tokens, window, stride)
    predicted = [place for w in windows for place in range(w.first, w.end)]
    assert predicted == list(range(1, tokens))
    for w in windows:
        assert 0 <= w.start < w.first < w.end
        assert w.end - w.start <= window


def losses(scale, window, stride):
    """The losses of all tokens, each after a window of tokens, by a loop over NumPy."""
    result = []
    for place in range(1, len(TOKENS)):
        if place < window:
            start = 0
        else:
            end = min(window + stride * (1 + (place - window) // stride), len(TOKENS))
            start = end - window
        part = TOKENS[None, start : place + 1]
        end = window if place < window else end
        decoder, whole = ArrayDecoder(), TOKENS[None, start:end]
        count = whole.shape[1]
        logits = (
            decoder.step(whole, np.ones((1, count)), np.arange(count)[None], np.zeros(1, int))[
                0, part.shape[1] - 2
            ].astype(float)
            * scale
        )
        result.append(np.log(np.exp(logits - logits.max()).sum()) + logits.max()
                      - logits[TOKENS[place]])  # fmt: skip
    return np.array(result)


def run(variant):
    return DecoderRun(GraphDecoder(read_graph(variant.xml)), TOKENS)


def evaluate(variant, reference=None, window=32, stride=16):
    windows = split_windows(len(TOKENS), window, stride)
    exact = None if reference is None else run(reference)
    return score_run(run(variant), exact, TOKENS, windows, SILENT)


def text_of(variant, tokens=TOKENS):
    return TextSamples("text", tokens, 32, variant.record.inputs)


@pytest.mark.slow
@pytest.mark.parametrize(("window", "stride"), [(32, 16), (32, 31), (100, 7)])
def test_perplexity_is_that_of_a_loop_over_the_tokens(variants, window, stride):
    quality = evaluate(variants["base"], window=window, stride=stride)
    expected = math.exp(losses(0.05, window, stride).mean())
    assert quality.perplexity.value == pytest.approx(expected, rel=1e-4)
    assert quality.perplexity.low < quality.perplexity.value < quality.perplexity.high
    assert quality.tokens == len(TOKENS) - 1
    assert quality.divergence is quality.rise is None


@pytest.mark.slow
def test_a_model_equals_itself_and_diverges_from_another(variants):
    same = evaluate(variants["base"], variants["base"])
    assert same.divergence.value == pytest.approx(0, abs=1e-9)
    assert same.agreement.low < same.agreement.value == same.agreement.high == 1
    assert same.greedy_tokens == GENERATED
    assert (same.rise.low, same.rise.value, same.rise.high) == (0, 0, 0)
    other = evaluate(variants["other"], variants["base"])
    expected = other.perplexity.value / same.perplexity.value - 1
    assert other.rise.value == pytest.approx(expected)
    assert other.rise.low < other.rise.value < other.rise.high
    assert other.divergence.value > 1e-3
    assert other.agreement.value == 1  # a factor of all logits changes no order


def test_a_paired_interval_is_that_of_the_differences():
    rng = np.random.default_rng(0)
    hard, counts = rng.uniform(500, 5_000, 60), np.full(60, 100)
    rise = compare_losses(hard * 1.01, hard, counts)
    growth = hard * 0.01 / 100
    assert math.log1p(rise.value) == pytest.approx(growth.mean())
    error = growth.std(ddof=1) / math.sqrt(60)
    width = math.log1p(rise.high) - math.log1p(rise.low)
    assert width == pytest.approx(2 * 1.96 * error, rel=0.25)


@pytest.mark.slow
def test_a_window_is_no_longer_than_the_model_has_positions(tmp_path):
    source = write_openvino_folder(tmp_path / "source", build_decoder(HEAD * 0.05))
    (source / "config.json").write_text('{"n_positions": 32}')
    made = convert(source, out=tmp_path / "v")
    assert choose_windows(made, len(TOKENS)) == split_windows(len(TOKENS), 32, 16)


@pytest.mark.slow
def test_the_logits_of_a_reference_are_computed_once(variants, tmp_path):
    class Counted:
        computed = 0

        def __init__(self, inner):
            self.inner = inner

        def logits(self, window):
            Counted.computed += 1
            return self.inner.logits(window)

        def continue_from(self, starts):
            Counted.computed += 1
            return self.inner.continue_from(starts)

    stored = StoredRun(Counted(run(variants["base"])), tmp_path)
    windows = split_windows(len(TOKENS), 32, 16)
    first = score_run(run(variants["other"]), stored, TOKENS, windows, SILENT)
    assert Counted.computed == len(windows) + 1
    assert score_run(run(variants["other"]), stored, TOKENS, windows, SILENT) == first
    assert Counted.computed == len(windows) + 1
    assert first == evaluate(variants["other"], variants["base"])
    assert math.isfinite(first.rise.low)


@pytest.mark.slow
def test_prompts_together_continue_as_each_alone(variants):
    starts = [0, 7, 31]
    together = run(variants["other"]).continue_from(starts)
    assert together.shape == (3, GENERATED)
    for start, tokens in zip(starts, together, strict=True):
        alone = run(variants["other"]).continue_from([start])
        assert alone.tolist() == [tokens.tolist()]
    assert len({tuple(tokens) for tokens in together.tolist()}) > 1


@pytest.mark.slow
def test_a_precision_is_that_of_the_compiled_graph(variants, tmp_path):
    base, text = variants["base"], text_of(variants["base"])
    reference = open_reference(base, text, tmp_path)
    quality = evaluate_text(variants["other"], text, reference, "CPU", "f32", SILENT)
    assert (quality.precision, quality.executed_precision) == ("f32", "f32")
    expected = score_run(
        run(variants["other"]), run(base), TOKENS, choose_windows(base, len(TOKENS)), SILENT
    )
    assert quality.figures["perplexity"] == pytest.approx(expected.perplexity.value)
    assert quality.figures["perplexity_rise_pct"] == pytest.approx(100 * expected.rise.value)
    assert quality.figures["kl_divergence"] == pytest.approx(expected.divergence.value, rel=1e-3)
    assert quality.figures["quality_tokens"] == len(TOKENS) - 1
    assert {"perplexity", "token_agreement", "greedy_tokens"} <= quality.figures.keys()
    assert quality.metric == "perplexity"


@pytest.mark.slow
def test_another_vocabulary_is_refused(variants, tmp_path):
    small = build_decoder(HEAD[:, :30])
    source = write_openvino_folder(tmp_path / "small", small)
    made = convert(source, out=tmp_path / "v")
    with pytest.raises(InputError, match="40 and 30"):
        evaluate(variants["base"], made)


@pytest.mark.slow
def test_options_that_judge_other_models_are_refused(variants):
    for option in ({"metric": "top1"}, {"batch": 2}, {"tolerance": 0.1}, {"outputs": ["logits"]}):
        with pytest.raises(InputError, match=next(iter(option)).removesuffix("s")):
            evaluate_each(variants["base"], "text.txt", **option)


def test_a_baseline_of_another_kind_is_refused(variants, tmp_path):
    other = graphs.save(tmp_path / "v", graphs.convolutional())
    with pytest.raises(InputError, match=other.name):
        open_reference(other, text_of(variants["base"]), tmp_path)


def test_without_the_tokenizers_the_command_is_named(variants, monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "openvino_tokenizers", None)
    (tmp_path / "text.txt").write_text("the quick brown fox " * 200)
    with pytest.raises(MissingDependencyError) as raised:
        evaluate_each(variants["base"], tmp_path / "text.txt")
    assert raised.value.hint == "pip install 'ovtool[llm]'"


def test_data_of_another_kind_are_refused(variants, tmp_path):
    with pytest.raises(InputError, match="noise"):
        evaluate_each(variants["base"], "noise:4")


def test_a_text_generator_is_judged_over_sequences(variants):
    assert "state-initial" not in {note.id for note in variants["base"].record.notes}
