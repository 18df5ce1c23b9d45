"""Quantizing within a limit of accuracy."""

import json
import math

import numpy as np
import openvino as ov
import pytest

from ovtool.compression.accuracy import STATE
from ovtool.compression.calibration_search import MIN_GAIN_DB
from ovtool.compression.calibration_search import STATE as SETTINGS_STATE
from ovtool.compression.method import MethodInputs, MissingInputError
from ovtool.compression.pipeline import apply_method
from ovtool.core.checksum import add_checksum
from ovtool.core.errors import InputError, LimitNotMetError
from ovtool.core.paired import SampleScores
from ovtool.core.progress import SILENT
from ovtool.core.statistics import Interval
from ovtool.core.variant import Variant
from tests.compression.outliers import evaluator, pictures, saved
from tests.compression.samples import Listed, StoppingProgress, compress, types_of

LIMIT = {"max_drop": 0.1}
AS_GIVEN = LIMIT | {"effort": "none"}


@pytest.fixture(scope="module")
def convolutions(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("convolutions") / "convolutions", "conv")


@pytest.fixture(scope="module")
def products(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("products") / "products", "matmul")


class ScriptedEvaluator:
    """A judge that says what a test tells it to, the graph in float first."""

    def __init__(self, *values, half=0.0, metric="accuracy_top1"):
        self.metric = self.description = metric
        self.samples = pictures(4, 5)
        self.values, self.half, self.calls = list(values), half, 0
        self.sample_scores, self.int8_kernels, self.compares = None, True, False

    def __call__(self, _):
        value = self.values[self.calls]
        self.calls += 1
        if isinstance(value, BaseException):
            raise value
        return Interval(value, value - self.half, value + self.half)


def search(parent, settings, quality, out, method="int8", **options):
    inputs = MethodInputs(calibration=pictures(100, 1), evaluator=quality)
    return apply_method(parent, method, settings, inputs, out=out, name="q", **options)


def details(compressed):
    return compressed.record.steps[-1].details


@pytest.mark.slow
def test_an_error_may_rise_by_the_limit(convolutions, tmp_path):
    quality = ScriptedEvaluator(2.0, 2.3, 2.05, half=0.01, metric="mean_absolute_error")
    actual = details(search(convolutions, AS_GIVEN, quality, tmp_path / "q"))
    assert [(a["drop"], a["holds"]) for a in actual["attempts"]] == [
        (pytest.approx(0.3), False),
        (pytest.approx(0.05), True),
    ]
    assert [a["certain"] for a in actual["attempts"]] == [True, True]


@pytest.mark.slow
def test_a_metric_without_an_interval_is_not_called_uncertain(convolutions, tmp_path):
    quality = ScriptedEvaluator(0.5, 0.5, half=math.nan, metric="mean_average_precision")
    (attempt,) = details(search(convolutions, LIMIT, quality, tmp_path / "q"))["attempts"]
    assert (attempt["holds"], attempt["certain"]) == (True, None)


@pytest.mark.slow
def test_matmul_with_outliers_needs_model_type_transformer(products, tmp_path, progress):
    quality = evaluator(products)
    compressed = search(products, LIMIT, quality, tmp_path / "q", progress=progress)
    actual = details(compressed)
    first, last = actual["attempts"]
    assert (first["settings"], first["holds"], last["holds"]) == ({}, False, True)
    assert first["drop"] > 0.2
    assert actual["chosen"] == last["settings"]
    assert actual["chosen"]["model_type"] == "transformer"
    assert last["ci_low"] <= last["metric"] <= last["ci_high"]
    # The figures are those of the saved model.
    assert quality(ov.Core().read_model(compressed.xml)).value == last["metric"]
    assert actual["in_float"]["value"] - last["metric"] == last["drop"] <= 0.1
    # The settings with the least noise, without labels, were judged first.
    ratios = {str(a["changed"]): a["sqnr_db"] for a in actual["settings_search"]["attempts"]}
    assert ratios[str(actual["chosen"])] >= max(ratios.values()) - MIN_GAIN_DB
    assert any(note.startswith("settings by rules: agreement_top1") for note in progress.notes)
    assert Variant.load(compressed.folder).record == compressed.record


