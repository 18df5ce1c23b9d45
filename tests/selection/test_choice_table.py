"""The figures with which a page chooses again; tests/report/test_browser.py runs its rule."""

import pytest

from ovtool.core.notes import make_note
from ovtool.results.table import load_results
from ovtool.selection.choice import choose_from
from ovtool.selection.choice_spec import ChoiceSpec
from ovtool.selection.choice_table import tabulate_choice
from tests.helpers import sweeps

ANY = ChoiceSpec(min_quality=0)


@pytest.mark.slow
def test_the_rows_are_those_that_choose_has(tmp_path):
    table = load_results([sweeps.whole(tmp_path / "s")])
    tabulated = tabulate_choice(table, ANY, table.records)
    assert tabulated.rows == list(range(len(table.records)))
    best = max(range(len(tabulated.rows)), key=tabulated.goal["value"].__getitem__)
    chosen = choose_from(table, ANY).winner
    assert table.records[tabulated.rows[best]]["trial"] == chosen["trial"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["int8", "int8-weights"])
def test_models_whose_outputs_differ_are_not_among_them(tmp_path, name):
    note = make_note("outputs-not-repeatable", f"{name}: two runs differ")
    table = load_results([sweeps.whole(tmp_path / "s", variant_notes={name: (note,)})])
    tabulated = tabulate_choice(table, ANY, table.records)
    variants = {table.records[row]["variant"] for row in tabulated.rows}
    assert variants == {model.name for model in sweeps.MODELS} - {name}
