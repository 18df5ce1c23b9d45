import openvino as ov
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovtool.core.errors import InputError
from ovtool.core.trial_grid import Axes, LatencyLimit, trials
from tests.helpers.graphs import embedding, fully_connected, save


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
    return trials(pair, devices, Axes(**axes))


def test_every_combination_is_a_trial(pair):
    made = planned(pair, ["CPU", "GPU.0"], batches=[1, 4], precisions=["default", "f32"])
    assert len(made) == len(set(made)) == 2 * 2 * 2 * 2 * 2
    assert {t.device for t in made} == {"CPU", "GPU.0"}
    assert {t.hint for t in made} == {"latency", "throughput"}
    assert {(t.variant, t.variant_name) for t in made} == {(v.id, v.name) for v in pair}


def test_what_will_be_compared_stands_together(pair):
    made = planned(pair, ["CPU", "NPU"], batches=[1, 2], precisions=["default", "f32"])
    groups = [t.group for t in made]
    assert len(dict.fromkeys(groups)) == 8
    assert groups == sorted(groups, key=groups.index)


def test_precisions_can_be_of_one_variant(pair):
    made = planned(pair, hints=["latency"], precisions_of={"fp32": ["f32", "default"]})
    assert [(t.variant_name, t.precision) for t in made] == [
        ("fp32", "f32"),
        ("fp32", "default"),
        ("int8", "default"),
    ]


def test_what_is_asked_twice_is_planned_once(pair):
    made = planned(
        pair[:1], ["CPU", "CPU"], batches=[1, 1], hints=["latency"] * 2, precisions=["f32"] * 2
    )
    assert len(made) == 1


def test_loads_by_hand_replace_the_hints(pair):
    made = planned(pair[:1], streams=[1, 2], requests=[4], threads=[1, 2])
    assert {t.hint for t in made} == {None}
    assert [(t.streams, t.requests, t.threads) for t in made] == [
        (1, 4, 1),
        (1, 4, 2),
        (2, 4, 1),
        (2, 4, 2),
    ]


def test_what_is_not_given_by_hand_is_left_to_the_device(pair):
    (made,) = planned(pair[:1], threads=[2])
    assert (made.streams, made.requests, made.threads) == (None, None, 2)


def test_every_rate_is_a_load_of_its_own(pair):
    made = planned(pair, hints=["latency"], rates=[50.0, None])
    assert [t.rate for t in made] == [50.0, 50.0, None, None], "those of one rate are compared"
    assert [t.open_loop for t in made] == [True, True, False, False]
    by_hand = planned(pair, requests=[2, 4], rates=[50.0, 80.0])
    assert {(t.requests, t.rate) for t in by_hand} == {(2, 50), (2, 80), (4, 50), (4, 80)}


def test_a_rate_to_look_for_and_pinning_are_of_every_trial(pair):
    made = planned(pair, find_rate=LatencyLimit(20.0, 90), pinning=False)
    assert {(t.max_latency_ms, t.percentile, t.pinning) for t in made} == {(20.0, 90, False)}


def test_every_set_of_shapes_has_trials_of_its_own(text):
    sets = [{"mask": (-1, size), "ids": (-1, size)} for size in (32, 128)]
    made = planned(text, hints=["latency"], batches=[1, 4], shapes=sets)
    assert [(t.batch, t.shapes) for t in made] == [
        (batch, (("ids", (-1, size)), ("mask", (-1, size))))
        for size in (32, 128)
        for batch in (1, 4)
    ]
    assert {t.data_shapes for t in made} == {()}


def test_shapes_and_data_shapes_are_combined(text):
    made = planned(
        text,
        hints=["latency"],
        shapes=[{"ids": (-1, -1)}, {"ids": (-1, 64)}],
        data_shapes=[{"ids": (-1, 64)}, {"ids": (-1, 32)}],
    )
    assert [(dict(t.shapes)["ids"][1], dict(t.data_shapes)["ids"][1]) for t in made] == [
        (-1, 64),
        (-1, 32),
        (64, 64),
        (64, 32),
    ]


