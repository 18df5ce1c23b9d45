"""The search for settings without labels."""

import json
import math

import numpy as np
import openvino as ov
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openvino import opset15 as op
from scipy import stats

from ovtool.compression.calibration_search import (
    MIN_GAIN_DB,
    STATE,
    CalibrationSearch,
    SettingsAttempt,
    choose_attempt,
    hold_back,
    list_steps,
)
from ovtool.compression.method import MethodContext, MethodInputs
from ovtool.compression.output_noise import compare_noise, limit_db
from ovtool.compression.pipeline import apply_method
from ovtool.compression.registry import parse_settings
from ovtool.core.errors import InputError
from ovtool.core.progress import SILENT
from ovtool.core.variant import Variant
from tests.compression.outliers import pictures, saved
from tests.compression.samples import Listed, StoppingProgress, compress
from tests.compression.test_ptq import depthwise
from tests.helpers.graphs import attention, convolutional, save


def images():
    rng = np.random.default_rng(3)
    return Listed(list(rng.standard_normal((12, 3, 16, 16)).astype(np.float32)))


MEDIUM = {"effort": "medium", "fast_bias_correction": "false"}


@pytest.fixture(scope="module")
def products(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("products") / "products", "matmul")


def details(compressed):
    return compressed.record.steps[-1].details


@given(st.integers(1, 400))
def test_judged_samples_are_others_than_those_that_calibrate(count):
    samples = Listed([np.float32([index]) for index in range(count)])
    judging, calibrating, held_back = hold_back(samples)
    sets = [{float(s.inputs["x"][0]) for s in part} for part in (judging, calibrating)]
    assert [len(s) for s in sets] == [len(judging), len(calibrating)]
    assert held_back == (count >= 16)
    if held_back:
        assert sets[0].isdisjoint(sets[1])
        assert len(sets[0] | sets[1]) == count
        assert 4 <= len(sets[0]) <= min(32, count / 4)
    else:
        assert sets == [set(range(count))] * 2


def attempt(*samples_db):
    mean = sum(limit_db(ratio) for ratio in samples_db) / len(samples_db)
    return SettingsAttempt({"n": samples_db}, 0.0, mean, 0, None, samples_db)


START = attempt(20.0, 10.0, 30.0, 14.0)


def gains(*values):
    return attempt(*(ratio + gain for ratio, gain in zip(START.samples_db, values, strict=True)))


@pytest.mark.parametrize(
    ("tried", "chosen"),
    [
        ([], None),
        ([gains(1, 1.2, 0.8, 1)], 0),
        ([gains(0.05, 0.06, 0.05, 0.04)], None),  # certain, and rounding
        ([gains(9, -1, -1, -1)], None),  # one sample decides the mean, and the pooled ratio
        ([gains(-1, 0.2, -0.8, -1)], None),
        ([gains(1, 1.2, 0.8, 1), gains(1.1, 1.3, 0.9, 1.1)], 1),
        ([gains(1.1, 1.3, 0.9, 1.1), gains(1, 1.2, 0.8, 1)], 0),
        ([gains(30, -1, 0, 0), gains(1, 1.2, 0.8, 1)], 1),
        ([SettingsAttempt({}, 0.0, error="fails"), gains(1, 1.2, 0.8, 1)], 1),
        ([gains(9, 9, 9, -math.inf)], None),
    ],
)  # fmt: skip
def test_a_setting_is_better_by_more_than_chance(tried, chosen):
    best = choose_attempt(START, tried)
    assert best is (START if chosen is None else tried[chosen])


def test_a_setting_that_ruins_no_sample_is_better_than_one_that_does():
    ruined, sound = attempt(40.0, 40.0, -math.inf), attempt(20.0, 20.0, 20.0)
    assert choose_attempt(ruined, [sound]) is sound
    assert choose_attempt(sound, [ruined]) is sound


def test_a_single_sample_decides_by_its_gain():
    assert choose_attempt(attempt(20.0), [better := attempt(20.2)]) is better
    assert choose_attempt(attempt(20.0), [attempt(20.05)]).samples_db == (20.0,)


