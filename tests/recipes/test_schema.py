"""Recipes: parsing, and the report of all mistakes with their lines."""

import contextlib
import re
import textwrap
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from ovtool.compression.registry import parse_settings
from ovtool.core.errors import InputError
from ovtool.core.input_limits import MAX_DEPTH
from ovtool.core.sweep_spec import SweepSpec
from ovtool.core.yaml_file import MAX_BYTES, MistakesError
from ovtool.recipes.schema import (
    ModelSource,
    Recipe,
    RecipeData,
    RecipeStep,
    RecipeVariant,
    bundled_folder,
    find_recipe,
    read_recipe,
)

HEAD = "recipe: 1\nname: x\nmodel: {source: m.onnx}\n"
MINIMAL = HEAD + "variants: {plain: {}}\n"


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "r.yaml"
    path.write_bytes(text if isinstance(text, bytes) else textwrap.dedent(text).encode())
    return path


@pytest.fixture
def mistakes(tmp_path):
    """Return (line, message) of every mistake in a text."""

    def read(text):
        path = write(tmp_path, text)
        with pytest.raises(MistakesError) as caught:
            read_recipe(path)
        for mistake in caught.value.mistakes:
            assert f"{path}:{mistake.line}: {mistake.message}" in str(caught.value).split("\n  ")
        return [(m.line, m.message) for m in caught.value.mistakes]

    return read


def test_a_complete_recipe_is_parsed(tmp_path):
    text = """
        recipe: 1
        name: whole
        model:
          source: m.onnx
          shapes: {x: "?x3x8x8", ids: [-1, 16]}
          preprocessing: {size: [8, 8], mean: [127], scale: [128]}
        data:
          calibration: {source: images, limit: 10}
          evaluation: {source: held-out.npz, metric: top1}
        variants:
          fp32: {precisions: [f32, default]}
          int8: {steps: [int8: {preset: mixed}]}
          both: {steps: [fp16, weights: {mode: int4_sym, group_size: 64}]}
        sweep:
          devices: [CPU, NPU]
          batches: [1, 2]
          hints: [latency]
          rates: [50, busy]
          pinning: false
          round_s: 0.2
          shapes: {ids: ["?x128", [-1, 256]], mask: ["?x128", "?x256"], n: [1, 3], x: ["?", 8]}
          data_shapes: {ids: 2x64}
        choose: {objective: {latency: 2, size: 1}, percentile: 50, max_latency_ms: 20, rate: 5}
    """
    recipe = read_recipe(write(tmp_path, text))
    assert recipe.model.shapes == {"x": (-1, 3, 8, 8), "ids": (-1, 16)}
    assert recipe.data.calibration.limit == 10
    assert recipe.variants["fp32"].steps == ()
    assert recipe.variants["both"].steps == (
        RecipeStep(method="fp16"),
        RecipeStep(method="weights", settings={"mode": "int4_sym", "group_size": 64}),
    )
    assert recipe.sweep.batches == (1, 2)
    assert recipe.sweep.rounds == 8
    assert recipe.sweep.rates == (50, "busy")
    assert recipe.sweep.pinning is False
    assert recipe.sweep.shapes == {
        "ids": ((-1, 128), (-1, 256)),
        "mask": ((-1, 128), (-1, 256)),
        "n": ((1, 3),),
        "x": ((-1, 8),),
    }
    assert recipe.sweep.data_shapes == {"ids": ((2, 64),)}
    assert recipe.choose.max_latency_ms == 20
    assert recipe.choose.rate == 5
    assert recipe.choose.objective == "latency=2,size=1"


