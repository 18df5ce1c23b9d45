"""Recipes: what is understood, and that every mistake is said at once, with its line."""

import contextlib
import textwrap
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from ovtool.core.errors import InputError
from ovtool.recipes import schema as recipe
from ovtool.recipes.schema import PlannedStep, RecipeError

HEAD = "recipe: 1\nname: x\nmodel: {source: m.onnx}\n"
LEAST = HEAD + "variants: {plain: {}}\n"


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "r.yaml"
    path.write_bytes(text if isinstance(text, bytes) else textwrap.dedent(text).encode())
    return path


@pytest.fixture
def mistakes(tmp_path):
    """Return (line, message) of every mistake in a text."""

    def found(text):
        path = write(tmp_path, text)
        with pytest.raises(RecipeError) as caught:
            recipe.read(path)
        for mistake in caught.value.mistakes:
            assert f"{path}:{mistake.line}: {mistake.message}" in str(caught.value).split("\n  ")
        return [(m.line, m.message) for m in caught.value.mistakes]

    return found


def test_a_whole_recipe_is_understood(tmp_path):
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
    found = recipe.read(write(tmp_path, text))
    assert found.model.shapes == {"x": (-1, 3, 8, 8), "ids": (-1, 16)}
    assert found.data.calibration.limit == 10
    assert found.variants["fp32"].steps == ()
    assert found.variants["both"].steps == (
        PlannedStep(method="fp16"),
        PlannedStep(method="weights", settings={"mode": "int4_sym", "group_size": 64}),
    )
    assert found.sweep.batches == (1, 2)
    assert found.sweep.rounds == 8
    assert found.sweep.rates == (50, "busy")
    assert found.sweep.pinning is False
    assert found.sweep.shapes == {
        "ids": ((-1, 128), (-1, 256)),
        "mask": ((-1, 128), (-1, 256)),
        "n": ((1, 3),),
        "x": ((-1, 8),),
    }
    assert found.sweep.data_shapes == {"ids": ((2, 64),)}
    assert found.choose.max_latency_ms == 20
    assert found.choose.rate == 5
    assert found.choose.objective == "latency=2,size=1"


