import json
import math
from dataclasses import FrozenInstanceError, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovtool.core.columns import FIGURES
from ovtool.core.measurement import Measurement, Round, Window
from ovtool.core.notes import Note
from ovtool.core.trial import Trial
from tests.core.test_trial import trials

number = st.floats(allow_nan=False, allow_infinity=False)
seconds = st.floats(0, 1e6)
word = st.text(max_size=12)
windows = st.builds(
    Window,
    seconds=seconds,
    inferences=st.integers(0, 2**40),
    latency_mean_ms=seconds,
    latency_max_ms=seconds,
    cpu_s=st.none() | seconds,
    busy_s=st.none() | seconds,
    steal_s=st.none() | seconds,
)
rounds = st.builds(
    Round, index=st.integers(0, 99), windows=st.lists(windows, max_size=3).map(tuple)
)
measurements = st.builds(
    Measurement,
    trial=trials,
    environment=word,
    status=st.sampled_from(["ok", "failed"]),
    reason=word,
    verdict=st.sampled_from([None, "stable", "contended", "throttled", "unsteady"]),
    executed_precision=st.none() | word,
    figures=st.dictionaries(st.sampled_from(sorted(FIGURES)), number, max_size=6),
    properties=st.dictionaries(word, word, max_size=3),
    notes=st.lists(st.builds(Note, word, word, word, word), max_size=2).map(tuple),
    rounds=st.lists(rounds, max_size=3).map(tuple),
    group_id=word,
    finished=word,
)
MEASUREMENT = Measurement(Trial("v", "v", "CPU", 1), "e", "ok", figures={"latency_p50_ms": 1.5})


def changed(**fields):
    return json.dumps(MEASUREMENT.to_json() | fields)


@pytest.mark.slow
@given(measurements)
def test_a_measurement_survives_the_journal(measurement):
    read = Measurement.from_json(json.dumps(measurement.to_json(), allow_nan=False))
    assert read == measurement
    assert read.trial.variant_name == measurement.trial.variant_name
    assert read.trial.id == measurement.trial.id


@pytest.mark.parametrize(
    ("line", "where"),
    [
        ("", "JSON"),
        ("[]", "object"),
        ('{"trial": ', "JSON"),
        (changed(status="done"), "status"),
        (changed(verdict="good"), "verdict"),
        (changed(figures={"latency_p50_ms": "fast"}), "figures.latency_p50_ms"),
        (changed(figures={"speed": 1.0}), "speed"),
        (changed(rounds=[{"index": 0, "windows": [{"seconds": 1}]}]), "rounds.0.windows.0"),
        (changed(trial={"variant": "v"}), "trial.variant_name"),
        (changed(schema_version=2), "schema_version"),
    ],
)
def test_an_invalid_line_names_the_field(line, where):
    with pytest.raises(ValueError, match=where):
        Measurement.from_json(line)


def test_an_undeclared_figure_is_rejected():
    with pytest.raises(ValueError, match="fps, speed"):
        Measurement(MEASUREMENT.trial, "e", "ok", figures={"speed": 1.0, "fps": 2.0})


def test_a_measurement_is_immutable():
    with pytest.raises(FrozenInstanceError):
        MEASUREMENT.reason = "other"  # type: ignore[misc]


def test_a_round_sums_its_windows():
    single = Round(0, (Window(0.1, 10, 10.0, 12.0), Window(0.2, 19, 10.0, 11.0)))
    assert single.inferences == 29
    assert math.isclose(single.seconds, 0.3)


@given(trials)
def test_a_journal_without_data_shapes_is_read(trial):
    fixed = replace(trial, data_shapes=())
    line = Measurement(fixed, "e", "failed", reason="killed").to_json()
    del line["trial"]["data_shapes"]
    assert Measurement.from_json(json.dumps(line)).trial == fixed
