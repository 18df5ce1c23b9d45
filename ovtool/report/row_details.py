"""What the page shows of a row that the reader selects, and what it needs to choose again."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovtool.core.device_names import unmark_device
from ovtool.core.notes import NOTES
from ovtool.selection.certainty import TOO_FEW
from ovtool.selection.choice import headline_of
from ovtool.selection.prices import Prices

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ovtool.report.content import Content
    from ovtool.results.rows import Row
    from ovtool.selection.choice_spec import ChoiceSpec


def row_details(content: Content) -> dict[str, Any]:
    """Return what the page shows of each row, and the table to choose from.

    The programs share most of their lines, so each is a list of numbers of ``lines``.
    """
    rows, spec = content.rows, content.spec
    lines: dict[str, int] = {}
    programs = [
        [lines.setdefault(line, len(lines)) for line in text.split("\n")]
        for text in content.programs
    ]
    commands = [
        [lines.setdefault(line, len(lines)) for line in _profile_commands(row, content)]
        for row in rows
    ]
    table = content.choice_table
    several = len(rows.unique("environment")) > 1
    return {
        "headlines": [headline_of(row, host=several) for row in rows],
        "lines": list(lines),
        "programs": programs,
        "rounds": [
            [float(f"{fps:.5g}") for fps in content.table.details_of(row).rounds] for row in rows
        ],
        "layers": list(content.layers),
        "choice": None if table is None else asdict(table),
        "limits": {"latency": spec.max_latency_ms, "quality": spec.min_quality},
        "objective": f"best {spec.objective.replace('latency', f'p{spec.percentile} latency')}",
        "profile": commands,
        "remedies": {"too-few": f"To do: {NOTES[TOO_FEW][1]}."},
        "command": choose_command(content),
        "options": " ".join(_options(spec, "max_latency_ms", "min_quality")),
    }


def choose_command(content: Content) -> str:
    """Return the command that chooses among the same sweeps, without its options.

    Empty if no command can choose by the same prices: they are not from a file.
    """
    if isinstance(content.spec.prices, Prices):
        return ""
    return f"ovtool choose {_quoted(content.sources.sweeps) or 'SWEEP'}"


def _profile_commands(row: Row, content: Content) -> Iterator[str]:
    """Yield the commands that add the layers of a row to the page, if its model is at its path."""
    folder = content.table.details_of(row).folder
    sources = content.sources
    if row["status"] != "ok" or folder is None or not sources.sweeps:
        return
    try:
        model = Path(folder).resolve()
        if not (model / "model.xml").is_file():
            return
    except (OSError, ValueError):  # not a path on this machine
        return
    layers = str(Path(sources.out, "layers", row["trial"]))
    device = unmark_device(row["device"])
    options = {"--device": device, "--batch": row["batch"], "--precision": row["precision"]}
    options |= {"--hint": row["hint"]} if row["hint"] else {}
    words = [str(model), *(str(word) for option in options.items() for word in option)]
    yield f"ovtool profile {_quoted([*words, '--out', layers])}"
    profiles = [word for path in (*sources.profiles, layers) for word in ("--profile", path)]
    report = [*sources.sweeps, "--out", sources.out, *profiles]
    yield " ".join([f"ovtool report {_quoted(report)}", *_options(content.spec)])


def _quoted(words: Iterable[str]) -> str:
    return " ".join(map(shlex.quote, words))


def _options(spec: ChoiceSpec, *left_out: str) -> Iterator[str]:
    """Yield the options of the choice that are not left out."""
    fields = spec.model_dump(exclude={"prices", *left_out}, exclude_defaults=True)
    for name, value in fields.items():
        option = f"--{name.replace('_', '-')}"
        yield option if value is True else f"{option} {shlex.quote(str(value))}"
    if isinstance(spec.prices, str):
        yield f"--prices {shlex.quote(str(Path(spec.prices).resolve()))}"
