"""The functions of the Python API have the parameters of the command line."""

import inspect

import pytest

from ovtool import api
from ovtool.cli.command import load_command
from ovtool.cli.main import VERBS
from ovtool.core.errors import InputError
from ovtool.core.sweep_spec import FindConcurrency, FindRate, SweepFields, SweepSpec
from ovtool.models.options import SourceFields, SourceOptions, source_options
from ovtool.recipes.draft import DraftSpec
from ovtool.recipes.own_model import DraftFields
from ovtool.selection.choice_spec import ChoiceFields, ChoiceSpec

FUNCTIONS = {
    "deploy": ("deploy", "verify_bundle"),
    "devices": ("devices", "calibrate", "install_npu_compiler"),
    "evaluate": ("evaluate_each",),
    "report": ("report", "watch_sweeps"),
}
"""Functions of a verb; others have the name of the verb."""
WITHOUT_FUNCTION = {"fleet", "methods", "recipes"}
PRINTING = {
    "all", "explain", "front", "json", "quiet", "snippet", "top", "verbose", "watch", "why", "yes",
}  # fmt: skip
"""Options that say what is printed; results have attributes for them."""
POSITIONAL = {"model"}
"""Options that may stand for the first argument."""
ELSEWHERE = {
    ("devices", "install_npu_compiler"): api.install_npu_compiler,
    ("devices", "calibrate"): api.calibrate,
    ("deploy", "verify"): api.verify_bundle,
    ("analyze", "speed"): "ModelAnalysis.lower_bound_s",
    ("compare", "fail_on_regression"): "Comparison.check",
    ("compare", "fail_on_unknown"): "Comparison.check",
    ("compare", "junit"): "ovtool.comparison.junit.to_junit",
    **{("sweep", name): api.fleet.sweep for name in ("fleet", "hosts", "certificates")},
    ("sweep", "max_latency_ms"): FindRate.model_fields["max_latency_ms"],
    ("sweep", "percentile"): FindRate.model_fields["percentile"],
    ("sweep", "max_ttft_ms"): FindConcurrency.model_fields["max_ttft_ms"],
    ("sweep", "max_tpot_ms"): FindConcurrency.model_fields["max_tpot_ms"],
}
"""Options that are a function, a method or a field of a nested record."""
NAMES = {"set": "settings", "pin": "pinning"}
SUFFIXES = ("", "s", "es", "_s", "_pct")
"""A parameter is the option, its plural for several values, or has its unit."""


def parameters_of(function):
    """Return the names of the parameters, those of ``**fields`` included."""
    names = set()
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            fields = parameter.annotation.removeprefix("Unpack[").removesuffix("]")
            kinds = vars(inspect.getmodule(inspect.unwrap(function)))
            kinds = {**vars(inspect.getmodule(SourceFields)), **kinds}
            names |= set(kinds[fields].__annotations__)
        else:
            names.add(parameter.name)
    return names


def options_of(verb):
    """Return the options of a verb by their long name, without dashes."""
    options = [p for p in load_command(verb).params if p.param_type_name == "option"]
    flags = [next(name for name in p.opts if name.startswith("--")) for p in options]
    return {flag.removeprefix("--").replace("-", "_") for flag in flags} - {"help"}


VERB_NAMES = [verb for verbs in VERBS.values() for verb in verbs if verb not in WITHOUT_FUNCTION]


@pytest.mark.parametrize("verb", VERB_NAMES)
def test_every_option_is_a_parameter(verb):
    functions = [getattr(api, name) for name in FUNCTIONS.get(verb, (verb,))]
    parameters = set().union(*map(parameters_of, functions))
    for option in options_of(verb) - PRINTING - POSITIONAL:
        if (verb, option) in ELSEWHERE:
            continue
        name = NAMES.get(option, option)
        assert parameters & {name + suffix for suffix in SUFFIXES}, option


def test_the_check_of_parameters_is_not_vacuous():
    assert {"rounds", "max_seconds", "devices"} <= parameters_of(api.sweep)
    assert {"max_latency_ms", "sweeps"} <= parameters_of(api.choose)
    assert {"max_seconds", "rounds"} <= options_of("sweep")


@pytest.mark.parametrize(
    ("spec", "fields"),
    [(SweepSpec, SweepFields), (ChoiceSpec, ChoiceFields), (DraftSpec, DraftFields)],
)
def test_keyword_arguments_are_the_fields_of_a_spec(spec, fields):
    assert set(fields.__annotations__) == set(spec.model_fields)


def test_keyword_arguments_of_a_source_are_its_options():
    options = {"weights": "w", "shapes": {"x": (1, 3)}, "dtypes": {"x": "f32"}, "mean": 127,
               "layouts": {"x": "NC"}, "scale": [1, 2, 3], "channels": "BGR", "resize": "crop",
               "size": (8, 8), "trust": True, "tolerance": 0.1}  # fmt: skip
    assert set(options) == set(SourceFields.__annotations__)
    built = source_options(None, options)
    assert built.input_shapes == {"x": (1, 3)}
    assert built.preprocessing.mean == (127.0,)
    assert built.preprocessing.scale == (1.0, 2.0, 3.0)
    changed = source_options(built, {"mean": 1.0, "trust": False})
    assert (changed.preprocessing.channels, changed.preprocessing.mean) == ("BGR", (1.0,))
    assert changed == built.model_copy(
        update={"trust": False, "preprocessing": changed.preprocessing}
    )
    assert source_options(None, {}) == SourceOptions()


@pytest.mark.parametrize(
    "call",
    [
        lambda out: api.sweep("m.onnx", out=out, rouns=3),
        lambda out: api.choose(out, max_latency=3),
        lambda out: api.convert("m.onnx", out=out, shape={}),
    ],
)
def test_an_unknown_keyword_is_a_type_error_with_the_name(call, tmp_path):
    with pytest.raises(TypeError, match=r"rounds|max_latency_ms|shapes"):
        call(tmp_path / "out")


def test_an_invalid_value_names_its_keyword(tmp_path):
    with pytest.raises(InputError, match="rounds"):
        api.sweep("m.onnx", out=tmp_path / "out", rounds=0)
    assert not (tmp_path / "out").exists()
