import openvino as ov
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovtool.core.errors import InputError
from ovtool.core.sweep_spec import FindRate, SweepSpec
from ovtool.core.trial_grid import (
    drop_default_precisions,
    plan_inferences,
    plan_trials,
    single_spec,
)
from ovtool.models.convert import convert
from tests.helpers.decoders import write_openvino_folder
from tests.helpers.graphs import convolutional, embedding, fully_connected, save


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("variants")
    return [
        save(folder / name, fully_connected(seed)) for seed, name in enumerate(("fp32", "int8"))
    ]


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return [save(tmp_path_factory.mktemp("text") / "text", embedding())]


def planned(pair, devices=("CPU",), **axes):
    return plan_trials(pair, devices, SweepSpec(**axes))


def test_every_combination_is_a_trial(pair):
    trials = planned(pair, ["CPU", "GPU.0"], batches=[1, 4], precisions=["default", "f32"])
    assert len(trials) == len(set(trials)) == 2 * 2 * 2 * 2 * 2
    assert {t.device for t in trials} == {"CPU", "GPU.0"}
    assert {t.hint for t in trials} == {"latency", "throughput"}
    assert {(t.variant, t.variant_name) for t in trials} == {(v.id, v.name) for v in pair}


def test_default_batch_is_the_fixed_batch_of_a_variant(pair, tmp_path):
    four = save(tmp_path / "four", convolutional(batch=4), batch="static")
    trials = planned([pair[0], four], hints=["latency"])
    assert [(t.variant_name, t.batch) for t in trials] == [(pair[0].name, 1), ("four", 4)]
    requested = planned([four], hints=["latency"], batches=[2])
    assert [t.batch for t in requested] == [2], "the trial fails with its reason"


def test_trials_of_a_group_are_neighbors(pair):
    trials = planned(pair, ["CPU", "NPU"], batches=[1, 2], precisions=["default", "f32"])
    groups = [t.group for t in trials]
    assert len(dict.fromkeys(groups)) == 8
    assert groups == sorted(groups, key=groups.index)


def test_precisions_of_one_variant_replace_the_common_ones(pair):
    trials = planned(pair, hints=["latency"], precisions_of={"fp32": ["f32", "default"]})
    assert [(t.variant_name, t.precision) for t in trials] == [
        ("fp32", "f32"),
        ("fp32", "default"),
        ("int8", "default"),
    ]


def test_repeated_values_are_planned_once(pair):
    trials = planned(
        pair[:1], ["CPU", "CPU"], batches=[1, 1], hints=["latency"] * 2, precisions=["f32"] * 2
    )
    assert len(trials) == 1


def test_explicit_loads_replace_the_hints(pair):
    trials = planned(pair[:1], streams=[1, 2], requests=[4], threads=[1, 2])
    assert {t.hint for t in trials} == {None}
    assert [(t.streams, t.requests, t.threads) for t in trials] == [
        (1, 4, 1),
        (1, 4, 2),
        (2, 4, 1),
        (2, 4, 2),
    ]


def test_omitted_load_settings_are_left_to_the_device(pair):
    (trials,) = planned(pair[:1], threads=[2])
    assert (trials.streams, trials.requests, trials.threads) == (
        None,
        None,
        2,
    )


def test_every_rate_is_a_separate_load(pair):
    trials = planned(pair, hints=["latency"], rates=[50.0, "busy"])
    assert [t.rate for t in trials] == [50.0, 50.0, None, None], "trials of one rate are neighbors"
    assert [t.open_loop for t in trials] == [True, True, False, False]
    explicit = planned(pair, requests=[2, 4], rates=[50.0, 80.0])
    assert {(t.requests, t.rate) for t in explicit} == {(2, 50), (2, 80), (4, 50), (4, 80)}


def test_find_rate_and_pinning_apply_to_every_trial(pair):
    trials = planned(pair, find_rate=FindRate(max_latency_ms=20.0, percentile=90), pinning=False)
    assert {(t.max_latency_ms, t.percentile, t.pinning) for t in trials} == {(20.0, 90, False)}


def test_every_set_of_shapes_has_its_trials(text):
    shapes = [(-1, 32), (-1, 128)]
    trials = planned(
        text, hints=["latency"], batches=[1, 4], shapes={"mask": shapes, "ids": shapes}
    )
    assert [(t.batch, t.shapes) for t in trials] == [
        (batch, (("ids", (-1, size)), ("mask", (-1, size))))
        for size in (32, 128)
        for batch in (1, 4)
    ]
    assert {t.data_shapes for t in trials} == {()}


def test_shapes_and_data_shapes_are_combined(text):
    trials = planned(
        text,
        hints=["latency"],
        shapes={"ids": ["?x?", "?x64"]},
        data_shapes={"ids": ["?x64", "?x32"]},
    )
    assert [(dict(t.shapes)["ids"][1], dict(t.data_shapes)["ids"][1]) for t in trials] == [
        (-1, 64),
        (-1, 32),
        (64, 64),
        (64, 32),
    ]


