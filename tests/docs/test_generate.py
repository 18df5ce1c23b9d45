"""The generated parts of the documentation follow the code."""

import importlib.util
import re

import pytest

from ovtool import api
from ovtool.cli.main import VERBS
from ovtool.compression.registry import METHODS
from ovtool.core.columns import COLUMNS
from ovtool.core.notes import NOTES
from tests.docs.blocks import PAGES, ROOT

DOCS = ROOT / "docs"
_LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)\s#]+)")


def load_generate():
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generate = load_generate()


@pytest.mark.parametrize("name", generate.PARTS)
def test_part_belongs_to_a_page(name):
    assert any(f"<!-- generated: {name} -->" in page.read_text() for page in PAGES)


@pytest.mark.parametrize(
    ("part", "names"),
    [
        ("columns", [c.name for c in COLUMNS]),
        ("methods", list(METHODS)),
        ("notes", list(NOTES)),
        ("commands", [f"ovtool {verb}" for verbs in VERBS.values() for verb in verbs]),
    ],
)
def test_part_lists_every_name(part, names):
    text = generate.PARTS[part]()
    assert [name for name in names if name not in text] == []


def test_api_reference_lists_every_public_name():
    targets = re.findall(r"^::: (\S+)", generate.PARTS["api"](), re.MULTILINE)
    assert len(targets) == len(api.__all__)


def test_every_verb_has_a_how_to():
    verbs = {verb for group in VERBS.values() for verb in group}
    assert {page.stem for page in (DOCS / "how-to").glob("*.md")} - {"index"} == verbs


def test_drawing_of_the_layers_is_current():
    assert generate.DRAWING.read_text() == generate.draw_layers()


def test_figures_of_the_readme_are_those_of_the_example_report():
    readme = generate.README.read_text()
    assert generate.update_readme(readme) == readme
    assert generate.summarize_example() in readme


@pytest.mark.parametrize(
    "page",
    [*PAGES, *(ROOT / name for name in generate.ROOT_PAGES)],
    ids=lambda page: page.relative_to(ROOT).as_posix(),
)
def test_links_lead_to_files(page):
    targets = _LINK.findall(page.read_text())
    assert [t for t in targets if not (page.parent / t).exists()] == []


def test_links_of_root_pages_lead_to_pages_of_the_site():
    text = "[m](docs/contributing/method.md) [c](CHANGELOG.md) [x](other.md)"
    assert generate.rewrite_links(text, "CONTRIBUTING.md", "contributing/index.md") == (
        "[m](method.md) [c](../changelog.md) [x](other.md)"
    )


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_named_files_exist(page):
    text = re.sub(r"^\d\. Write .*", "", page.read_text(), flags=re.MULTILINE)
    paths = re.findall(r"`((?:ovtool|tests|docs|docker|recipes)/[\w./-]+)`", text)
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
