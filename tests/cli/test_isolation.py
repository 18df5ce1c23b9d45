"""The isolation of verbs: where they may write, when they have no sandbox, and hostile models."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ovtool.cli.isolation import CONFINED, isolate, runs_own_code, writable_paths
from ovtool.cli.main import VERBS
from ovtool.core import places, steps
from ovtool.system import memory_limit, sandbox
from tests.helpers import graphs
from tests.system import hostile

linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux only")


def run(*arguments, cwd, **environment):
    return subprocess.run(
        [sys.executable, "-m", "ovtool", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **environment},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


@pytest.mark.parametrize("requested", [True, False])
def test_only_the_log_of_a_report_has_a_network(monkeypatch, tmp_path, requested):
    store = tmp_path / "store"
    store.mkdir()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", str(store))
    confined = []

    def confine(paths, *, network=False):
        confined.append((set(paths), network))

    monkeypatch.setattr(sandbox, "reason_unconfined", lambda: None)
    monkeypatch.setattr(sandbox, "confine", confine)
    monkeypatch.setattr(memory_limit, "limit_memory", lambda: None)
    isolate("report", {"sweeps": [str(tmp_path / "s")], "mlflow": requested})
    ((paths, network),) = confined
    assert network == requested
    assert (store in paths) == requested


def test_the_confined_verbs_exist():
    assert {verb for group in VERBS.values() for verb in group} > CONFINED


@pytest.mark.parametrize(
    "options",
    [
        {"source": "model.pt2", "trust": True},
        {"source": "my.package:make_model"},
        {"variants": ["plain.xml", "module:function"]},
        {"model": "plain", "metric": "module:function"},
    ],
)
def test_code_of_the_user_runs_without_a_sandbox(options):
    assert runs_own_code(options)


def test_a_variant_of_a_function_runs_without_a_sandbox(tmp_path):
    variant = graphs.save(tmp_path / "v", graphs.convolutional())
    assert not runs_own_code({"model": str(variant.folder)})
    record = variant.folder / "variant.json"
    text = record.read_text()
    kind = variant.record.source.kind
    record.write_text(text.replace(f'"kind": "{kind}"', '"kind": "torch"', 1))
    assert runs_own_code({"model": str(variant.folder)})


@pytest.mark.parametrize(
    "options",
    [
        {"source": "model.onnx", "trust": False, "out": "here"},
        {"source": "C:\\models\\m.onnx"},
        {"variants": ["model.xml"], "devices": "AUTO:CPU"},
        {"model": "variant", "device": "HETERO:GPU"},
        {"source": "sample:digits-resnet", "data": "sample:digits"},
        {"batch": [1, 2], "force": True, "spec": None},
    ],
)
def test_files_and_samples_run_in_the_sandbox(options):
    assert not runs_own_code(options)


def test_the_writable_paths_hold_the_output_and_the_caches(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    home = tmp_path / "home"
    (home / "outputs").mkdir(parents=True)
    (home / "sweep").mkdir()
    (home / "sweep" / "plan.json").write_text("{}")
    paths = writable_paths(
        "convert",
        {
            "out": str(home / "outputs" / "new" / "deep"),
            "sweeps": [str(home / "sweep")],
            "model": str(home / "model.xml"),
            "set": ("names=" + "long" * 100,),  # no system supports it as the name of a file
        },
    )
    assert {home / "outputs", home / "sweep", tmp_path / "cache"} <= set(paths)
    assert home not in paths
    assert (tmp_path / "cache").is_dir()


@pytest.mark.parametrize(("verb", "folder"), places.RESULTS.items())
def test_without_an_output_the_folder_of_results_is_writable(tmp_path, monkeypatch, verb, folder):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path)
    paths = writable_paths(verb, {"out": None})
    assert tmp_path / folder in paths
    assert tmp_path not in paths


def test_the_folder_of_a_recipe_is_not_writable(tmp_path, monkeypatch):
    """A recipe of a stranger may look like one that ovtool wrote beside its results."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    sent, own = tmp_path / "sent", tmp_path / "own"
    (sent / "results" / "sweep").mkdir(parents=True)
    (sent / "results" / "variants").mkdir()
    (sent / "results" / "sweep" / "plan.json").write_text("{}")
    (sent / "results" / "recipe.yaml").write_text("recipe: 1")
    (own / "reports").mkdir(parents=True)
    monkeypatch.chdir(own)
    paths = writable_paths("run", {"recipe": str(sent / "results" / "recipe.yaml"), "out": None})
    assert own / "reports" in paths
    assert not any(path.is_relative_to(sent) for path in paths)