@pytest.mark.parametrize("option", ["shapes", "data_shapes"])
@pytest.mark.parametrize("batches", [None, [4]])
def test_the_batch_in_a_shape_is_the_batch_of_the_trial(text, option, batches):
    trials = planned(text, hints=["latency"], batches=batches, **{option: {"ids": (4, 32)}})
    assert [t.batch for t in trials] == [4]
    assert planned(text, shapes={"ids": (-1, 32)})[0].batch == 1


def test_shapes_with_different_batches_give_one_trial_each(text):
    trials = planned(text, hints=["latency"], data_shapes={"ids": [(b, 8) for b in (2, 16)]})
    assert [t.batch for t in trials] == [2, 16]


def test_a_dimension_without_a_batch_layout_is_no_batch(tmp_path):
    model = fully_connected()
    model.inputs[0].get_node().set_layout(ov.Layout("?C"))
    trials = planned([save(tmp_path / "m", model)], hints=["latency"], shapes={"x": (8, 64)})
    assert [t.batch for t in trials] == [1]


@pytest.mark.parametrize(
    ("axes", "values"),
    [
        ({"batches": [1], "shapes": {"ids": "4x32"}}, ["--batch 1", "--shape ids=4x32"]),
        (
            {"batches": [4, 8], "data_shapes": {"ids": ["?x8", "4x32"]}},
            ["--batch 8", "--data-shape ids=4x32"],
        ),
        ({"shapes": {"ids": "1x32", "mask": "2x32"}}, ["--shape ids=1x32", "--shape mask=2x32"]),
        ({"data_shapes": {"idz": "1x32"}}, ["'idz'", "ids?"]),
    ],
)
def test_contradicting_shapes_are_refused(text, axes, values):
    with pytest.raises(InputError) as caught:
        planned(text, **axes)
    assert all(value in caught.value.full_text for value in values)


def test_an_unknown_input_is_refused(pair):
    with pytest.raises(InputError, match="'z'"):
        planned(pair, shapes={"z": "1x64"})


def test_a_single_spec_gives_one_trial_per_device(pair):
    spec = single_spec(batch=2, precision="f32", hint="throughput", shapes={"x": (-1, 64)})
    (trial,) = plan_trials(pair[:1], ["CPU"], spec)
    assert (trial.batch, trial.precision, trial.hint) == (2, "f32", "throughput")
    assert trial.shapes == (("x", (-1, 64)),)
    (of_shape,) = plan_trials(pair[:1], ["CPU"], single_spec(shapes={"x": (3, 64)}))
    assert of_shape.batch == 3


@pytest.mark.parametrize(
    "wrong", [{"batch": 0}, {"precision": "f31"}, {"hint": "fast"}], ids=lambda w: next(iter(w))
)
def test_a_wrong_single_spec_names_the_argument_and_the_value(wrong):
    with pytest.raises(InputError) as caught:
        single_spec(**wrong)
    ((name, value),) = wrong.items()
    assert str(caught.value).startswith(f"{name}: ")
    assert repr(value) in str(caught.value)


@pytest.mark.slow
def test_an_inference_of_a_text_generator_reads_a_prompt(tmp_path):
    generator = convert(write_openvino_folder(tmp_path / "source"), out=tmp_path / "decoder")
    spec = single_spec(shapes=dict.fromkeys(("input_ids", "attention_mask"), (1, 16)))
    (trial,) = plan_inferences([generator], ["CPU"], spec)
    assert trial.generation is None
    assert trial.hint == "latency"
    assert dict(trial.shapes)["input_ids"] == (1, 16)
    with pytest.raises(InputError, match="text generator"):
        plan_trials([generator], ["CPU"], spec)


def test_two_variants_with_one_name_are_refused(pair):
    with pytest.raises(InputError, match="'fp32'"):
        planned([pair[0], pair[0]])


@given(
    st.lists(st.integers(1, 64), min_size=1, max_size=4),
    st.lists(st.sampled_from(["latency", "throughput"]), min_size=1, max_size=3),
    st.lists(st.sampled_from(["default", "f32", "bf16"]), min_size=1, max_size=4),
)
def test_a_plan_has_each_combination_once(pair, batches, hints, precisions):
    trials = planned(pair, batches=batches, hints=hints, precisions=precisions)
    assert len(trials) == 2 * len(set(batches)) * len(set(hints)) * len(set(precisions))
    assert len({t.id for t in trials}) == len(trials)


@pytest.mark.parametrize(
    ("defaults", "left"),
    [
        ({"CPU": "f32", "GPU.0": "f16"}, {("CPU", "default"), ("GPU.0", "f32"),
                                          ("GPU.0", "default")}),
        ({"CPU": "bf16"}, {(d, p) for d in ("CPU", "GPU.0") for p in ("f32", "default")}),
        ({}, {(d, p) for d in ("CPU", "GPU.0") for p in ("f32", "default")}),
    ],
)  # fmt: skip
def test_the_default_precision_is_not_measured_twice(pair, defaults, left):
    trials = planned(pair, ["CPU", "GPU.0"], precisions=["f32", "default"])
    kept = drop_default_precisions(trials, defaults)
    assert {(t.device, t.precision) for t in kept} == left
    assert [t for t in trials if t in kept] == list(kept)


def test_a_precision_that_is_requested_alone_stays(pair):
    trials = planned(pair, precisions=["f32"])
    assert drop_default_precisions(trials, {"CPU": "f32"}) == trials