@pytest.mark.slow
def test_convolution_with_outliers_stays_in_float(convolutions, tmp_path):
    quality = evaluator(convolutions)
    compressed = search(convolutions, LIMIT, quality, tmp_path / "q")
    actual = details(compressed)
    assert [attempt["holds"] for attempt in actual["attempts"]][-1:] == [True]
    assert actual["chosen"]["ignored_names"] == ["second"]
    assert actual["sensitivity"][0]["layers"] == ["second"]
    assert types_of(compressed)["f32"]["layers"] == 1
    assert types_of(compressed)["i8"]["layers"] == 2
    assert quality(ov.Core().read_model(compressed.xml)).value >= 0.9
    assert Variant.load(compressed.folder).record == compressed.record


class LayersEvaluator(ScriptedEvaluator):
    """A judge for which only enough layers in float hold the limit."""

    def __init__(self, needed):
        super().__init__()
        self.needed, self.seen = needed, []

    def __call__(self, model):
        quantized = {
            reader.get_node().get_friendly_name()
            for operation in model.get_ordered_ops()
            if operation.get_type_name() == "FakeQuantize"
            for reader in operation.output(0).get_target_inputs()
        } & {f"fc{index}" for index in range(4)}
        self.calls += 1
        self.seen.append(4 - len(quantized))
        value = 0.9 if not quantized or 4 - len(quantized) >= self.needed else 0.1
        return Interval(value, value, value)


@pytest.mark.slow
@pytest.mark.parametrize("needed", [1, 2, 3])
def test_as_few_layers_as_hold_the_limit_stay_in_float(dense, tmp_path, needed):
    rows = Listed(list(np.random.default_rng(1).standard_normal((8, 64)).astype(np.float32)))
    judge = LayersEvaluator(needed)
    inputs = MethodInputs(calibration=rows, evaluator=judge)
    settings = {"max_drop": 0.1, "effort": "none"}
    compressed = apply_method(dense, "int8", settings, inputs, out=tmp_path / "q", name="q")
    assert len(details(compressed)["chosen"]["ignored_names"]) == needed
    assert types_of(compressed)["f32"]["layers"] == needed
    assert len(judge.seen) == len(details(compressed)["attempts"]) + 1


@pytest.mark.slow
def test_an_unlimited_number_of_layers_does_not_help(dense, tmp_path):
    rows = Listed(list(np.random.default_rng(1).standard_normal((8, 64)).astype(np.float32)))
    judge = LayersEvaluator(4)
    inputs = MethodInputs(calibration=rows, evaluator=judge)
    settings = {"max_drop": 0.1, "effort": "none"}
    with pytest.raises(LimitNotMetError):
        apply_method(dense, "int8", settings, inputs, out=tmp_path / "q", name="q")
    assert max(judge.seen[1:]) == 3  # one layer stays quantized


@pytest.mark.slow
def test_first_candidate_equals_quantization_without_a_limit(conv, pictures, tmp_path):
    limited = MethodInputs(calibration=pictures, evaluator=ScriptedEvaluator(0.9, 0.9))
    compressed = apply_method(conv, "int8", LIMIT, limited, out=tmp_path / "q", name="q")
    plain = compress(conv, "int8", {}, pictures, out=tmp_path / "p", name="q")
    assert compressed.record.sha256 == plain.record.sha256
    assert len(details(compressed)["attempts"]) == 1


@pytest.mark.slow
def test_drop_equal_to_the_limit_holds(products, tmp_path):
    settings = AS_GIVEN | {"max_drop": 0.01}
    compressed = search(products, settings, ScriptedEvaluator(0.98, 0.97), tmp_path / "q")
    assert details(compressed)["attempts"][0]["holds"]