PROGRAM = """
import sys
from ovtool.system.supervisor import supervise
supervise()
from pathlib import Path
from ovtool.cli.isolation import isolate
home = Path(sys.argv[1])
isolate("convert", {"source": "model.onnx", "out": str(home / "out" / "variant")})
(home / "out" / "variant").mkdir()
print(len(list(Path("/proc/self/task").iterdir())), flush=True)
(home / "startup").write_text("run me")
"""


@pytest.mark.slow
@linux
@pytest.mark.skipif(sandbox.reason_unconfined() is not None, reason="no sandbox")
def test_a_verb_cannot_write_beside_its_output(tmp_path):
    (tmp_path / "tmp").mkdir()
    (tmp_path / "out").mkdir()
    folders = {"TMPDIR": str(tmp_path / "tmp"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, **folders},
        check=False,
    )
    assert ran.stdout == "1\n", "threads that run before are not confined"
    assert "PermissionError" in ran.stderr
    assert not (tmp_path / "startup").exists()
    assert (tmp_path / "out" / "variant").is_dir()


@pytest.mark.slow
@linux
@pytest.mark.parametrize(
    ("name", "value"), [(memory_limit.VARIABLE, "much"), (steps.STEP_TIMEOUT, "-1")]
)
def test_a_limit_that_is_not_valid_is_an_error(tmp_path, name, value):
    ran = run("analyze", "missing", cwd=tmp_path, **{name: value})
    assert ran.returncode == 2
    assert name in ran.stderr


@linux
@pytest.mark.slow
@pytest.mark.parametrize(
    ("verb", "write"),
    [
        ("convert", hostile.write_out_of_range),
        ("convert", hostile.write_negative_index),
        ("convert", hostile.write_huge_padding),
        ("convert", hostile.write_huge_range),
        ("compress", hostile.write_out_of_range),
        ("profile", hostile.write_huge_range),
    ],
)
def test_a_hostile_model_is_one_error(tmp_path, write, verb):
    """Another version of OpenVINO may accept the model; nothing else is a result."""
    xml = write(tmp_path / "hostile")
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    out = tmp_path / "out"
    arguments = {
        "convert": ["--out", out],
        "compress": ["weights", "--out", out],
        "profile": [],
    }[verb]
    limits = {steps.STEP_TIMEOUT: "8", memory_limit.VARIABLE: "6 GiB", "TMPDIR": str(scratch)}
    ran = run(verb, xml, *arguments, cwd=tmp_path, **limits)
    assert ran.returncode in (0, 2), ran
    if ran.returncode == 2:
        lines = ran.stderr.splitlines()
        assert sum(line.startswith("error: ") for line in lines) == 1
        assert "Traceback" not in ran.stderr
        assert "internal error" not in ran.stderr
        assert {path.name for path in tmp_path.iterdir()} == {"hostile", "tmp"}
    assert not list(scratch.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="no user database")
def test_a_process_without_home_gets_a_private_one(monkeypatch, tmp_path):
    import pwd

    def unknown(_uid):
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("HOME", "to be restored")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(memory_limit, "limit_memory", lambda: None)
    isolate("devices", {})
    assert Path.home().parent == tmp_path
    assert Path.home().stat().st_mode & 0o077 == 0
