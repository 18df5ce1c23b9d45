"""ovtool starts without its heavy libraries: they are imported where they are used."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = {
    "PIL", "altair", "jinja2", "mlflow", "nncf", "onnx", "onnxruntime", "openvino",
    "openvino_genai", "openvino_tokenizers", "pandas", "pyarrow", "rapidfuzz", "safetensors",
    "scipy", "skimage", "tensorflow", "torch", "torch_pruning", "transformers", "vl_convert",
}  # fmt: skip


def imported_by(program):
    """Return the top-level packages that a program has in memory when it ends."""
    ending = "import json, sys; print(json.dumps(sorted({n.partition('.')[0] for n in sys.modules"
    ending += " if sys.modules[n] is not None})), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\n{ending}"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return set(json.loads(done.stderr.splitlines()[-1]))


def run_cli(*arguments):
    """A program that runs the command line as the console script does."""
    return (
        "import sys\n"
        f"sys.argv = ['ovtool', *{arguments!r}]\n"
        "from ovtool.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "program",
    [
        "import ovtool",
        "import ovtool.api",
        "import ovtool.cli.main",
        run_cli("--help"),
        run_cli("sweep", "--help"),
        run_cli("--version"),
    ],
    ids=["ovtool", "api", "cli", "help", "sweep-help", "version"],
)
def test_starting_imports_nothing_heavy(program):
    found = imported_by(program)
    assert "ovtool" in found
    assert found & HEAVY == set()


@pytest.mark.slow
def test_the_check_sees_an_import():
    assert "pyarrow" in imported_by("import pyarrow")


def test_the_lint_rule_covers_every_heavy_library():
    rules = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]
    banned = rules["lint"]["flake8-tidy-imports"]["banned-module-level-imports"]
    assert set(banned) >= HEAVY
    assert "TID" in rules["lint"]["select"]