@pytest.mark.slow
@pytest.mark.parametrize(("half", "certain"), [(0.005, True), (0.05, False)])
def test_too_few_samples_are_not_certain(products, tmp_path, progress, half, certain):
    quality = ScriptedEvaluator(0.9, 0.89, half=half)
    settings = AS_GIVEN | {"max_drop": 0.02}
    compressed = search(products, settings, quality, tmp_path / "q", progress=progress)
    assert details(compressed)["attempts"][0]["certain"] is certain
    assert ("too few samples" in " ".join(progress.notes)) is not certain


@pytest.mark.slow
class PairedEvaluator(ScriptedEvaluator):
    """A judge with an outcome for each sample; the first evaluation is of the graph in float."""

    def __init__(self, *outcomes):
        super().__init__(*[float(np.mean(o)) for o in outcomes], half=0.1)
        self.scripted = outcomes

    def __call__(self, model):
        self.sample_scores = SampleScores(tuple(self.scripted[self.calls].tolist()))
        return super().__call__(model)


@pytest.mark.slow
def test_the_drop_is_paired_by_sample(products, tmp_path, progress):
    in_float = np.arange(300) < 270
    quantized = in_float.copy()
    quantized[:3] = False  # lost
    quantized[-1:] = True  # won
    quality = PairedEvaluator(in_float, quantized)
    settings = {"max_drop": 0.03, "effort": "none"}
    actual = details(search(products, settings, quality, tmp_path / "q", progress=progress))
    (attempt,) = actual["attempts"]
    assert (attempt["lost"], attempt["won"]) == (3, 1)
    assert attempt["drop"] == pytest.approx(2 / 300)
    assert attempt["drop_low"] < 2 / 300 < attempt["drop_high"] < 0.03
    # The unpaired interval [0.793, 0.993] contains the limit 0.87; the paired one decides.
    assert attempt["certain"] is True
    assert "too few samples" not in " ".join(progress.notes)


@pytest.mark.slow
def test_the_drop_of_an_error_is_paired_by_sample(products, tmp_path):
    """Errors of the samples differ far more than what quantization adds to each."""
    in_float = np.linspace(0.1, 2.0, 50)
    growth = 0.01 + 0.002 * np.cos(np.arange(50))
    quality = ScriptedEvaluator(*map(float, (in_float.mean(), (in_float + growth).mean())),
                                half=0.2, metric="mean_absolute_error")  # fmt: skip
    scores = iter([in_float, in_float + growth])

    class Judge:
        def __getattr__(self, name):
            return getattr(quality, name)

        def __call__(self, model):
            self.sample_scores = SampleScores(tuple((-next(scores)).tolist()))
            return quality(model)

    settings = {"max_drop": 0.02, "effort": "none"}
    (attempt,) = details(search(products, settings, Judge(), tmp_path / "q"))["attempts"]
    assert attempt["drop"] == pytest.approx(growth.mean())
    assert 0.009 < attempt["drop_low"] < attempt["drop"] < attempt["drop_high"] < 0.011
    assert attempt["certain"] is True
    assert attempt["lost"] is None


@pytest.mark.slow
def test_a_cosine_drops_from_one_without_an_error(products, tmp_path):
    quality = ScriptedEvaluator(1.0, 0.97, half=0.005, metric="output_cosine")
    quality.compares = True
    settings = {"max_drop": 0.04, "effort": "none"}
    (attempt,) = details(search(products, settings, quality, tmp_path / "q"))["attempts"]
    ends = attempt["drop_low"], attempt["drop"], attempt["drop_high"]
    assert ends == pytest.approx((0.025, 0.03, 0.035))