@given(st.integers(2, 32), st.floats(0.1, 5), st.integers(0, 2**32 - 1))
def test_settings_are_compared_as_student_compares_pairs(count, spread, seed):
    rng = np.random.default_rng(seed)
    before = 20 + 8 * rng.standard_normal(count)
    after = before + 0.5 + spread * rng.standard_normal(count)
    start, tried = attempt(*before.tolist()), attempt(*after.tolist())
    better = stats.ttest_rel(after, before).statistic > 1 and (after - before).mean() > MIN_GAIN_DB
    assert (choose_attempt(start, [tried]) is tried) == better
    assert choose_attempt(start, [start]) is start


@pytest.mark.parametrize(("gain", "low", "high"), [(-0.5, 0, 0.02), (0, 0.05, 0.25), (1, 0.9, 1)])
def test_how_often_settings_change_on_25_photographs(gain, low, high):
    """Gains have a standard deviation of 1.5 dB among photographs, as on EfficientNet-Lite1."""
    rng, count = np.random.default_rng(0), 25
    ratios = 15 + 4 * rng.standard_normal(count)
    start = attempt(*ratios)
    tried = [attempt(*(ratios + gain + 1.5 * rng.standard_normal(count))) for _ in range(400)]
    changed = sum(choose_attempt(start, [each]) is each for each in tried) / len(tried)
    assert low <= changed <= high


@pytest.mark.parametrize(
    ("graph", "given", "expected"),
    [
        (convolutional(), {}, [{"fast_bias_correction"}, {"activations_range"}, {"preset"}]),
        (convolutional(), {"activations_range": "minmax", "preset": "mixed"},
         [{"fast_bias_correction"}, {"activations_range"}]),
        (convolutional(), {"bias_correction": False}, [{"activations_range"}, {"preset"}]),
        (attention(fused=False), {"preset": "mixed", "fast_bias_correction": False},
         [{"model_type"}, {"model_type", "smooth_matmul"}, {"activations_range"}]),
        (attention(fused=False), {"preset": "mixed", "fast_bias_correction": False,
                                  "model_type": "transformer", "smooth_matmul": 0.4},
         [{"activations_range"}]),
        (attention(fused=False),
         {"model_type": "none", "preset": "mixed", "fast_bias_correction": False},
         [{"activations_range"}]),
        (depthwise(), {"preset": "mixed", "fast_bias_correction": False},
         [{"activations_range"}, {"activation_scales"}]),
    ],
)  # fmt: skip
def test_given_settings_are_kept(graph, given, expected):
    steps = list_steps(graph, parse_settings("int8", given), "medium")
    assert [set().union(*step) for step in steps] == expected
    for name, value in given.items():
        assert {changes[name] for step in steps for changes in step if name in changes} <= {value}


def test_presets_that_are_the_default_are_not_tried():
    tried = {
        name: [c["preset"] for step in list_steps(graph, parse_settings("int8", {}), "medium")
               for c in step if "preset" in c]
        for name, graph in (("conv", convolutional()), ("attention", attention(fused=False)))
    }  # fmt: skip
    assert tried == {"conv": ["mixed"], "attention": ["mixed", "performance"]}


@pytest.mark.parametrize("effort", ["medium", "high"])
def test_both_scales_are_tried(effort):
    steps = list_steps(depthwise(), parse_settings("int8", {}), effort)
    scales = [[c["activation_scales"] for c in step] for step in steps
              if "activation_scales" in step[0]]  # fmt: skip
    assert scales == [["per_tensor", "per_channel"]]
    given = parse_settings("int8", {"activation_scales": "per_tensor"})
    assert not any("activation_scales" in c for s in list_steps(depthwise(), given, effort)
                   for c in s)  # fmt: skip


def test_fp8_has_no_settings_of_int8():
    steps = list_steps(attention(fused=False), parse_settings("fp8", {}), "high")
    assert {key for step in steps for changes in step for key in changes} == {
        "model_type", "smooth_matmul", "fast_bias_correction", "bias_correction", "subset_size",
    }  # fmt: skip


@pytest.mark.parametrize("calibrating", [1, 3, 40])
def test_high_tries_fewer_samples(calibrating):
    settings = parse_settings("int8", {"subset_size": 20})
    assert not any("subset_size" in c for s in list_steps(convolutional(), settings, "medium")
                   for c in s)  # fmt: skip
    (last,) = list_steps(convolutional(), settings, "high", calibrating)[-1]
    assert last == {"subset_size": {1: 1, 3: 1, 40: 5}[calibrating]}


