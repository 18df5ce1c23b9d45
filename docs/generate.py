"""The generated parts of the documentation: reference tables, the map of the packages, links.

MkDocs loads this module as a hook.  A page contains ``<!-- generated: NAME -->`` where the part
``NAME`` of :data:`PARTS` belongs.  ``python docs/generate.py`` writes the two committed parts: the
drawing of the layers, ``docs/assets/layers.svg``, and the example's figures in the README.
"""

from __future__ import annotations

import ast
import csv
import html
import json
import os
import posixpath
import re
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
DRAWING = ROOT / "docs" / "assets" / "layers.svg"

ROOT_PAGES = {
    "CONTRIBUTING.md": "contributing/index.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
    "docker/README.md": "docker.md",
}
"""Pages that live outside ``docs/``: path in the repository -> path in the site."""
EXAMPLE = "reports/example"
"""Folder of the example report, which the site contains as a whole."""

JSON_FIELDS = "docs/reference/json-fields.json"
"""Stored fields, written by ``python -m tests.cli.json_fields``."""
ONNX_OPERATORS = "docs/reference/onnx-operators.json"
"""Stored results, written by ``python -m tests.models.onnx_operators``."""
ONNX_OUTCOMES = {
    "equal": "equal",
    "limited": "limited",
    "not-checked": "not checked",
    "differs": "differs",
    "refused": "refused",
    "unread": "not read",
    "wrong": "wrong, not checked",
    "wrong-checked": "wrong",
    "crash": "crash",
}
"""Titles of the outcomes of a test."""

_MARKER = re.compile(r"^<!-- generated: ([a-z-]+) -->$", re.MULTILINE)
_EXAMPLE_TABLE = re.compile(
    r"(<!-- example: reports/example/results.csv -->\n\n).*?(\n\n<!-- /example -->)", re.DOTALL
)
_LINK = re.compile(r"(\]\()(?!https?:|mailto:|#)([^)\s#]+)")
_ROLE = re.compile(r":(?:class|func|meth|data|mod|attr|exc):(?=<code>)")


# Reference tables.


def list_columns() -> str:
    """Return the columns of the results, grouped by kind."""
    from ovtool.core.columns import COLUMNS

    kinds = {"identity": "Identity", "figure": "Figures of a trial", "derived": "Derived figures"}
    parts = []
    for kind, title in kinds.items():
        rows = [
            (f"`{column.name}`", column.title, column.unit, column.better or "", column.meaning)
            for column in COLUMNS
            if column.kind == kind
        ]
        parts += [f"## {title}", _table(("column", "title", "unit", "better", "meaning"), rows)]
    intervals = [f"`{column.name}`" for column in COLUMNS if column.interval]
    return "\n\n".join([*parts, "## Confidence intervals", ", ".join(intervals) + "."])


def list_methods() -> str:
    """Return every compression method with its settings."""
    from ovtool.compression import registry

    parts = []
    for method in registry.list_methods():
        facts = [f"- Effect: {method.summary}", f"- Changes: {method.changes}"]
        facts += [f"- Without training: {method.untrained}"] if method.untrained else []
        if method.needs:
            facts.append(f"- Needs: {', '.join(sorted(method.needs))}")
        if method.extra:
            facts.append(f"- Install: `pip install 'ovtool[{method.extra}]'`")
        rows = [
            (f"`{s.name}`", s.kind, _default(s.default), s.description) for s in method.settings
        ]
        parts += [f"## {method.name}", "\n".join(facts)]
        if rows:
            parts.append(_table(("setting", "type", "default", "meaning"), rows))
    return "\n\n".join(parts)


def list_sources() -> str:
    """Return the source formats of models."""
    from ovtool.models.registry import SOURCES

    return _registry_table("format", SOURCES.entries)


def list_datasets() -> str:
    """Return the kinds of datasets."""
    from ovtool.datasets.registry import DATASETS

    return _registry_table("dataset", DATASETS.entries)


def list_notes() -> str:
    """Return every note with its remedy."""
    from ovtool.core.notes import NOTES

    rows = [(f"`{name}`", message, remedy) for name, (message, remedy) in NOTES.items()]
    return _table(("id", "note", "remedy"), rows)


