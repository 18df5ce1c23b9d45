"""The Markdown and JSON of a comparison."""

import json
from dataclasses import replace

from ovtool.comparison.compare import compare_sweeps
from ovtool.comparison.markdown import to_markdown
from ovtool.comparison.text import headline
from ovtool.core import units
from tests.helpers.compared_sweeps import outcomes, run


def test_markdown_and_json_are_complete_and_escaped(tmp_path, base):
    hostile = "<b>|`evil`"

    def speed(trial):
        return 0.5 if trial.batch == 4 else 1.0

    b = run(tmp_path / "b", speed, env="b", finished="2026-02-01T00:00:00Z")
    b = replace(b, plan=b.plan.model_copy(update={"name": hostile}))
    comparison = compare_sweeps(base, b)
    written = to_markdown(comparison)
    assert "<b>" not in written
    assert "(cpu" in written.split("### Speed")[0]
    shown, folded = written.split("<details>")
    assert "worse" in shown
    assert "| worse" not in folded.split("</details>")[0]
    document = json.loads(json.dumps(units.finite(comparison.to_json()), allow_nan=False))
    assert document["same_machine"] is False
    assert {c["outcome"] for c in document["changes"]} == set(outcomes(comparison).values())
    assert headline(comparison).startswith("B (<b>")