def test_smoothing_that_is_tried_is_valid_and_differs():
    for effort, count in (("medium", 1), ("high", 4)):
        settings = parse_settings("int8", {})
        tried = [c for step in list_steps(attention(fused=False), settings, effort) for c in step
                 if "smooth_matmul" in c]  # fmt: skip
        assert len(tried) == count
        for changes in tried:
            shares = parse_settings("int8", changes)
            assert shares.model_type == "transformer"
            assert shares.smooth_matmul != settings.smooth_matmul


def scaled(factor):
    """[batch, 4] -> the input times a factor; a bias makes the noise of samples differ."""
    x = op.parameter([-1, 4], ov.Type.f32, name="x")
    x.output(0).set_names({"x"})
    x.set_layout(ov.Layout("NC"))
    y = op.multiply(x, op.constant(np.float32(factor)))
    y.output(0).set_names({"y"})
    return ov.Model([op.result(y)], [x], "scaled")


class Errors:
    """Stands for quantization: relative errors of the outputs by changed setting."""

    def __init__(self, errors, monkeypatch):
        self.errors, self.tried = errors, []
        monkeypatch.setattr("ovtool.compression.ptq.quantize", self)

    def __call__(self, _model, settings, _feed):
        names = [name for name in self.errors if str(getattr(settings, name[0])) == name[1]]
        self.tried.append(names)
        if any(self.errors[name] is None for name in names):
            raise InputError("rejected")
        error = 0.1
        for name in names:
            error *= self.errors[name]
        return scaled(1 + error)


ERRORS = {
    ("fast_bias_correction", "False"): 0.5,
    ("activations_range", "minmax"): 0.8,
    ("activations_range", "histogram"): 0.7,
    ("preset", "mixed"): 1.2,
}
CHOSEN = {"fast_bias_correction": False, "activations_range": "histogram"}


def search_in(folder, progress=SILENT, **settings):
    samples = Listed(list(np.random.default_rng(0).uniform(0.5, 1, (24, 4)).astype(np.float32)))
    parent = save(folder / "v", scaled(1)) if not (folder / "v").exists() else None
    parent = parent or Variant.load(folder / "v")
    parsed = parse_settings("int8", {"effort": "medium"} | settings)
    inputs = MethodInputs(calibration=samples)
    context = MethodContext(scaled(1), parsed, parent, inputs, folder / "scratch", progress)
    return CalibrationSearch(context, samples, parsed)


@pytest.mark.slow
def test_steps_keep_the_best_of_the_steps_before(tmp_path, monkeypatch):
    errors = Errors(ERRORS, monkeypatch)
    search = search_in(tmp_path)
    ranked = search.rank()
    assert ranked[0].changed == CHOSEN
    assert ranked[0].sqnr_db == pytest.approx(-20 * math.log10(0.1 * 0.5 * 0.7), abs=1e-3)
    assert [a.sqnr_db for a in ranked[1:]] == sorted((a.sqnr_db for a in ranked[1:]), reverse=True)
    assert len(errors.tried) == 5
    document = json.loads(json.dumps(search.details()))
    assert document["finished"] is True
    assert {len(a["samples_db"]) for a in document["attempts"]} == {document["judged_on"]} == {6}
    # Another process reads what this one saved, and tries nothing again.
    again = search_in(tmp_path)
    assert [a.changed for a in again.rank()] == [a.changed for a in ranked]
    assert again.rank() == ranked
    assert len(errors.tried) == 5


@pytest.mark.slow
@pytest.mark.parametrize("stop", range(5))
def test_a_search_that_is_interrupted_anywhere_resumes_to_the_same_choice(
    tmp_path, monkeypatch, stop
):
    errors = Errors(ERRORS, monkeypatch)
    save_attempt, count = CalibrationSearch._save, []

    def save_some(self):
        save_attempt(self)
        count.append(1)
        if len(count) == stop + 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(CalibrationSearch, "_save", save_some)
    with pytest.raises(KeyboardInterrupt):
        search_in(tmp_path).rank()
    assert search_in(tmp_path).rank()[0].changed == CHOSEN
    assert len(errors.tried) == 5


@pytest.mark.slow
def test_a_rejected_setting_is_recorded_and_not_chosen(tmp_path, monkeypatch):
    Errors(ERRORS | {("activations_range", "histogram"): None}, monkeypatch)
    search = search_in(tmp_path)
    ranked = search.rank()
    assert ranked[0].changed == {"fast_bias_correction": False, "activations_range": "minmax"}
    failed = [a for a in search.attempts if a.error is not None]
    assert [a.error for a in failed] == ["rejected"]
    assert failed[0] not in ranked


