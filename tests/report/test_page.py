"""The page as HTML: its data, its scripts and its security."""

import base64
import hashlib
import html
import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from ovtool.report.content import MAX_ROWS, Sources, build_content, latency_throughput_front
from ovtool.report.markdown import format_markdown
from ovtool.results.rows import Rows
from ovtool.results.table import load_results
from ovtool.selection.choice_spec import ChoiceSpec
from ovtool.selection.prices import Prices
from tests.helpers import sweeps
from tests.helpers.report_pages import HOSTILE, column_of, data_of, library, page_of


class Page(HTMLParser):
    """The elements and scripts of a page, as a browser parses them."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.scripts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs).get("type", ""), ""))

    def handle_data(self, data):
        if self.lasttag == "script" and self.scripts:
            kind, text = self.scripts[-1]
            self.scripts[-1] = (kind, text + data)

    def handle_endtag(self, tag):
        if tag == "script":
            self.lasttag = ""


@pytest.mark.slow
def test_page_has_the_rows_of_the_csv(written):
    _, files = written
    csv = pd.read_csv(files.csv)
    text = files.page.read_text()
    for name in ("variant", "batch", "trial", "status"):
        assert column_of(text, name) == csv[name].astype(str).tolist()


@pytest.mark.slow
def test_page_makes_no_network_requests(written):
    text = written[1].page.read_text()
    page = Page(text)
    for tag, attributes in page.elements:
        for name in ("src", "href", "action", "data", "srcset"):
            value = attributes.get(name) or "data:"
            assert value.startswith(("data:", "#")), (tag, name, value)
        assert tag not in ("iframe", "object", "embed", "form", "base")
    outside_scripts = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert not re.search(r"@import|url\(|https?://", outside_scripts)
    policy = next(a["content"] for t, a in page.elements if t == "meta" and "http-equiv" in a)
    assert policy.startswith("default-src 'none';")
    assert "unsafe-eval" not in policy
    assert "http" not in policy


@pytest.mark.slow
def test_only_hashed_scripts_run_and_hostile_names_remain_text(written):
    text = written[1].page.read_text()
    page = Page(text)
    policy = next(a["content"] for t, a in page.elements if t == "meta" and "http-equiv" in a)
    running = [body for kind, body in page.scripts if not kind]
    assert len(running) == 2
    for body in running:
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
        assert "alert(1)" not in body
    assert not [t for t, _ in page.elements if t == "img"]
    assert html.escape(HOSTILE, quote=False) in text
    assert HOSTILE in column_of(text, "variant")
    assert HOSTILE in data_of(text)["points"]["config"]


def test_page_is_small_and_starts_with_the_recommendation(written):
    text = written[1].page.read_text()
    assert len(text) < 2_000_000
    order = ("recommendation", "selection", "why", "results", "variants", "method", "environments")
    places = [text.index(f'id="{name}"') for name in order]
    assert places == sorted(places)
    assert "NPU" in text[text.index('id="failed"') : text.index('id="environments"')]


@pytest.mark.slow
def test_page_of_too_many_rows_keeps_the_best_and_counts_the_rest(tmp_path):
    table = load_results([sweeps.whole(tmp_path / "s", batches=(1, 2, 4, 8))])
    copies = -(-2 * MAX_ROWS // len(table.rows))
    many = pd.concat([table.rows] * copies, ignore_index=True)
    many["trial"] = [f"{trial}{n}" for n, trial in enumerate(many["trial"])]
    many["throughput_fps"] *= [1 - n / len(many) / 2 for n in range(len(many))]
    content = build_content(table.with_rows(many), ChoiceSpec())
    text = page_of(content)
    assert len(text) < 5_000_000
    rows = column_of(text, "trial")
    assert len(rows) == MAX_ROWS
    assert content.choice.winner["trial"] == rows[data_of(text)["best"]]
    front = latency_throughput_front(Rows.from_frame(many))
    assert {many["trial"][place] for place in front} <= set(rows)
    (warning,) = re.findall(r'<p class="warning" id="omitted-rows">(.*?)</p>', text)
    assert f"{MAX_ROWS} of {len(many)} rows" in warning
    assert "results.parquet" in warning
    assert set(data_of(text)["points"]["row"]) <= set(range(MAX_ROWS))


@pytest.mark.slow
@pytest.mark.parametrize("undecided", [False, True])
def test_page_and_markdown_have_the_verdict_of_the_answer(tmp_path, undecided):
    few = sweeps.Model(
        "int8", 4.83, {"default": 3.5}, (19, 20) if undecided else (200_000, 200_000)
    )
    models = (sweeps.FP32, few)
    rows = [
        sweeps.with_quality(sweeps.measure(t, models), few if t.variant == few.id else sweeps.FP32)
        for t in sweeps.trials(models, batches=(1, 4))
    ]
    measured = [sweeps.contended(row) for row in rows] if undecided else rows
    content = build_content(
        load_results([sweeps.make(tmp_path / "s", measured, models)]), ChoiceSpec()
    )
    kinds = ["too-few", "provisional"] if undecided else []
    assert [doubt.kind for doubt in content.choice.doubts] == kinds
    text = page_of(content)
    first_screen = text[text.index('id="doubts"') : text.index('class="tiles"')]
    assert re.findall(r'<p class="([a-z-]+)"><span class="badge">', first_screen) == kinds
    for doubt in content.choice.doubts:
        assert doubt.title in first_screen
        assert html.escape(doubt.text) in first_screen
        assert doubt.title in format_markdown(content)
        assert doubt.title in content.choice._repr_html_()
    badge = re.search(r'id="certainty" class="badge (\w+)"( hidden)?', first_screen)
    assert (badge[1], bool(badge[2])) == ("provisional" if undecided else "stable", undecided)
    assert ("no measurable loss" in text) != undecided


def test_every_table_of_rows_has_the_verdict_as_a_class(written):
    text = written[1].page.read_text()
    tables = re.findall(r"<table.*?</table>", text, re.DOTALL)
    headed = [table for table in tables if ">verdict</th>" in table]
    assert len(headed) == 3, "variants, knees and Pareto front"
    for table in headed:
        lines = re.findall(r"<tr>(?:(?!</tr>).)*<td.*?</tr>", table, re.DOTALL)
        assert lines
        for line in lines:
            assert re.search(r'<span class="verdict (stable|contended)">', line)
    assert "verdict" in [column["name"] for column in data_of(text)["columns"]]


@pytest.mark.slow
def test_marks_that_reorder_text_are_escaped_everywhere(tmp_path):
    name = "\u202eevil\u2066"
    models = (sweeps.FP32, sweeps.Model(name, 4.0, {"default": 3.0}, (48, 50)))
    table = load_results([sweeps.whole(tmp_path / "s", models, batches=(1, 4))])
    text = page_of(build_content(table, ChoiceSpec()))
    assert name.encode("unicode_escape").decode() in text
    own = text.replace(library(), "")
    assert not set("\u202e\u2066") & set(own)


@pytest.mark.slow
def test_prices_without_a_file_have_no_command(tmp_path):
    table = load_results([sweeps.whole(tmp_path / "s", batches=(1,))])
    spec = ChoiceSpec(objective="cost", prices=Prices("EUR", (("*", 0.08),)))
    content = build_content(table, spec, Sources.of([tmp_path / "s"], [], tmp_path))
    assert data_of(page_of(content))["details"]["command"] == ""