def test_every_mistake_is_said_at_once_with_its_line(mistakes):
    found = mistakes("""\
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
    assert [line for line, _ in found] == [5, 8, 12, 15, 16, 18]
    said = [message for _, message in found]
    assert said[0] == "unknown key 'tolerence' (did you mean tolerance?)"
    assert "'f31'" in said[1]
    assert "'bf16'" in said[1]
    assert said[2] == "unknown method 'int9' (did you mean int8?)"
    assert "unknown setting 'mod', did you mean mode?" in said[3]
    assert "int8" in said[4]
    assert "data.calibration" in said[4]
    assert said[5].startswith("sweep.batches.1: ")
    assert said[5].endswith("got 'two'")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("modle: {}", "did you mean model?"),
        ("sweep: {batchs: [1]}", "did you mean batches?"),
        ("choose: {objectiv: size}", "did you mean objective?"),
        ("data: {calibraton: {source: x}}", "did you mean calibration?"),
        ("data: {evaluation: {source: x, metrics: top1}}", "did you mean metric?"),
        ("data: {calibration: {source: x, metric: top1}}", "known: source, labels, limit"),
    ],
)
def test_an_unknown_key_suggests_the_near_one(mistakes, line, said):
    ((number, message),) = mistakes(LEAST + line)
    assert number == 5
    assert said in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD + "variants: {a: {precision: f32}}", "did you mean precisions?"),
        ("recipe: 1\nname: x\nmodel:\n  {source: m, shape: 1}\nvariants: {a: {}}", "mean shapes?"),
        (LEAST.replace("recipe: 1", "recipe: 2"), "recipe: Input should be 1, got 2"),
        (LEAST.replace("name: x", "name: ../x"), "name: String should match"),
        (LEAST.replace("{source: m.onnx}", "m.onnx"), "model: must be a mapping, got 'm.onnx'"),
        (HEAD + "variants: {}", "variants: must not be empty"),
        (HEAD + "variants: {a: }", "variants.a: must be a mapping, got None"),
        (HEAD + "variants: {a: {steps: int8}}", "variants.a.steps: must be a list"),
        (HEAD + "variants: {a: {steps: [{a: 1, b: 2}]}}", "a step is a method"),
        (HEAD + "variants: {a: {precisions: []}}", "precisions: must not be empty"),
        (HEAD + "variants: {a: {}, b: {}}", "b takes the same steps as a"),
        (
            HEAD + "variants: {a: {steps: [fp16]}, b: {steps: [fp16: {}]}}",
            "b takes the same steps as a",
        ),
        (HEAD + "variants: {a: {steps: [int8: {preset: fast}]}}", "method int8: preset: "),
        (LEAST + "sweep: {devices: CPU}", "sweep.devices: must be a list, got 'CPU'"),
        (LEAST + "sweep: {batches: []}", "sweep.batches: must not be empty"),
        (LEAST + "sweep: {batches: [0]}", "sweep.batches.0: "),
        (LEAST + "sweep: {batches: [true]}", "sweep.batches.0: "),
        (LEAST + "sweep: {batches: [2.5]}", "sweep.batches.0: "),
        (LEAST + "sweep: {hints: [fast]}", "sweep.hints.0: "),
        (LEAST + "sweep: {max_seconds: .inf}", "sweep.max_seconds: "),
        (LEAST + "sweep: {round_s: .nan}", "sweep.round_s: "),
        (LEAST + "sweep: {shapes: {x: [0, 3]}}", "sweep.shapes.x: not a shape"),
        (LEAST + "sweep: {shapes: {x: wide}}", "sweep.shapes.x: not a shape"),
        (LEAST + "sweep: {shapes: {x: []}}", "sweep.shapes.x: not a shape"),
        (LEAST + "sweep: {shapes: {x: [1x8, wide]}}", "sweep.shapes.x: not a shape: 'wide'"),
        (LEAST + "sweep: {shapes: {x: [?x8, ?x16]}}", "write a shape with ? in quotes"),
        (LEAST + "sweep: {data_shapes: {x: 3.5}}", "sweep.data_shapes.x"),
        (
            LEAST + "sweep: {shapes: {x: [1x1, 1x2], y: [1x1, 1x2, 1x3]}}",
            "sweep.shapes: shapes: inputs have different numbers of shapes: x has 2, y has 3",
        ),
        (LEAST + "choose: {percentile: 95}", "choose.percentile: "),
        (LEAST + "choose: {min_quality: 95}", "choose.min_quality: "),
        (LEAST + "choose: {max_latency_ms: -1}", "choose.max_latency_ms: "),
        (LEAST + "choose: {rate: 0}", "choose.rate: "),
        (LEAST + "choose: {objective: latencies}", "did you mean latency?"),
        (LEAST + "choose: {objective: {size: 0}}", "no weight above 0"),
        (LEAST + "choose: {max_cost: 1}", "choose: "),
        (LEAST + "choose: {objective: cost}", "needs prices"),
    ],
)
def test_one_mistake_is_one_line(mistakes, text, said):
    if "int8" in text:
        text += "\ndata: {calibration: {source: noise}}"
    ((_, message),) = mistakes(text)
    assert said in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("recipe: 1\nname: [x\n", 3, "not YAML"),
        ("recipe: 1\nname: x\nname: y\n", 3, 'duplicate key "name"'),
        ("- a\n- b\n", 1, "a recipe is a mapping"),
        ("hello", 1, "a recipe is a mapping"),
        ("\n\n", 1, "a recipe is a mapping"),
        (LEAST + "---\n" + LEAST, 5, "another document"),
        ("recipe: " + "[" * 5000, 1, "levels deep"),
        ("recipe: 1\nname: \x01", 1, "not YAML"),
        ("recipe: " + "9" * 5000, 1, "not YAML"),
        ("? {a: {b: 1}}\n: 3\n", 1, "not YAML"),
        ("recipe: 1\nname: &n x\nabout: *n\n", 3, "*n: write it out"),
        ("recipe: 1\nmodel: &m {source: *m}\n", 2, "*m: write it out"),
        ("recipe: 1\nname: !!python/object/apply:os.getcwd []\n", 2, "without a tag"),
    ],
)
def test_what_is_no_recipe_is_said_in_a_line(mistakes, text, line, said):
    ((number, message),) = mistakes(text)
    assert number == line
    assert said in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "recipe is empty"),
        (bytes(range(256)), "not a text file"),
        (LEAST.encode("utf-16"), "not a text file"),
        (b"a: " + b"x" * recipe.MAX_BYTES, "larger than 64 KiB"),
    ],
)
def test_a_file_that_is_no_text_is_refused(tmp_path, content, said):
    with pytest.raises(InputError, match=said):
        recipe.read(write(tmp_path, content))


def test_references_that_multiply_do_not_hold_anyone_up(tmp_path):
    lines = ["a: &a [x,x,x,x,x,x,x,x,x]"]
    for before, after in zip("abcdefghij", "bcdefghijk", strict=True):
        lines.append(f"{after}: &{after} [{','.join(['*' + before] * 9)}]")
    started = time.monotonic()
    with pytest.raises(RecipeError, match="write it out"):
        recipe.read(write(tmp_path, "\n".join(lines)))
    assert time.monotonic() - started < 30, "nine to the eleventh are not counted out"


def test_a_folder_or_nothing_is_no_recipe(tmp_path):
    with pytest.raises(InputError, match="recipe not found"):
        recipe.read(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="not a file"):
        recipe.read(tmp_path)


def test_a_recipe_is_found_by_path_or_by_name(tmp_path):
    path = write(tmp_path, LEAST)
    assert recipe.find(path) == path
    assert recipe.find("efficientnet-lite0") == recipe.folder() / "efficientnet-lite0.yaml"
    with pytest.raises(InputError) as caught:
        recipe.find("eficientnet-lite0")
    assert caught.value.hint == "did you mean efficientnet-lite0?"


@pytest.mark.parametrize("path", sorted(recipe.folder().glob("*.yaml")), ids=lambda p: p.stem)
def test_the_recipes_that_come_along_have_no_mistakes(path):
    assert recipe.read(path).name == path.stem
    first = path.read_text().splitlines()[0]
    assert first == f"# ovtool run recipes/{path.name}", "it opens with the command that runs it"


# What YAML and recipes are made of, so that chance goes deeper than the first letter.
WORDS = "recipe: name: model: variants: steps: sweep: data: source: int8 weights fp16 CPU"
SIGNS = "? : - [ ] { } , & * ! | > ' \" % @ # << ~ \\ é --- true 1 -1 2.5 .nan 0x1 1e999 12:30:45"
TAGS = "&a *a !!set !!omap !!binary !!timestamp 2020-01-01"
SPACES = ["\n", "\n  ", "\n    - ", "  ", "\t", ": "]
PIECES = st.sampled_from([*f"{WORDS} {SIGNS} {TAGS}".split(), *SPACES])
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.dates(),
    st.sampled_from(["int8", "fp16", "weights", "f32", "latency", "CPU"]),
)  # fmt: skip
KINDS = (recipe.Recipe, recipe.Model, recipe.DataSets, recipe.PlannedVariant, recipe.Sweep)
NAMES = [*(key for kind in KINDS for key in kind.model_fields), "int8", "weights", "mode"]
KEYS = st.one_of(st.sampled_from(NAMES), st.text(max_size=4), st.integers())
TREES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=12,
)


def only_input_errors(folder: Path, content: bytes) -> None:
    with contextlib.suppress(InputError):
        recipe.read(write(folder, content))


@settings(max_examples=300)
@given(st.one_of(st.lists(PIECES, max_size=30).map("".join), st.text(max_size=40)))
def test_any_text_gives_a_recipe_or_an_input_error(tmp_path_factory, text):
    folder = tmp_path_factory.getbasetemp()
    only_input_errors(folder, text.encode("utf-8", "surrogatepass"))


@settings(max_examples=150)
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(recipe.Recipe.model_fields, TREES)))
def test_any_yaml_gives_a_recipe_or_an_input_error(tmp_path_factory, tree):
    path = tmp_path_factory.getbasetemp() / "r.yaml"
    base = {"recipe": 1, "name": "x", "model": {"source": "m"}, "variants": {"a": {}}}
    YAML(typ="safe").dump(base | tree, path)
    only_input_errors(path.parent, path.read_bytes())


def test_a_rate_may_be_looked_for(tmp_path):
    text = BASE_SWEEP.format("find_rate: {max_latency_ms: 20}")
    assert recipe.read(write(tmp_path, text)).sweep.find_rate.percentile == 99


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("rates: [soon]", "sweep.rates"),
        ("rates: []", "must not be empty"),
        ("find_rate: {max_latency: 20}", "did you mean max_latency_ms?"),
        ("find_rate: {max_latency_ms: 20, percentile: 95}", "sweep.find_rate.percentile"),
    ],
)
def test_wrong_arrivals_are_named(mistakes, line, said):
    assert any(said in message for _, message in mistakes(BASE_SWEEP.format(line)))


BASE_SWEEP = """\
recipe: 1
name: x
model: {{source: m.onnx}}
variants: {{fp32: {{}}}}
sweep:
  {}
"""
