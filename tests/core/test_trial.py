import json
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovtool.core.trial import PRECISIONS, Generation, Trial

count = st.none() | st.integers(1, 64)
shapes = st.lists(
    st.tuples(st.text(max_size=5), st.lists(st.integers(-1, 512), max_size=4).map(tuple)),
    max_size=2,
).map(tuple)
trials = st.builds(
    Trial,
    variant=st.text("0123456789abcdef", min_size=12, max_size=12),
    variant_name=st.text(max_size=10),
    device=st.sampled_from(["CPU", "GPU.0", "GPU.1", "NPU", "AUTO:CPU,GPU"]),
    batch=st.integers(1, 1024),
    hint=st.sampled_from([None, "latency", "throughput"]),
    streams=count,
    requests=count,
    threads=count,
    precision=st.sampled_from(PRECISIONS),
    shapes=shapes,
    data_shapes=shapes,
    rate=st.none() | st.floats(0.1, 1e4),
    max_latency_ms=st.none() | st.floats(0.1, 1e4),
    percentile=st.sampled_from([None, 50, 90, 99]),
    pinning=st.sampled_from([None, True, False]),
    generation=st.none()
    | st.builds(
        Generation,
        st.integers(1, 4096),
        st.integers(1, 4096),
        count,
        st.sampled_from(["default", "u8"]),
        st.none() | st.floats(0.1, 1e4),
        st.none() | st.floats(0.1, 1e4),
    ),
)
BASE = Trial("abc", "fp32", "CPU", 4)
OTHERS = {
    "variant": "abd",
    "device": "GPU",
    "batch": 5,
    "hint": "throughput",
    "streams": 1,
    "requests": 1,
    "threads": 1,
    "precision": "f32",
    "shapes": (("x", (-1, 3)),),
    "data_shapes": (("x", (-1, 3)),),
    "rate": 100.0,
    "max_latency_ms": 20.0,
    "percentile": 90,
    "pinning": False,
    "generation": Generation(32, 16),
}


@given(trials, st.text(max_size=10))
def test_the_name_does_not_affect_the_id(trial, name):
    renamed = replace(trial, variant_name=name)
    assert (renamed.id, renamed.group) == (trial.id, trial.group)
    assert renamed == trial
    assert hash(renamed) == hash(trial)


@given(trials, trials)
def test_ids_are_equal_for_equal_trials_only(a, b):
    assert (a.id == b.id) == (a == b)


@given(trials)
def test_the_id_survives_the_journal(trial):
    read = json.loads(json.dumps(trial.to_json()))
    for field in ("shapes", "data_shapes"):
        read[field] = tuple((name, tuple(shape)) for name, shape in read[field])
    if read["generation"] is not None:
        read["generation"] = Generation(**read["generation"])
    assert Trial(**read).id == trial.id


def test_every_other_field_changes_the_id():
    assert set(OTHERS) | {"variant_name"} == {f.name for f in fields(Trial)}
    ids = {BASE.id} | {replace(BASE, **{name: value}).id for name, value in OTHERS.items()}
    assert len(ids) == 1 + len(OTHERS)


@pytest.mark.parametrize("name", sorted(OTHERS))
def test_a_group_ignores_variant_and_precision(name):
    other = replace(BASE, **{name: OTHERS[name]})
    assert (other.group == BASE.group) == (name in {"variant", "precision"})


def test_the_id_is_the_same_on_every_machine():
    assert BASE.id == "19b2d144cf8b"
    assert replace(BASE, shapes=OTHERS["shapes"]).id == "ab503801bfb5"
    assert BASE.group == "1e773c52a39b"


@pytest.mark.parametrize("name", sorted(OTHERS))
def test_a_configuration_ignores_batch_and_load(name):
    other = replace(BASE, **{name: OTHERS[name]})
    differs = other.configuration != BASE.configuration
    of_quality = {"variant", "device", "precision", "shapes", "data_shapes", "generation"}
    assert differs == (name in of_quality)


def test_a_configuration_of_a_text_generator_has_its_cache_only():
    def configuration(*values):
        return replace(BASE, generation=Generation(*values)).configuration

    assert configuration(32, 16, 1) == configuration(64, 8, 4)
    assert configuration(32, 16, 1) != configuration(32, 16, 1, "u8")


@pytest.mark.parametrize(
    ("fields", "load", "open_loop"),
    [
        ({}, "latency", False),
        ({"rate": 100.0}, "latency rate=100/s", True),
        ({"pinning": False}, "latency unpinned", False),
        ({"max_latency_ms": 20.0, "percentile": 99}, "latency p99<=20ms", True),
    ],
)
def test_the_load_has_the_arrivals(fields, load, open_loop):
    trial = replace(BASE, **fields)
    assert (trial.load, trial.open_loop) == (load, open_loop)


def test_a_text_generator_has_the_requests_in_flight_as_load_and_the_lengths_in_the_label():
    trial = replace(BASE, hint=None, generation=Generation(32, 16, 4, "u8"))
    assert trial.load == "concurrency=4 kv=u8"
    assert trial.label == "fp32 CPU 32+16 tokens concurrency=4 kv=u8"
    searched = replace(trial, generation=Generation(32, 16, None, max_ttft_ms=5, max_tpot_ms=2.5))
    assert searched.load == "ttft<=5ms tpot<=2.5ms"
    arriving = replace(trial, rate=2.0, generation=Generation(32, 16, None))
    assert (arriving.load, arriving.open_loop) == ("rate=2/s", True)


def test_the_label_has_every_setting():
    assert BASE.label == "fp32 CPU batch 4 latency"
    explicit = replace(BASE, hint=None, streams=2, requests=4, threads=1, precision="f32")
    assert explicit.label == "fp32 f32 CPU batch 4 streams=2 requests=4 threads=1"
    shaped = replace(BASE, shapes=(("ids", (-1, 128)), ("mask", (-1, 128))))
    assert shaped.label == "fp32 CPU batch 4 latency ids=?x128 mask=?x128"
    with_data = replace(BASE, data_shapes=(("ids", (4, 100)),))
    assert with_data.label == "fp32 CPU batch 4 latency data ids=4x100"