def list_json_fields() -> str:
    """Return the fields of the documents of ``--json`` by verb, from stored results."""
    stored = json.loads((ROOT / JSON_FIELDS).read_text(encoding="utf-8"))
    parts = []
    for verb, fields in stored.items():
        rows = [(f"`{path}`", types) for path, types in fields.items() if path != "schema"]
        parts += [f"## {verb}", _table(("field", "type"), rows)]
    return "\n\n".join(parts)


def list_onnx_operators() -> str:
    """Return what conversion makes of the operator tests of ONNX, from stored results."""
    stored = json.loads((ROOT / ONNX_OPERATORS).read_text(encoding="utf-8"))
    versions = ", ".join(f"{name} {version}" for name, version in stored["versions"].items())
    titles = ("operator", "tests", *ONNX_OUTCOMES.values())
    rows, equal = [], []
    for name, counts in stored["operators"].items():
        if set(counts) <= {"equal"}:
            equal.append(f"`{name}` ({counts['equal']})")
            continue
        figures = (str(counts.get(outcome, "")) for outcome in ONNX_OUTCOMES)
        rows.append((f"`{name}`", str(sum(counts.values())), *figures))
    totals = [
        str(sum(counts.get(outcome, 0) for counts in stored["operators"].values()))
        for outcome in ONNX_OUTCOMES
    ]
    rows.insert(0, ("all", str(sum(map(int, totals))), *totals))
    differences = [
        (f"`{r['operator']}`", f"`{r['name']}`", ONNX_OUTCOMES[r["outcome"]], r["detail"])
        for r in stored["differences"]
    ]
    return "\n\n".join(
        [
            f"Results of {versions}.",
            "## Operators with tests that are not equal",
            _table(titles, rows),
            "## Operators with equal results in all tests",
            ", ".join(equal) + ".",
            "## Tests with other outputs",
            _table(("operator", "test", "outcome", "difference"), differences),
        ]
    )


def list_commands() -> str:
    """Return every verb with its arguments, options and examples."""
    from ovtool.cli.command import load_command
    from ovtool.cli.main import VERBS

    parts = []
    for group, verbs in VERBS.items():
        parts.append(f"## {group}")
        for verb in verbs:
            command = load_command(verb)
            children: Mapping[str, Any] = getattr(command, "commands", {})
            named = {f"ovtool {verb} {name}": child for name, child in children.items()}
            for title, entry in (named or {f"ovtool {verb}": command}).items():
                parts += _describe_command(title, entry)
    return "\n\n".join(parts)


def list_environment() -> str:
    """Return the variables of options, with the verbs that have the option."""
    from ovtool.cli.command import ENVIRONMENT, environment_variable, load_command
    from ovtool.cli.main import VERBS

    users: dict[str, list[str]] = {name: [] for name in ENVIRONMENT}
    verbs = [verb for group in VERBS.values() for verb in group]
    for verb in verbs:
        command = load_command(verb)
        children: Mapping[str, Any] = getattr(command, "commands", {verb: command})
        options = {name for child in children.values() for p in child.params for name in p.opts}
        for name in users.keys() & options:
            users[name].append(verb)
    rows = [
        (
            f"`{environment_variable(name)}`",
            f"`{name}`",
            "all" if len(users[name]) == len(verbs) else ", ".join(users[name]),
        )
        for name in ENVIRONMENT
    ]
    return _table(("variable", "option", "verbs"), rows)


def _describe_command(title: str, command: Any) -> list[str]:
    from ovtool.cli.command import PANELS

    parts = [f"### {title}", " ".join((command.help or "").split())]
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
    usage = " ".join(p.name.upper() + ("..." if p.nargs == -1 else "") for p in arguments)
    parts.append(f"```text\n{' '.join(filter(None, [title, usage, '[OPTIONS]']))}\n```")
    if arguments:
        rows = [(f"`{p.name.upper()}`", p.help or "") for p in arguments]
        parts.append(_table(("argument", "meaning"), rows))
    described = [
        (_spelling(p), str(p.rich_help_panel), _option_default(p), str(p.help or ""))
        for panel in PANELS
        for p in options
        if p.rich_help_panel == panel
    ]
    if described:
        parts.append(_table(("option", "panel", "default", "meaning"), described))
    epilog = (command.epilog or "").splitlines()
    examples = [line.strip() for line in epilog if line.startswith("  ovtool ")]
    if examples:
        parts.append("```sh\n" + "\n".join(examples) + "\n```")
    return parts


