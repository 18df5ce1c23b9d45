"""How the answer of each verb is printed."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ovtool.cli import console as terminal
from ovtool.cli import show_choice
from ovtool.core import units

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovtool.compression.registry import MethodInfo
    from ovtool.core.variant import Variant
    from ovtool.recipes.run import Run
    from ovtool.report.summary import Summary
    from ovtool.report.write import ReportFiles
    from ovtool.sweep.sweep import SweepDone


def methods(found: Sequence[MethodInfo], *, json: bool) -> None:
    """Print the methods of compression."""
    if json:
        terminal.answer_json([method.to_json() for method in found])
        return
    rows = [(m.name, m.summary, _needs(m), m.changes) for m in found]
    terminal.table(("method", "what it does", "needs", "changes"), rows)


def method(found: MethodInfo, *, json: bool) -> None:
    """Print a method with its settings, the defaults as ``--set`` takes them."""
    if json:
        terminal.answer_json(found.to_json())
        return
    print(f"{found.name}: {found.summary}")
    print(f"changes: {found.changes}")
    if needs := _needs(found):
        print(f"needs: {needs}")
    rows = [(s.name, f"{s.description} ({s.kind})", _default(s.default)) for s in found.settings]
    if rows:
        terminal.table(("setting", "meaning", "default"), rows)


def _needs(found: MethodInfo) -> str:
    """Return what a method needs whatever its settings, and what is installed for it."""
    return ", ".join([*sorted(found.needs), *([f"ovtool[{found.extra}]"] if found.extra else [])])


def _default(value: object) -> str:
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return "" if value == () else str(value)


def variant(made: Variant, *, json: bool) -> None:
    """Print a variant."""
    record = made.record
    if json:
        document = record.model_dump(mode="json")
        terminal.answer_json(document | {"id": made.id, "folder": str(made.folder)})
        return
    print(f"{made.folder}: {made.name}, {units.text(made.model_mib)} MiB, batch {record.batch}")
    if record.batch_note:
        print(f"  {record.batch_note}")
    for kind, ports in (("input", record.inputs), ("output", record.outputs)):
        for port in ports:
            shape = "x".join("?" if d == -1 else str(d) for d in port.shape)
            print(f"  {kind} {port.name}: {port.dtype} {shape} {port.layout or ''}".rstrip())
    for step in record.steps:
        print(
            f"  step {step.method}: {step.seconds:.1f} s{', on ' + step.data if step.data else ''}"
        )


def sweep_done(done: SweepDone, summary: Summary, *, json: bool) -> None:
    """Print what a sweep came to."""
    if json:
        terminal.answer_json(asdict(done) | {"folder": str(done.folder)})
        return
    _summary(summary)
    print(_counts(done))
    print(f"next: ovtool report {done.folder}, ovtool choose {done.folder}", file=sys.stderr)


def report(written: ReportFiles, *, json: bool) -> None:
    """Print where the report is."""
    if json:
        terminal.answer_json(_paths(written))
        return
    print(f"page: {written.page}")
    print(f"tables: {written.csv}, {written.parquet}, {written.markdown}")
    print(f"charts: {written.page.parent / 'charts'} ({len(written.charts)} files)")


def run(done: Run, *, json: bool) -> None:
    """Print what a recipe came to: the table, the recommendation, the page."""
    if json:
        terminal.answer_json(
            {
                "folder": str(done.folder),
                "sweep": asdict(done.sweep) | {"folder": str(done.sweep.folder)},
                "summary": asdict(done.summary),
                "report": _paths(done.report),
                "choice": done.choice.to_json() if done.choice else None,
            }
        )
        return
    _summary(done.summary)
    print(_counts(done.sweep))
    if done.choice is not None:
        print()
        show_choice.choice(done.choice, json=False)
    print()
    report(done.report, json=False)


def _summary(summary: Summary) -> None:
    terminal.table(summary.headings, [row.cells for row in summary.rows], summary.caption)


def _counts(done: SweepDone) -> str:
    parts = [f"{done.measured} measured"]
    if done.estimated:
        parts.append(f"{done.estimated} estimated by a compiler, nothing run")
    if done.reused:
        parts.append(f"{done.reused} finished before and reused")
    if done.failed:
        parts.append(f"{done.failed} failed, with the reason in the report")
    return f"trials: {', '.join(parts)}"


def _paths(written: ReportFiles) -> dict[str, Any]:
    found = asdict(written)
    charts = [str(path) for path in found.pop("charts")]
    return {name: str(path) for name, path in found.items()} | {"charts": charts}
