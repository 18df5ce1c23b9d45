"""Options of the command line from the fields of a spec."""

import inspect

import pytest

from ovtool.cli.spec_options import _parse_spec, with_options_of
from ovtool.core.errors import InputError
from ovtool.core.sweep_spec import FindRate, SweepSpec
from ovtool.selection.choice_spec import ChoiceSpec


def options_of(model):
    @with_options_of(model)
    def command(*, spec: model) -> None:
        commands.append(spec)

    commands = []
    return command, commands


@pytest.mark.parametrize("model", [SweepSpec, ChoiceSpec])
def test_every_field_with_a_panel_is_an_option(model):
    command, _ = options_of(model)
    parameters = inspect.signature(command).parameters
    fields = {name for name, field in model.model_fields.items() if field.json_schema_extra}
    assert fields <= set(parameters)
    assert "spec" not in parameters
    assert "precisions_of" not in parameters


@pytest.mark.parametrize("model", [SweepSpec, ChoiceSpec])
def test_no_option_gives_the_defaults(model):
    command, specs = options_of(model)
    command()
    assert specs == [model()]


def test_texts_become_the_values_of_the_fields():
    values = {
        "devices": ["CPU,NPU", "MULTI:CPU,GPU"],
        "batches": ["1,2", "4"],
        "rates": ["50,busy"],
        "shapes": ["x=1x32,1x128", "y=1,2"],
        "pinning": False,
        "rounds": 5,
    }
    command, specs = options_of(SweepSpec)
    command(**values)
    (spec,) = specs
    assert spec.devices == ("CPU", "NPU", "MULTI:CPU,GPU")
    assert spec.batches == (1, 2, 4)
    assert spec.rates == (50.0, "busy")
    assert spec.shapes == {"x": ((1, 32), (1, 128)), "y": ((1,), (2,))}
    assert (spec.pinning, spec.rounds) == (False, 5)


def test_a_nested_spec_has_a_flag_and_its_options():
    options = {"find_rate": True, "max_latency_ms": 20.0, "percentile": 90}
    command, specs = options_of(SweepSpec)
    command(**options)
    assert specs[0].find_rate == FindRate(max_latency_ms=20, percentile=90)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"find_rate": True}, ["--find-rate", "--max-latency-ms"]),
        ({"max_latency_ms": 20.0}, ["--find-rate", "--max-latency-ms"]),
        ({"find_rate": True, "max_latency_ms": -1.0}, ["--max-latency-ms", "-1"]),
        ({"batches": ["x"]}, ["--batch", "'x'"]),
        ({"timeout_s": 0.0}, ["--timeout", "0"]),
    ],
)
def test_an_error_names_the_option(options, names):
    values = dict.fromkeys(inspect.signature(options_of(SweepSpec)[0]).parameters) | options
    with pytest.raises(InputError) as caught:
        _parse_spec(SweepSpec, values)
    assert all(name in str(caught.value) for name in names)


def test_ranges_and_shares_are_read_from_text():
    command, specs = options_of(SweepSpec)
    command(batches=["1-3,8"], rates=["50..200:x2,busy"], target_pct="1.5%", devices=["cpu"])
    (spec,) = specs
    assert spec.batches == (1, 2, 3, 8)
    assert spec.rates == (50.0, 100.0, 200.0, "busy")
    assert (spec.target_pct, spec.devices) == (1.5, ("CPU",))
    command, specs = options_of(ChoiceSpec)
    command(min_quality="97.5%")
    assert specs[0].min_quality == 0.975


@pytest.mark.parametrize("text", ["8-1", "1-8:x1", "two"])
def test_a_wrong_range_names_its_option(text):
    command, _ = options_of(SweepSpec)
    with pytest.raises(InputError, match="--batch"):
        command(batches=[text])
