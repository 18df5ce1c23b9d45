import math

import pytest
from pydantic import ValidationError

from ovtool.core.errors import InputError
from ovtool.core.fields import validated
from ovtool.core.sweep_spec import FindRate, MeasurementSettings, SweepSpec


def test_defaults_are_one_device_two_hints_and_a_closed_loop():
    spec = SweepSpec()
    assert (spec.devices, spec.hints, spec.rates) == (
        ("CPU",),
        ("latency", "throughput"),
        ("busy",),
    )
    assert spec.batches is None


def test_shapes_are_read_as_text_sizes_or_lists():
    spec = SweepSpec(
        shapes={"ids": ["?x128", [-1, 256]], "mask": "?x128", "n": [1, 3], "x": (2, 8)}
    )
    assert spec.shapes == {
        "ids": ((-1, 128), (-1, 256)),
        "mask": ((-1, 128),),
        "n": ((1, 3),),
        "x": ((2, 8),),
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("batches", [1, 0]),
        ("batches", []),
        ("batches", [2.5]),
        ("batches", [True]),
        ("devices", []),
        ("devices", "CPU"),
        ("streams", [-1]),
        ("requests", [0]),
        ("threads", [0]),
        ("hints", ["througput"]),
        ("precisions", ["f31"]),
        ("precisions_of", {"fp32": ["x9"]}),
        ("rates", [0.0]),
        ("rates", [math.nan]),
        ("rates", ["soon"]),
        ("rates", []),
        ("find_rate", {"max_latency_ms": -1}),
        ("find_rate", {"max_latency_ms": 5, "percentile": 95}),
        ("shapes", {"x": "wide"}),
        ("shapes", {"x": ["1x1", "1x2"], "y": ["1x1", "1x2", "1x3"]}),
        ("rounds", 2),
        ("target_pct", 0),
        ("max_seconds", math.inf),
        ("axis", 1),
    ],
)
def test_an_invalid_value_names_its_field(field, value):
    with pytest.raises(ValidationError) as caught:
        SweepSpec(**{field: value})
    assert {error["loc"][0] for error in caught.value.errors()} == {field}


def test_rates_and_find_rate_exclude_each_other():
    with pytest.raises(ValidationError, match="find_rate"):
        SweepSpec(rates=[5.0], find_rate=FindRate(max_latency_ms=5.0))


def test_measurement_settings_are_a_part_of_the_spec():
    values = SweepSpec(rounds=5, seed=3).measurement_settings()
    assert set(values) == set(MeasurementSettings.model_fields)
    assert (values["rounds"], values["seed"]) == (5, 3)


def test_every_option_has_a_description():
    assert all(field.description for field in SweepSpec.model_fields.values())


def test_an_input_error_names_the_option_and_the_value():
    with pytest.raises(InputError, match=r"^--batch: .*'two'"):
        validated(SweepSpec, {"batches": ["two"]}, {"batches": "--batch"})
    with pytest.raises(InputError, match=r"^rounds: .*2"):
        validated(SweepSpec, {"rounds": 2})


def test_users_write_words_in_any_case_and_ranges_of_integers():
    written = SweepSpec(
        devices=["cpu", "auto:gpu.0,cpu"],
        batches=[1, "4-6"],
        streams="1..8:x2",
        precisions=["FP32", "float16", "Default"],
        hints=["Throughput"],
        rates=["50..200:x2", "BUSY", 12.5],
        target_pct="3%",
    )
    assert written == SweepSpec(
        devices=("CPU", "AUTO:GPU.0,CPU"),
        batches=(1, 4, 5, 6),
        streams=(1, 2, 4, 8),
        precisions=("f32", "f16", "default"),
        hints=("throughput",),
        rates=(50.0, 100.0, 200.0, "busy", 12.5),
        target_pct=3.0,
    )