def _spelling(option: Any) -> str:
    names = [*option.opts, *option.secondary_opts]
    value = "" if option.is_flag else f" {option.metavar or option.type.name.upper()}"
    return ", ".join(f"`{name}{value}`" for name in names)


def _option_default(option: Any) -> str:
    if option.required:
        return "required"
    if isinstance(option.show_default, str):
        return option.show_default.strip("()")
    if option.default in (None, False, ()) or callable(option.default):
        return ""
    return _default(option.default)


def _default(value: object) -> str:
    if value is None or value == ():
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def list_api() -> str:
    """Return the directives that document each name of ``ovtool.api`` from its docstring."""
    tree = ast.parse((ROOT / "ovtool" / "api.py").read_text(encoding="utf-8"))
    targets = {
        (alias.asname or alias.name): f"{node.module}.{alias.name}"
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    names = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    classes = [name for name in names if name[0].isupper()]
    functions = [name for name in names if name not in classes]
    parts = ["## Functions"]
    parts += [_directive(name, targets[name]) for name in functions]
    parts += ["## Specifications"]
    parts += [_directive(name, targets[name]) for name in classes]
    return "\n\n".join(parts)


def _directive(name: str, target: str) -> str:
    directive = f"::: {target}"
    if target.rpartition(".")[2] != name:
        directive += f"\n    options: {{heading: {name}, toc_label: {name}}}"
    return directive


# The map of the packages.


def read_layers() -> list[list[str]]:
    """Return the layers of the import contract, top to bottom; rooms of a layer are independent."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    return [[name.strip().removeprefix("ovtool.") for name in row.split("|")] for row in layers]


def describe_room(room: str) -> str:
    """Return the first sentence of a package's docstring."""
    package = ROOT / "ovtool" / room / "__init__.py"
    path = package if package.exists() else ROOT / "ovtool" / f"{room}.py"
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    first = " ".join(docstring.partition("\n\n")[0].split())
    return re.sub(r"\s*:\w+:`\.?([^`]+)`", r" `\1`", first)


def list_rooms() -> str:
    """Return every package with its purpose, top layer first."""
    rows = [
        (str(number), f"`{room}`", describe_room(room))
        for number, rooms in enumerate(read_layers(), 1)
        for room in rooms
    ]
    return _table(("layer", "package", "purpose"), rows)


def draw_layers() -> str:
    """Return the layers as SVG: one row a layer, readable on light and dark pages."""
    width, height, gap = 760, 44, 14
    rows = read_layers()
    parts = []
    for number, rooms in enumerate(rows):
        top = number * (height + gap)
        box = (width - gap * (len(rooms) - 1)) / len(rooms)
        for column, room in enumerate(rooms):
            left = column * (box + gap)
            parts += [
                f'<rect x="{left:.1f}" y="{top}" width="{box:.1f}" height="{height}" rx="6"/>',
                f'<text x="{left + box / 2:.1f}" y="{top + height / 2 + 6}">{room}</text>',
            ]
        if number < len(rows) - 1:
            bottom = top + height
            parts.append(f'<path d="M{width / 2} {bottom + 1}v{gap - 3}m-4 -4l4 4l4 -4"/>')
    total = len(rows) * (height + gap) - gap
    style = (
        "rect{fill:#e8eaf6;stroke:#3f51b5}text{fill:#1a237e;text-anchor:middle;"
        "font:17px system-ui,sans-serif}path{fill:none;stroke:#7986cb;stroke-width:1.5}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-1 -1 {width + 2} {total + 2}"'
        f' role="img"><title>Layers of ovtool</title><style>{style}</style>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


# The figures of the README.


def summarize_example() -> str:
    """Return the row of the highest throughput of each variant in the example report."""
    with (ROOT / EXAMPLE / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["throughput_fps"]]
    best: dict[tuple[str, str], dict[str, str]] = {}
    rows.sort(key=lambda row: float(row["throughput_fps"]), reverse=True)
    for row in rows:
        best.setdefault((row["variant"], row["precision"]), row)
    cells = [
        (
            f"`{row['variant']}`",
            row["executed_precision"],
            f"{row['batch']}, {row['load']}",
            _interval(row, "throughput_fps", 0),
            _interval(row, "speedup_f32_x", 2),
            _interval(row, "speedup_default_x", 2),
            f"{float(row['model_mib']):.1f}",
            _interval(row, "agreement_top1", 2),
            row["verdict"],
        )
        for row in best.values()
    ]
    titles = ("variant", "runs in", "batch, load", "samples/s", "vs f32", "vs default", "MiB")
    return _table((*titles, "agreement", "verdict"), cells)


def _interval(row: Mapping[str, str], name: str, digits: int) -> str:
    value, low, high = (row[f"{name}{end}"] for end in ("", "_ci_low", "_ci_high"))
    text = f"{float(value):.{digits}f}"
    return f"{text} [{float(low):.{digits}f}, {float(high):.{digits}f}]" if low else text


def update_readme(readme: str) -> str:
    """Return the README with the current figures of the example report."""
    return _EXAMPLE_TABLE.sub(lambda match: match[1] + summarize_example() + match[2], readme)


PARTS: Mapping[str, Callable[[], str]] = {
    "api": list_api,
    "columns": list_columns,
    "commands": list_commands,
    "datasets": list_datasets,
    "environment": list_environment,
    "json-fields": list_json_fields,
    "methods": list_methods,
    "notes": list_notes,
    "onnx-operators": list_onnx_operators,
    "rooms": list_rooms,
    "sources": list_sources,
}
"""The generated parts by the name in their marker."""


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table without the columns that are empty in every row."""
    columns = list(zip(header, *rows, strict=True))
    kept = [column for column in columns if any(column[1:])]
    titles, *cells = zip(*kept, strict=True)
    lines = [titles, ["---"] * len(titles), *(map(_cell, row) for row in cells)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(text: str) -> str:
    """Return text as a table cell: one line, with HTML, links and column separators escaped."""
    line = " ".join(text.split()).replace("|", "\\|")
    parts = re.split(r"(`[^`]*`)", line)
    return "".join(
        part if part.startswith("`") else html.escape(part, quote=False).replace("[", "\\[")
        for part in parts
    )


def _registry_table(noun: str, entries: Mapping[str, Any]) -> str:
    rows = [
        (f"`{name}`", entry.summary, f"`ovtool[{entry.extra}]`" if entry.extra else "")
        for name, entry in entries.items()
    ]
    return _table((noun, "files and references", "extra"), rows)


# Events of MkDocs.


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages outside ``docs/`` and the example report."""
    from mkdocs.structure.files import File

    for source, target in ROOT_PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, target, content=text))
    for path in sorted((ROOT / EXAMPLE).rglob("*")):
        if path.is_file() and path.suffix != ".md":
            target = f"example/{path.relative_to(ROOT / EXAMPLE).as_posix()}"
            files.append(File.generated(config, target, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 - the signature of the event
    """Insert the generated parts, and point links between repository files at their pages."""
    markdown = _MARKER.sub(lambda match: PARTS[match[1]](), markdown)
    source = page.file.src_uri
    place = {target: path for path, target in ROOT_PAGES.items()}.get(source, f"docs/{source}")
    return rewrite_links(markdown, place, source)


def rewrite_links(markdown: str, place: str, source: str) -> str:
    """Return a page whose links lead to pages of the site.

    Args:
        markdown: Text of the page, with links as they work in the repository.
        place: Path of the page in the repository.
        source: Path of the page in the site.
    """

    def rewrite(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(place), match[2]))
        if not (ROOT / target).exists():
            return match[0]
        site = ROOT_PAGES.get(target) or target.removeprefix("docs/")
        if target == "README.md":
            site = "index.md"
        if target.startswith(EXAMPLE):
            site = "example" + target.removeprefix(EXAMPLE).replace("report.md", "index.html")
        return match[1] + posixpath.relpath(site, posixpath.dirname(source) or ".")

    return _LINK.sub(rewrite, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 - the signature of the event
    """Remove the Sphinx roles of docstrings, which Markdown does not know."""
    return _ROLE.sub("", html)


if __name__ == "__main__":
    DRAWING.write_text(draw_layers(), encoding="utf-8")
    README.write_text(update_readme(README.read_text(encoding="utf-8")), encoding="utf-8")
    sys.stdout.write(f"{os.path.relpath(DRAWING)}\n{os.path.relpath(README)}\n")