def test_all_mistakes_are_reported_with_their_lines(mistakes):
    reported = mistakes("""\
        recipe: 1
        name: x
        model:
          source: m.onnx
          tolerence: 0.1
        variants:
          fp32:
            precisions: [f32, f31]
          int8:
            steps:
              - fp16
              - int9
          w8:
            steps:
              - weights: {mod: int8_sym}
              - int8
        sweep:
          batches: [1, two]
        """)
    expected = [
        (5, ["'tolerence'", "tolerance?"]),
        (8, ["'f31'", "'bf16'"]),
        (12, ["'int9'", "int8?"]),
        (15, ["'mod'", "mode?"]),
        (16, ["int8", "data.calibration"]),
        (18, ["sweep.batches: ", "'two'"]),
    ]
    assert [line for line, _ in reported] == [line for line, _ in expected]
    for (_, message), (_, values) in zip(reported, expected, strict=True):
        assert all(value in message for value in values), message


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("modle: {}", "model?"),
        ("sweep: {batchs: [1]}", "batches?"),
        ("choose: {objectiv: size}", "objective?"),
        ("data: {calibraton: {source: x}}", "calibration?"),
        ("data: {evaluation: {source: x, metrics: top1}}", "metric?"),
        ("data: {calibration: {source: x, metric: top1}}", "source, labels, limit"),
        ("sweep: {find_rate: {max_latency: 20}}", "max_latency_ms?"),
    ],
)
def test_an_unknown_key_suggests_known_keys(mistakes, line, value):
    reported = mistakes(MINIMAL + line)
    assert {number for number, _ in reported} == {5}
    assert any(value in message for _, message in reported)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        (HEAD + "variants: {a: {precision: f32}}", ["'precision'", "precisions?"]),
        (
            "recipe: 1\nname: x\nmodel:\n  {source: m, shape: 1}\nvariants: {a: {}}",
            ["'shape'", "shapes?"],
        ),
        (MINIMAL.replace("recipe: 1", "recipe: 2"), ["recipe: ", " 1", "got 2"]),
        (MINIMAL.replace("name: x", "name: ../x"), ["name: ", "'../x'"]),
        (MINIMAL.replace("{source: m.onnx}", "m.onnx"), ["model: ", "'m.onnx'"]),
        (HEAD + "variants: {}", ["variants: "]),
        (HEAD + "variants: {a: }", ["variants.a: ", "None"]),
        (HEAD + "variants: {a: {steps: int8}}", ["variants.a.steps: ", "'int8'"]),
        (HEAD + "variants: {a: {steps: [{a: 1, b: 2}]}}", ["variants.a.steps.0: "]),
        (HEAD + "variants: {a: {precisions: []}}", ["variants.a.precisions: "]),
        (HEAD + "variants: {a: {}, b: {}}", ["b ", " a"]),
        (HEAD + "variants: {a: {steps: [fp16]}, b: {steps: [fp16: {}]}}", ["b ", " a"]),
        (HEAD + "variants: {a: {steps: [int8: {preset: fast}]}}", ["int8", "preset: "]),
        (MINIMAL + "sweep: {devices: CPU}", ["sweep.devices: ", "'CPU'"]),
        (MINIMAL + "sweep: {batches: []}", ["sweep.batches: "]),
        (MINIMAL + "sweep: {batches: [0]}", ["sweep.batches.0: "]),
        (MINIMAL + "sweep: {batches: [true]}", ["sweep.batches.0: "]),
        (MINIMAL + "sweep: {batches: [2.5]}", ["sweep.batches.0: "]),
        (MINIMAL + "sweep: {hints: [fast]}", ["sweep.hints.0: ", "'fast'"]),
        (MINIMAL + "sweep: {precisions: [f31]}", ["sweep.precisions.0: ", "'f31'"]),
        (MINIMAL + "sweep: {max_seconds: .inf}", ["sweep.max_seconds: "]),
        (MINIMAL + "sweep: {round_s: .nan}", ["sweep.round_s: "]),
        (MINIMAL + "sweep: {rates: []}", ["sweep.rates: "]),
        (
            MINIMAL + "sweep: {find_rate: {max_latency_ms: 20, percentile: 95}}",
            ["percentile", "95"],
        ),
        (
            MINIMAL + "sweep: {rates: [5], find_rate: {max_latency_ms: 20}}",
            ["sweep: ", "rates", "find_rate"],
        ),
        (MINIMAL + "sweep: {shapes: {x: [0, 3]}}", ["sweep.shapes.x: ", "'0x3'"]),
        (MINIMAL + "sweep: {shapes: {x: wide}}", ["sweep.shapes.x: ", "'wide'"]),
        (MINIMAL + "sweep: {shapes: {x: []}}", ["sweep.shapes.x: "]),
        (MINIMAL + "sweep: {shapes: {x: [1x8, wide]}}", ["sweep.shapes.x: ", "'wide'"]),
        (MINIMAL + "sweep: {shapes: {x: [?x8, ?x16]}}", ["sweep.shapes.x: ", '"?x128"']),
        (MINIMAL + "sweep: {data_shapes: {x: 3.5}}", ["sweep.data_shapes.x"]),
        (
            MINIMAL + "sweep: {shapes: {x: [1x1, 1x2], y: [1x1, 1x2, 1x3]}}",
            ["sweep.shapes: ", "x has 2, y has 3"],
        ),
        (MINIMAL + "choose: {percentile: 95}", ["choose.percentile: ", "95"]),
        (MINIMAL + "choose: {min_quality: 95}", ["choose.min_quality: ", "95"]),
        (MINIMAL + "choose: {max_latency_ms: -1}", ["choose.max_latency_ms: ", "-1"]),
        (MINIMAL + "choose: {rate: 0}", ["choose.rate: "]),
        (MINIMAL + "choose: {prices: 3}", ["choose.prices: ", "3"]),
        (MINIMAL + "choose: {objective: latencies}", ["choose.objective: ", "latency?"]),
        (MINIMAL + "choose: {objective: {size: 0}}", ["choose.objective: ", "'0'"]),
        (MINIMAL + "choose: {max_cost: 1}", ["choose: ", "prices"]),
        (MINIMAL + "choose: {objective: cost}", ["choose: ", "prices"]),
    ],
)
def test_one_mistake_is_one_line(mistakes, text, values):
    if "int8" in text:
        text += "\ndata: {calibration: {source: noise}}"
    ((_, message),) = mistakes(text)
    assert all(value in message for value in values), message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "line", "value"),
    [
        ("recipe: 1\nname: [x\n", 3, ""),
        ("recipe: 1\nname: x\nname: y\n", 3, '"name"'),
        ("- a\n- b\n", 1, ""),
        ("hello", 1, ""),
        ("\n\n", 1, ""),
        (MINIMAL + "---\n" + MINIMAL, 5, ""),
        ("recipe: " + "[" * 5000, 1, str(MAX_DEPTH)),
        ("recipe: 1\nname: \x01", 1, ""),
        ("recipe: " + "9" * 5000, 1, ""),
        ("? {a: {b: 1}}\n: 3\n", 1, ""),
        ("recipe: 1\nname: &n x\nabout: *n\n", 3, "*n"),
        ("recipe: 1\nmodel: &m {source: *m}\n", 2, "*m"),
        ("recipe: 1\nname: !!python/object/apply:os.getcwd []\n", 2, "os.getcwd"),
    ],
)
def test_other_text_gives_one_mistake(mistakes, text, line, value):
    ((number, message),) = mistakes(text)
    assert number == line
    assert value in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes(range(256)),
        MINIMAL.encode("utf-16"),
        b"a: " + b"x" * MAX_BYTES,
    ],
    ids=["empty", "binary", "utf-16", "too large"],
)
def test_a_file_without_recipe_text_is_rejected(tmp_path, content):
    with pytest.raises(InputError, match=re.escape(str(tmp_path / "r.yaml"))) as caught:
        read_recipe(write(tmp_path, content))
    assert not isinstance(caught.value, MistakesError)