@pytest.mark.slow
def test_exact_outputs_are_a_choice_like_others(tmp_path, monkeypatch):
    Errors({("fast_bias_correction", "False"): 0.0}, monkeypatch)
    search = search_in(tmp_path)
    assert search.rank()[0].changed == {"fast_bias_correction": False}
    assert search_in(tmp_path).rank() == search.rank()
    json.dumps(search.details(), allow_nan=False)


@pytest.mark.slow
def test_medium_finds_what_the_labels_would_find(products, tmp_path, progress):
    some = pictures(100, 1)
    compressed = compress(
        products, "int8", MEDIUM, some, out=tmp_path / "q", name="q", progress=progress
    )
    actual = details(compressed)
    attempts = actual["settings_search"]["attempts"]
    ratios = {json.dumps(a["changed"]): a["sqnr_db"] for a in attempts}
    assert attempts[0]["changed"] == {}
    assert actual["chosen"]["model_type"] == "transformer"
    chosen = ratios[json.dumps(actual["chosen"])]
    assert chosen > ratios["{}"] + 6
    by_sample = {json.dumps(a["changed"]): a["samples_db"] for a in attempts}
    for other in by_sample.values():  # none is better by more than chance
        gain = compare_noise(by_sample[json.dumps(actual["chosen"])], other)
        assert gain.mean_db <= max(MIN_GAIN_DB, gain.error_db)
    assert actual["settings_search"]["held_back"] is True
    assert actual["settings_search"]["finished"] is True
    assert actual["noise"]["output"] == "scores"
    # The settings are those of the saved model.
    decided = {decision["setting"]: decision["value"] for decision in actual["decisions"]}
    given = {"effort": "none", "fast_bias_correction": "false"} | decided | actual["chosen"]
    again = compress(products, "int8", given, some, out=tmp_path / "again", name="q")
    assert again.record.sha256 == compressed.record.sha256


@pytest.mark.slow
def test_an_interrupted_search_resumes_to_the_same_settings(products, tmp_path):
    some = pictures(40, 1)
    settings = {"effort": "medium", "model_type": "none", "overflow_fix": "first_layer_only"}
    whole = compress(products, "int8", settings, some, out=tmp_path / "whole", name="q")
    with pytest.raises(KeyboardInterrupt):
        apply_method(
            products, "int8", settings, MethodInputs(calibration=some), out=tmp_path / "q",
            name="q", progress=StoppingProgress("trying: fast_bias_correction False"),
        )  # fmt: skip
    (state,) = tmp_path.glob(f".q.*/{STATE}")
    stored = json.loads(state.read_text())
    kept = stored["attempts"]
    assert kept
    assert stored["spent_s"] >= sum(attempt["seconds"] for attempt in kept)
    resumed = compress(products, "int8", settings, some, out=tmp_path / "q", name="q")
    assert resumed.record.sha256 == whole.record.sha256
    attempts = details(resumed)["settings_search"]["attempts"]
    assert attempts[: len(kept)] == kept  # with their seconds: not repeated
    changed = [a["changed"] for a in details(whole)["settings_search"]["attempts"]]
    assert [a["changed"] for a in attempts] == changed


@pytest.mark.slow
def test_a_time_limit_ends_the_search_with_the_settings_by_rules(products, tmp_path):
    settings = MEDIUM | {"time_limit_s": 1e-6}
    compressed = compress(products, "int8", settings, pictures(20, 1), out=tmp_path / "q", name="q")
    assert details(compressed)["chosen"] == {}
    assert details(compressed)["settings_search"]["finished"] is False
    assert len(details(compressed)["settings_search"]["attempts"]) == 1


@pytest.mark.slow
def test_a_model_that_cannot_be_quantized_raises(products, tmp_path):
    with pytest.raises(InputError, match="second"):
        compress(
            products, "int8", {"effort": "medium", "ignored_names": "secnd"}, pictures(20, 1),
            out=tmp_path / "q", name="q",
        )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("effort", ["none", "low"])
def test_without_a_search_nothing_is_tried(conv, tmp_path, effort):
    compressed = compress(conv, "int8", {"effort": effort}, images(), out=tmp_path / "q", name="q")
    actual = details(compressed)
    assert "settings_search" not in actual
    if effort == "low":
        assert actual["noise"]["sqnr_db"] > 15
        assert actual["noise"]["samples"] == 4
