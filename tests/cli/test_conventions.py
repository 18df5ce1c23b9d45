"""Conventions that hold in every verb: names of options, panels, environment, completion, width."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ovtool.cli import completion
from ovtool.cli.command import ENVIRONMENT, PANELS, SHORT, environment_variable
from ovtool.cli.main import VERBS
from ovtool.core.errors import OvtoolError
from ovtool.core.notes import NOTES
from tests.cli.test_command import COMMANDS, resolve

OPTIONS = [
    (words, parameter)
    for words in COMMANDS
    for parameter in resolve(*words if isinstance(words, tuple) else (words,)).params
    if parameter.param_type_name == "option"
]
IDS = [f"{'-'.join(w if isinstance(w, tuple) else (w,))}{p.opts[0]}" for w, p in OPTIONS]
LONGEST_HELP = 240
SHORTS = SHORT | {"--model": "-m", "--quiet": "-q", "--verbose": "-v", "--version": "-V"}


def test_every_verb_is_checked():
    first = {words[0] if isinstance(words, tuple) else words for words in COMMANDS}
    assert first == {verb for verbs in VERBS.values() for verb in verbs}


@pytest.mark.parametrize(("words", "option"), OPTIONS, ids=IDS)
def test_an_option_follows_the_conventions(words, option):
    longs = [name for name in option.opts if name.startswith("--")]
    shorts = [name for name in option.opts if not name.startswith("--")]
    assert all(re.fullmatch(r"--[a-z0-9]+(-[a-z0-9]+)*", name) for name in longs)
    assert shorts == [SHORTS[name] for name in longs if name in SHORTS]
    variables = [environment_variable(name) for name in longs if name in ENVIRONMENT]
    assert option.envvar == (variables[0] if variables else None)
    assert option.rich_help_panel in PANELS
    assert option.help.endswith(".")
    assert len(option.help) <= LONGEST_HELP
    assert option.is_flag == (option.metavar is None)


def test_a_name_means_one_kind_of_value_in_every_verb():
    kinds = {}
    for _, option in OPTIONS:
        kinds.setdefault(option.opts[0], set()).add(option.is_flag)
    assert [name for name, flags in kinds.items() if len(flags) > 1] == []


@pytest.mark.parametrize("words", COMMANDS, ids=lambda w: "-".join((w,) if type(w) is str else w))
def test_quiet_and_verbose_are_options_of_every_verb(words):
    command = resolve(*words if isinstance(words, tuple) else (words,))
    names = {name for parameter in command.params for name in parameter.opts}
    assert {"-q", "--quiet", "-v", "--verbose"} <= names


def test_every_variable_belongs_to_an_option():
    names = {name for _, option in OPTIONS for name in option.opts}
    assert set(ENVIRONMENT) <= names


@pytest.mark.parametrize("arguments", [(), ("recipes",)])
def test_no_arguments_show_the_help(ovtool, arguments):
    ran = ovtool(*arguments)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.split() == ovtool(*arguments, "--help").out.split()


COLUMNS = 100
PLACEHOLDER = "x" * 8
"""Stands for a value that is not known before the program runs."""
ROOT = Path(__file__).parents[2] / "ovtool"


def literal(node):
    """Return the text of a string or f-string; None if it is neither."""
    if isinstance(node, ast.JoinedStr):
        return "".join(getattr(part, "value", None) if isinstance(part, ast.Constant)
                       else PLACEHOLDER for part in node.values)  # fmt: skip
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def messages():
    """Yield (place, prefix, text) of each line that the program prints on stderr."""
    printed = {"print_status": ("",), "print_question": ("",), "note": ("",)}
    errors = dict.fromkeys(own_errors(), ("error: ", "hint: "))
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                prefixes = (printed | errors).get(name, ())
                for prefix, argument in zip(prefixes, node.args, strict=False):
                    if (text := literal(argument)) is not None:
                        yield f"{path.name}:{node.lineno}", prefix, text
    for name, (message, remedy) in NOTES.items():
        yield name, "warning: ", message
        yield name, "", remedy


def own_errors():
    def names(kind):
        return {kind.__name__}.union(*map(names, kind.__subclasses__()))

    return names(OvtoolError)


@pytest.mark.slow
def test_messages_fit_the_width_of_a_terminal():
    found = list(messages())
    assert len(found) > 500
    long = [(place, text) for place, prefix, text in found
            if max(map(len, (prefix + text).splitlines()), default=0) > COLUMNS]  # fmt: skip
    assert long == []


def test_version_has_a_short_name(ovtool):
    assert ovtool("-V").out == ovtool("--version").out != ""


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (["-m", "MODEL", "-d", "cpu", "-b", "2"], None),
        (["--model=MODEL", "-dCPU", "-b2"], None),
        (["MODEL", "--device", "CPU", "--batch", "2"], None),
    ],
)
def test_options_of_benchmark_app(ovtool, small, monkeypatch, place, expected):
    from ovtool import api

    calls = []
    monkeypatch.setattr(api, "profile", lambda model, **kw: calls.append((model, kw)) or 1 / 0)
    words = [str(word).replace("MODEL", str(small.folder)) for word in place]
    ovtool("profile", *words)
    ((model, options),) = calls
    assert model == str(small.folder)
    assert (options["device"].upper(), options["batch"]) == ("CPU", 2)


def test_models_of_a_sweep_may_be_options(monkeypatch, ovtool):
    from ovtool import api

    calls = []
    monkeypatch.setattr(api, "sweep", lambda variants, **_: calls.append(variants) or 1 / 0)
    ovtool("sweep", "-m", "a", "-o", "x", "-m", "b", "c")
    assert calls == [["a", "b", "c"]]


def test_two_models_where_one_is_taken_are_wrong_use(refused):
    assert "b" in refused("profile", "-m", "a", "b").error


def test_a_variable_sets_a_default_and_is_named(ovtool, monkeypatch):
    from ovtool import api

    calls = []
    monkeypatch.setattr(api, "sweep", lambda _, **kw: calls.append(kw["spec"]) or 1 / 0)
    monkeypatch.setenv("OVTOOL_DEVICE", "gpu,cpu")
    monkeypatch.setenv("OVTOOL_MAX_SECONDS", "3")
    monkeypatch.setenv("OVTOOL_STRICT", "")
    ran = ovtool("sweep", "a", "-o", "x", "--max-seconds", "4")
    (spec,) = calls
    assert (spec.devices, spec.max_seconds) == (("GPU", "CPU"), 4.0)
    assert "OVTOOL_DEVICE" in ran.err
    assert "OVTOOL_MAX_SECONDS" not in ran.err


def test_a_wrong_variable_is_wrong_use(refused, monkeypatch):
    monkeypatch.setenv("OVTOOL_ROUNDS", "many")
    refusal = refused("sweep", "a", "-o", "x")
    assert "OVTOOL_ROUNDS" in refusal.text


def test_a_variable_does_not_change_a_recipe(ovtool, monkeypatch):
    from ovtool import api

    calls = []
    monkeypatch.setattr(api, "run", lambda recipe, **_: calls.append(recipe) or 1 / 0)
    monkeypatch.setenv("OVTOOL_DEVICE", "GPU")
    ovtool("run", "efficientnet-lite0")
    assert calls == ["efficientnet-lite0"]


@pytest.mark.slow
def test_quiet_keeps_the_answer_and_warnings(ovtool, small, tmp_path):
    arguments = ("check", small.folder, "--json")
    loud, quiet = ovtool(*arguments), ovtool(*arguments, "-q")
    assert [*quiet.document] == [*loud.document]
    progress = [line for line in loud.err.splitlines() if not line.startswith("warning: ")]
    assert progress != []
    assert [line for line in loud.err.splitlines() if line not in progress] == (
        quiet.err.splitlines()
    )
    assert ovtool("-q", *arguments).err == quiet.err
    assert ovtool(*arguments).err == loud.err, "a flag holds for one command"
    assert ovtool(*arguments[:1], tmp_path / "none", "-q").errors != []


def test_verbose_prints_the_traceback_of_an_error(ovtool, tmp_path):
    missing = tmp_path / "none.onnx"
    assert "Traceback" not in ovtool("analyze", missing).err
    assert "Traceback" in ovtool("analyze", missing, "--verbose").err
    assert "Traceback" not in ovtool("analyze", missing).err


def complete(ovtool, monkeypatch, line):
    monkeypatch.setenv("_OVTOOL_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
    return ovtool().out.split()


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a variant, a sweep, a model file, a recipe, and others."""
    for path in ("variants/int8/variant.json", "variants/fp32/variant.json", "variants/x/other",
                 "sweeps/pc/plan.json", "model.onnx", "own.yaml", ".h/a/variant.json"):  # fmt: skip
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("ovtool profile ", {"variants/int8", "variants/fp32", "model.onnx"}),
        ("ovtool profile variants/i", {"variants/int8"}),
        ("ovtool profile -m mod", {"model.onnx"}),
        ("ovtool why variants/fp32 variants/i", {"variants/int8"}),
        ("ovtool choose s", {"sweeps/pc"}),
        ("ovtool compare sweeps/", {"sweeps/pc"}),
        ("ovtool compress m prune", {"prune-channels", "prune-weights"}),
        ("ovtool methods int", {"int8"}),
        ("ovtool profile m -d N", {"NPU"}),
        ("ovtool sweep m --device CPU,N", {"CPU,NPU"}),
        ("ovtool sweep m --precision f32,b", {"f32,bf16"}),
        ("ovtool sweep m --hint l", {"latency"}),
        ("ovtool run ow", {"own.yaml"}),
        ("ovtool recipes show eff", {"efficientnet-lite0"}),
        ("ovtool choose sweeps/pc --objective lat", {"latency"}),
        ("ovtool evaluate m --metric co", {"cosine"}),
    ],
)
def test_values_are_completed(ovtool, monkeypatch, place, line, values):
    completed = complete(ovtool, monkeypatch, line)
    shown = {value for value in completed if not value.startswith("sample:")}
    assert shown == values


def test_completion_finds_absolute_paths(place):
    assert completion.complete_models(f"{place}/variants/f") == [f"{place}/variants/fp32"]
    assert completion.complete_sweeps(f"{place}/none/") == []


@pytest.mark.slow
def test_completion_imports_nothing_heavy(place):
    program = (
        "import sys\nfrom ovtool.cli import completion\n"
        "for each in {*completion._BY_PLACEHOLDER.values()}: each('')\n"
        "print([n for n in ('openvino', 'nncf', 'torch', 'pandas') if n in sys.modules])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=place
    )
    assert ran.stdout.strip() == "[]"