def test_nested_aliases_are_rejected_quickly(tmp_path):
    lines = ["a: &a [x,x,x,x,x,x,x,x,x]"]
    for before, after in zip("abcdefghij", "bcdefghijk", strict=True):
        lines.append(f"{after}: &{after} [{','.join(['*' + before] * 9)}]")
    started = time.monotonic()
    with pytest.raises(MistakesError, match=r"\*a"):
        read_recipe(write(tmp_path, "\n".join(lines)))
    assert time.monotonic() - started < 30, "the aliases are not expanded"


def test_a_missing_file_and_a_folder_are_rejected(tmp_path):
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(InputError, match=re.escape(str(path))):
            read_recipe(path)


def test_a_recipe_has_a_path_or_a_bundled_name(tmp_path):
    path = write(tmp_path, MINIMAL)
    assert find_recipe(path) == path
    assert find_recipe("efficientnet-lite0") == bundled_folder() / "efficientnet-lite0.yaml"
    with pytest.raises(InputError) as caught:
        find_recipe("eficientnet-lite0")
    assert "efficientnet-lite0?" in caught.value.hint


@pytest.mark.parametrize("size", [100, 1 << 17])
def test_a_model_is_no_recipe(tmp_path, size):
    model = tmp_path / "net.onnx"
    model.write_bytes(b"x" * size)
    variant = tmp_path / "int8"
    variant.mkdir()
    (variant / "variant.json").write_text("{}")
    for name in (model, variant, tmp_path / "net.keras", "sample:efficientnet-lite0", "net:make"):
        with pytest.raises(InputError, match="model") as caught:
            find_recipe(name)
        assert f"ovtool run {name}" in caught.value.hint


