"""The search for settings without labels."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovtool.compression.calibration_search import (
    MIN_GAIN_DB,
    STATE,
    SettingsAttempt,
    hold_back,
    list_steps,
    rank_attempts,
)
from ovtool.compression.method import MethodInputs
from ovtool.compression.pipeline import apply_method
from ovtool.compression.registry import parse_settings
from ovtool.core.errors import InputError
from tests.compression.outliers import pictures, saved
from tests.compression.samples import Listed, StoppingProgress, compress
from tests.compression.test_ptq import depthwise
from tests.helpers.graphs import attention, convolutional


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


def test_a_gain_within_rounding_does_not_change_the_settings():
    ratios = [10.0, 10.05, 12.0, None, 12.05]
    attempts = [SettingsAttempt({"n": n}, 0.0, ratio) for n, ratio in enumerate(ratios)]
    assert [attempt.sqnr_db for attempt in rank_attempts(attempts)] == [12.0, 12.05, 10.05, 10.0]
    assert rank_attempts(attempts[:2])[0] is attempts[0]
    assert rank_attempts(attempts[3:4]) == []


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
    assert chosen >= max(ratios.values()) - MIN_GAIN_DB
    assert chosen > ratios["{}"] + 6
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
