"""The report as Markdown."""

import re

import pytest

pytestmark = pytest.mark.usefixtures("local_renderer")


@pytest.mark.slow
def test_markdown_escapes_hostile_names(written):
    text = written[1].markdown.read_text()
    assert "<script" not in text
    table = [line for line in text.splitlines() if line.startswith("| ")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {7}
    assert "charts/latency-throughput.svg" in text
