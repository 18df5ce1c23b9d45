"""The console and Python blocks of the documentation do what the pages print."""

import shutil

import pytest

from tests.docs import blocks

RUNNABLE = {
    page: [block for block in blocks.read_blocks(page) if block.skip is None]
    for page in blocks.PAGES
}
SKIPPED = [
    block for page in blocks.PAGES for block in blocks.read_blocks(page) if block.skip is not None
]


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    return blocks.write_workspace(tmp_path_factory.mktemp("docs") / "template")


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=page.relative_to(blocks.ROOT).as_posix())
        for page, runnable in RUNNABLE.items()
        if runnable
    ],
)
def test_blocks_print_what_the_page_shows(page, template, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(blocks.WIDTH))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    workspace = blocks.Workspace(shutil.copytree(template, tmp_path / "work"))
    for block in RUNNABLE[page]:
        status, outputs = blocks.run_block(block, workspace)
        expected = int(block.options.get("exit", "0"))
        assert status == expected, f"{block.name}: exit code {status}\n{outputs[-1]}"
        if block.language == "python" or block.options.get("output") == "any":
            continue
        for command, output in zip(block.commands, outputs, strict=True):
            difference = blocks.find_difference(command.output, output)
            assert difference is None, f"{block.name}: $ {command.line}\n{difference}"


@pytest.mark.parametrize("block", SKIPPED, ids=lambda block: block.name)
def test_block_with_reason_not_to_run(block):
    pytest.skip(block.skip)


def test_normalize_keeps_words_and_names():
    first = blocks.normalize("int8 on CPU: 3.25 [3.1, 3.4] ms, stable, /tmp/a/b/model.xml ───")
    second = blocks.normalize("int8 on CPU: 12 [1,  2e-3] ms,\ncontended, /x/model.xml ─")
    assert first == second
    assert blocks.normalize("int8 on GPU: 3.25") != blocks.normalize("int8 on CPU: 3.25")


def test_difference_with_ellipsis_compares_the_other_lines():
    assert blocks.find_difference("a\n...\nz\n", "a\nb\nc\nz\n") is None
    assert blocks.find_difference("a\n...\nz\n", "a\nb\nc\n") is not None
    assert blocks.find_difference("a\n", "a\nb\n") is not None
