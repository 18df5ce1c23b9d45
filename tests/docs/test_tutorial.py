"""The cells of the tutorial notebook run in order."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "docs" / "tutorial.ipynb"
ENDING = """
import json, sys
json.dump({
    "variants": sorted(set(swept.frame["variant"])),
    "rows": len(swept.frame),
    "chosen": choice.winner["variant"],
    "page": str(report.page),
}, sys.stderr)
"""


def read_cells():
    """Return the code of the cells."""
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    return ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]


def test_the_notebook_has_no_errors_and_no_paths_of_a_machine():
    text = NOTEBOOK.read_text(encoding="utf-8")
    outputs = [o for c in json.loads(text)["cells"] for o in c.get("outputs", ())]
    assert outputs, "the notebook is stored with its outputs"
    assert all(output["output_type"] != "error" for output in outputs)
    assert "/tmp/" not in text
    assert str(Path.home()) not in text


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_cells_run_in_order(tmp_path):
    pytest.importorskip("efficientnet_lite_pytorch", reason="ovtool[demo] is not installed")
    program = "\n".join([*read_cells(), ENDING])
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stderr[done.stderr.rindex("{") :])
    assert result["variants"] == ["fp32", "int8"]
    assert result["rows"] == 4
    assert result["chosen"] in result["variants"]
    assert (tmp_path / result["page"]).stat().st_size > 0