@pytest.mark.parametrize("option", ["shapes", "data_shapes"])
@pytest.mark.parametrize("batches", [None, [4]])
def test_the_batch_in_a_shape_is_that_of_the_trial(text, option, batches):
    made = planned(text, hints=["latency"], batches=batches, **{option: [{"ids": (4, 32)}]})
    assert [t.batch for t in made] == [4]
    assert planned(text, shapes=[{"ids": (-1, 32)}])[0].batch == 1


def test_each_shape_may_say_a_batch_of_its_own(text):
    made = planned(text, hints=["latency"], data_shapes=[{"ids": (b, 8)} for b in (2, 16)])
    assert [t.batch for t in made] == [2, 16]


def test_a_dimension_that_no_layout_calls_the_batch_is_none(tmp_path):
    model = fully_connected()
    model.inputs[0].get_node().set_layout(ov.Layout("?C"))
    made = planned([save(tmp_path / "m", model)], hints=["latency"], shapes=[{"x": (8, 64)}])
    assert [t.batch for t in made] == [1]


@pytest.mark.parametrize(
    ("axes", "said", "hint"),
    [
        (
            {"batches": [1], "shapes": [{"ids": (4, 32)}]},
            "--batch 1 and --shape ids=4x32 contradict each other: its batch is 4",
            "leave --batch out, or write ? for the batch",
        ),
        (
            {"batches": [4, 8], "data_shapes": [{"ids": (-1, 8)}, {"ids": (4, 32)}]},
            "--batch 8 and --data-shape ids=4x32 contradict each other: its batch is 4",
            "leave --batch out",
        ),
        (
            {"shapes": [{"ids": (1, 32), "mask": (2, 32)}]},
            "--shape ids=1x32 and --shape mask=2x32 have different batches",
            "the samples of a request",
        ),
        ({"data_shapes": [{"idz": (1, 32)}]}, "no variant has an input 'idz'", "did you mean ids?"),
    ],
)
def test_shapes_that_contradict_are_refused(text, axes, said, hint):
    with pytest.raises(InputError) as caught:
        planned(text, **axes)
    assert str(caught.value) == said
    assert caught.value.hint.startswith(hint)


@pytest.mark.parametrize(
    ("axes", "said", "hint"),
    [
        ({"batches": [1, 0]}, "batches: 0 is not a positive whole number", ""),
        ({"batches": []}, "no batch to measure", ""),
        ({"streams": [-1]}, "streams: -1 is not", ""),
        ({"requests": [0]}, "requests: 0 is not", ""),
        ({"threads": [0]}, "threads: 0 is not", ""),
        ({"hints": ["througput"]}, "unknown hint 'througput'", "did you mean throughput?"),
        ({"precisions": ["fp32"]}, "unknown precision 'fp32'", "did you mean f32?"),
        ({"precisions_of": {"fp32": ["x9"]}}, "unknown precision 'x9'", "known: default"),
        ({"rates": [0.0]}, "rate: 0 is not a number above 0", "requests a second"),
        ({"rates": [float("nan")]}, "rate: nan is not", ""),
        ({"find_rate": LatencyLimit(-1.0)}, "the latency limit -1 is not above 0 ms", ""),
        ({"find_rate": LatencyLimit(5.0, 95)}, "there is no percentile 95 here", "known: 50"),
        ({"find_rate": LatencyLimit(5.0), "rates": [5.0]}, "either given or looked for", "leave"),
        ({"shapes": [{"z": (1, 64)}]}, "no variant has an input 'z'", "known: x"),
    ],
)
def test_axes_that_are_not_possible_are_refused(pair, axes, said, hint):
    with pytest.raises(InputError, match=said) as caught:
        planned(pair, **axes)
    assert caught.value.hint.startswith(hint)


def test_two_variants_of_one_name_are_refused(pair):
    with pytest.raises(InputError, match="two variants are called 'fp32'"):
        planned([pair[0], pair[0]])


@given(
    st.lists(st.integers(1, 64), min_size=1, max_size=4),
    st.lists(st.sampled_from(["latency", "throughput"]), min_size=1, max_size=3),
    st.lists(st.sampled_from(["default", "f32", "bf16"]), min_size=1, max_size=4),
)
def test_a_plan_has_each_combination_once(pair, batches, hints, precisions):
    made = planned(pair, batches=batches, hints=hints, precisions=precisions)
    assert len(made) == 2 * len(set(batches)) * len(set(hints)) * len(set(precisions))
    assert len({t.id for t in made}) == len(made)