@pytest.mark.slow
def test_an_evaluator_has_the_scores_of_its_metric(products):
    quality = evaluator(products)
    assert quality(ov.Core().read_model(products.xml)).value == 1
    assert quality.sample_scores == SampleScores((True,) * 100)


@pytest.mark.slow
def test_unmet_limit_raises_with_the_best_attempt(products, tmp_path):
    quality = ScriptedEvaluator(0.9, 0.3, 0.5, *[0.2] * 20)
    with pytest.raises(LimitNotMetError, match=r"max_drop 0\.0100") as caught:
        search(products, AS_GIVEN | {"max_drop": 0.01}, quality, tmp_path / "q")
    assert caught.value.exit_code == 1
    assert "1 layer in float: accuracy_top1 0.500" in str(caught.value)
    assert "drop 0.4000" in str(caught.value)
    assert not (tmp_path / "q").exists()


@pytest.mark.slow
def test_time_limit_stops_the_search(products, tmp_path):
    quality = ScriptedEvaluator(0.9, 0.3)
    settings = {"max_drop": 0.01, "time_limit_s": 1e-6}
    with pytest.raises(LimitNotMetError, match=r"max_drop 0\.0100 in 0 s"):
        search(products, settings, quality, tmp_path / "q")
    assert quality.calls <= 2