# Tokens of YAML and recipes, so that random texts get past the first token.
WORDS = "recipe: name: model: variants: steps: sweep: data: source: int8 weights fp16 CPU"
SIGNS = "? : - [ ] { } , & * ! | > ' \" % @ # << ~ \\ é --- true 1 -1 2.5 .nan 0x1 1e999 12:30:45"
TAGS = "&a *a !!set !!omap !!binary !!timestamp 2020-01-01"
SPACES = ["\n", "\n  ", "\n    - ", "  ", "\t", ": "]
PIECES = st.sampled_from([*f"{WORDS} {SIGNS} {TAGS}".split(), *SPACES])
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.dates(),
    st.sampled_from(["int8", "fp16", "weights", "f32", "latency", "CPU"]),
)  # fmt: skip
MODELS = (Recipe, ModelSource, RecipeData, RecipeVariant, SweepSpec)
NAMES = [*(key for model in MODELS for key in model.model_fields), "int8", "weights", "mode"]
KEYS = st.one_of(st.sampled_from(NAMES), st.text(max_size=4), st.integers())
TREES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=12,
)


def only_input_errors(folder: Path, content: bytes) -> None:
    with contextlib.suppress(InputError):
        read_recipe(write(folder, content))


@pytest.mark.slow
@settings(max_examples=300)
@given(st.one_of(st.lists(PIECES, max_size=30).map("".join), st.text(max_size=40)))
def test_any_text_gives_a_recipe_or_an_input_error(tmp_path_factory, text):
    folder = tmp_path_factory.getbasetemp()
    only_input_errors(folder, text.encode("utf-8", "surrogatepass"))


@pytest.mark.slow
@settings(max_examples=150)
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(Recipe.model_fields, TREES)))
def test_any_yaml_gives_a_recipe_or_an_input_error(tmp_path_factory, tree):
    path = tmp_path_factory.getbasetemp() / "r.yaml"
    base = {"recipe": 1, "name": "x", "model": {"source": "m"}, "variants": {"a": {}}}
    YAML(typ="safe").dump(base | tree, path)
    only_input_errors(path.parent, path.read_bytes())


def test_find_rate_has_a_default_percentile(tmp_path):
    text = MINIMAL + "sweep: {find_rate: {max_latency_ms: 20}}"
    assert read_recipe(write(tmp_path, text)).sweep.find_rate.percentile == 99


def test_a_recipe_takes_the_notation_of_the_command_line(tmp_path):
    recipe = read_recipe(
        write(
            tmp_path,
            """\
            recipe: 1
            name: x
            model:
              source: m.onnx
              tolerance: 5%
              dtypes: {ids: INT64}
              preprocessing: {channels: bgr}
            data:
              calibration: {source: noise}
              validation: {source: noise}
              evaluation: {source: noise, metric: Cosine}
            variants:
              fp32: {precisions: [FP32]}
              int8:
                steps:
                  - INT8: {preset: Mixed, max_drop: 1%}
            sweep:
              devices: [cpu, Gpu.0]
              batches: 1..8:x2
            choose:
              min_quality: 95%
              objective: Latency
            """,
        )
    )
    assert recipe.model.tolerance == 0.05
    assert recipe.model.dtypes == {"ids": "i64"}
    assert recipe.model.preprocessing.channels == "BGR"
    assert recipe.data.evaluation.metric == "cosine"
    assert recipe.variants["fp32"].precisions == ("f32",)
    (step,) = recipe.variants["int8"].steps
    assert step.method == "int8"
    assert parse_settings(step.method, step.settings).max_drop == 0.01
    assert recipe.sweep.devices == ("CPU", "GPU.0")
    assert recipe.sweep.batches == (1, 2, 4, 8)
    assert (recipe.choose.min_quality, recipe.choose.objective) == (0.95, "latency")
