import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovtool.errors import InputError
from ovtool.sweep.plan import Axes, trials
from tests.models import fully_connected, save


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("variants")
    return [
        save(folder / name, fully_connected(seed)) for seed, name in enumerate(("fp32", "int8"))
    ]


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


def test_shapes_are_in_every_trial(pair):
    made = planned(pair, shapes={"x": (-1, 64)})
    assert {t.shapes for t in made} == {(("x", (-1, 64)),)}


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
        ({"shapes": {"z": (1, 64)}}, "no variant has an input 'z'", "known: x"),
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