@pytest.mark.slow
def test_interrupted_search_resumes(convolutions, tmp_path, progress):
    uninterrupted = search(
        convolutions, AS_GIVEN, ScriptedEvaluator(0.9, 0.1, 0.2, 0.88, 0.8), tmp_path / "whole"
    )
    killed = ScriptedEvaluator(0.9, 0.1, 0.2, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        search(convolutions, AS_GIVEN, killed, tmp_path / "q")
    (state,) = tmp_path.glob(f".q.*/{STATE}")
    assert len(json.loads(state.read_text())["attempts"]) == 2
    rest = ScriptedEvaluator(0.88)
    compressed = search(convolutions, AS_GIVEN, rest, tmp_path / "q", progress=progress)
    assert rest.calls == 1
    assert any("2 candidates" in note for note in progress.notes)
    assert compressed.record.sha256 == uninterrupted.record.sha256
    assert details(compressed)["chosen"] == details(uninterrupted)["chosen"]
    assert not state.exists()


@pytest.mark.slow
@pytest.mark.parametrize(("effort", "searched"), [("low", False), ("medium", True)])
def test_the_least_noise_is_judged_first_after_a_search(products, tmp_path, effort, searched):
    settings = {"max_drop": 0.1, "effort": effort}
    actual = details(search(products, settings, ScriptedEvaluator(0.9, 0.88), tmp_path / "q"))
    (attempt,) = actual["attempts"]
    assert (actual["settings_search"] is not None) is searched
    assert attempt["settings"] == actual["chosen"]
    if searched:
        tried = actual["settings_search"]["attempts"]
        best = max(a["sqnr_db"] for a in tried if a["sqnr_db"] is not None)
        (chosen,) = (a for a in tried if a["changed"] == actual["chosen"])
        assert best - MIN_GAIN_DB <= chosen["sqnr_db"] <= best
        assert actual["chosen"]


@pytest.mark.slow
def test_settings_that_hold_by_chance_give_way_to_those_with_less_noise(products, tmp_path):
    """The interval of the first drop contains the limit; the search then ranks other settings."""
    quality = ScriptedEvaluator(0.9, 0.88, 0.85, 0.89, half=0.1)
    settings = LIMIT | {"max_drop": 0.03, "preset": "mixed", "activations_range": "minmax"}
    actual = details(search(products, settings, quality, tmp_path / "q"))
    rules, rejected, chosen = actual["attempts"]
    assert (rules["settings"], rules["holds"], rules["certain"]) == ({}, True, False)
    assert (rejected["holds"], chosen["holds"]) == (False, True)
    assert chosen["settings"] == actual["chosen"] != {}


@pytest.mark.slow
def test_settings_that_hold_by_chance_are_kept_where_no_others_hold(products, tmp_path):
    quality = ScriptedEvaluator(0.9, 0.88, *[0.5] * 3, half=0.1)
    settings = LIMIT | {"max_drop": 0.03, "preset": "mixed", "activations_range": "minmax"}
    actual = details(search(products, settings, quality, tmp_path / "q"))
    assert actual["chosen"] == {}
    assert len(actual["attempts"]) > 2
    again = ScriptedEvaluator(0.9, 0.88, half=0.1)
    limited = LIMIT | {"max_drop": 0.03, "time_limit_s": 1e-6}
    actual = details(search(products, limited, again, tmp_path / "limited"))
    assert (actual["chosen"], actual["settings_search"]) == ({}, None)


@pytest.mark.slow
def test_the_time_of_an_interrupted_settings_search_counts(products, tmp_path):
    settings, options = LIMIT | {"effort": "medium"}, {"out": tmp_path / "q", "name": "q"}

    def run(quality, progress=SILENT):
        inputs = MethodInputs(calibration=pictures(20, 1), evaluator=quality)
        with pytest.raises(KeyboardInterrupt):
            apply_method(products, "int8", settings, inputs, progress=progress, **options)

    run(ScriptedEvaluator(0.9, 0.1), StoppingProgress("trying: model_type"))
    (searched,) = tmp_path.glob(f".q.*/{SETTINGS_STATE}")
    content = json.loads(searched.read_text())
    searched.write_bytes(add_checksum(json.dumps(content | {"spent_s": 1000.0})))
    run(ScriptedEvaluator(KeyboardInterrupt()))
    (state,) = tmp_path.glob(f".q.*/{STATE}")
    assert 1000 < json.loads(state.read_text())["spent_s"] < 2000


@pytest.mark.slow
def test_search_interrupted_after_its_end_returns_the_same_model(products, tmp_path, monkeypatch):
    from ovtool.core import variant

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(variant, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            search(products, AS_GIVEN, ScriptedEvaluator(0.9, 0.1, 0.9), tmp_path / "q")
    again = ScriptedEvaluator()
    compressed = search(products, AS_GIVEN, again, tmp_path / "q")
    assert again.calls == 0
    assert list(details(compressed)["chosen"]) == ["ignored_names"]


@pytest.mark.slow
def test_failed_candidate_is_recorded_with_its_error(products, tmp_path):
    quality = ScriptedEvaluator(0.9, 0.1, InputError("the graph does not run"), 0.9)
    compressed = search(products, AS_GIVEN, quality, tmp_path / "q")
    failed = details(compressed)["attempts"][1]
    assert failed["error"] == "the graph does not run"
    assert (failed["metric"], failed["holds"]) == (None, False)


@pytest.mark.slow
def test_fp8_supports_max_drop(products, tmp_path):
    compressed = search(products, LIMIT, ScriptedEvaluator(0.9, 0.89), tmp_path / "q", method="fp8")
    assert details(compressed)["attempts"][0]["holds"]
    assert list(types_of(compressed)) == ["f8e4m3"]


def test_max_drop_needs_validation_samples(conv, pictures, tmp_path):
    with pytest.raises(MissingInputError) as caught:
        compress(conv, "int8", LIMIT, pictures, out=tmp_path / "q", name="q")
    assert caught.value.need == "validation"


@pytest.mark.slow
def test_another_metric_is_another_step(products, tmp_path):
    first = search(products, AS_GIVEN, ScriptedEvaluator(0.9, 0.9), tmp_path / "q")
    other = ScriptedEvaluator(0.9, 0.1, 0.9)
    other.metric = other.description = "agreement_top1"
    second = search(products, AS_GIVEN, other, tmp_path / "q", replace=True)
    assert first.record.steps[-1].data != second.record.steps[-1].data
    assert details(second)["chosen"] != details(first)["chosen"]
