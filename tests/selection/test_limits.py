"""A choice under each further kind of limit, by several objectives, and what it is written as."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ovtool.core.errors import InputError
from ovtool.core.notes import Note
from ovtool.core.sweep_folder import PlannedVariant
from ovtool.core.trial import Trial
from ovtool.report.content import build_content
from ovtool.report.markdown import format_markdown
from ovtool.results.labels import figure_text
from ovtool.results.table import load_results
from ovtool.selection import prices
from ovtool.selection.choice import NothingFitsError, choose_from
from ovtool.selection.choice_spec import OBJECTIVES, ChoiceSpec, parse_objective
from ovtool.selection.prices import Prices
from tests.helpers import graphs as models
from tests.helpers import sweeps
from tests.helpers.report_pages import page_of

EUROS = Prices("EUR", (("*cpu a*", 0.5), ("*cpu b*", 5.0)))


def with_figures(**figures):
    """Rows of the script, the figures those of a function of the trial."""
    made = []
    for trial in sweeps.trials():
        one = sweeps.measure(trial)
        more = {name: of(trial) for name, of in figures.items()}
        made.append(replace(one, figures={**one.figures, **more}))
    return made


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    made = with_figures(
        peak_rss_mib=lambda t: 100.0 + 10 * t.batch, energy_mj_per_sample=lambda t: 80.0 / t.batch
    )
    return load_results([sweeps.make(tmp_path_factory.mktemp("l") / "s", made)])


def test_memory_is_limited(table):
    assert choose_from(table).winner["batch"] == 8
    assert choose_from(table, ChoiceSpec(max_memory_mib=125)).winner["batch"] == 2
    with pytest.raises(NothingFitsError, match="peak memory") as caught:
        choose_from(table, ChoiceSpec(max_memory_mib=50))
    assert caught.value.nearest.row["batch"] == 1


def test_energy_is_limited(table):
    small = choose_from(table, ChoiceSpec(max_energy_mj=10, objective="latency"))
    assert small.winner["batch"] == 8
    with pytest.raises(NothingFitsError, match="energy"):
        choose_from(table, ChoiceSpec(max_energy_mj=1))


def test_energy_that_nobody_counted_is_no_zero(tmp_path):
    unknown = load_results([sweeps.whole(tmp_path / "s")])
    with pytest.raises(NothingFitsError, match="energy is not known of any") as caught:
        choose_from(unknown, ChoiceSpec(max_energy_mj=1e9))
    assert caught.value.nearest is None


def test_cost_is_that_of_the_measured_throughput(tmp_path):
    machines = load_results([sweeps.whole(tmp_path / e, env=e) for e in "abc"])
    found = choose_from(machines, ChoiceSpec(prices=EUROS, objective="cost"))
    row = found.winner
    assert "Example CPU a" in row["machine"]
    assert f"{0.5 / 3600 * 1e6 / row['throughput_fps']:.3g} [" in found.reasons[0]
    assert "EUR/million samples" in found.reasons[0]
    assert "0.5 EUR/h at" in found.reasons[0]
    assert {"objective-on-unknown"} <= {n.id for n in found.warnings}, "c has no price"
    limit = 5.0 / 3600 * 1e6 / row["throughput_fps"] / 2
    kept = choose_from(machines, ChoiceSpec(max_cost=limit, prices=EUROS, objective="size"))
    assert "Example CPU a" in kept.winner["machine"], "b is dear, and c without a price"
    with pytest.raises(NothingFitsError, match=r"cost at most 0\.001 EUR/million samples"):
        choose_from(machines, ChoiceSpec(max_cost=0.001, prices=EUROS))
    with pytest.raises(InputError, match="no machine has a price"):
        choose_from(machines, ChoiceSpec(prices=Prices("EUR", (("other", 1.0),)), objective="cost"))


def test_cost_needs_prices(table):
    with pytest.raises(ValidationError, match="prices"):
        ChoiceSpec(max_cost=1)
    with pytest.raises(ValidationError, match="prices"):
        choose_from(table, ChoiceSpec(objective="cost"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.yaml", "currency: EUR\nprices:\n  '*EPYC*': 0.08\n  mini: 0.01\n"),
        ("p.csv", "machine,price_per_hour,currency\n*EPYC*,0.08,EUR\nmini,0.01,EUR\n"),
    ],
)
def test_a_table_of_prices(tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8")
    found = prices.read(tmp_path / name)
    assert found == Prices("EUR", (("*EPYC*", 0.08), ("mini", 0.01)))
    assert found.of("AMD epyc, 2 cores") == 0.08
    assert found.of("minimal") is None
    assert found.of(None) is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.yaml", ""),
        ("p.yaml", "currency: EUR\nprices: {}"),
        ("p.yaml", "currency: EUR\nprices: {a: 0}"),
        ("p.yaml", "currency: EUR\nprices: {a: .nan}"),
        ("p.yaml", "currency: EUR\nprices: {a: 1}\nmore: 1"),
        ("p.yaml", "{"),
        ("p.yaml", "!!python/object/apply:os.system ['true']"),
        ("p.csv", ""),
        ("p.csv", "a,b\n1,2\n"),
        ("p.csv", "machine,price_per_hour,currency\na,1,EUR\nb,1,USD\n"),
        ("p.csv", "machine,price_per_hour,currency\na,1,EUR\na,2,EUR\n"),
        ("p.csv", "machine,price_per_hour,currency\na,,EUR\n"),
    ],
)
def test_a_wrong_table_of_prices_is_refused_in_a_line(tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=name.replace(".", "[.]")) as caught:
        prices.read(tmp_path / name)
    assert "\n" not in str(caught.value)


def arrivals(rate, kept):
    trial = Trial(sweeps.FP32.id, "fp32", "CPU", 2, hint="throughput", rate=rate)
    one = sweeps.measure(trial)
    notes = () if kept else (Note("rate-not-kept", "requests arrived faster"),)
    return replace(one, notes=notes, figures={**one.figures, "rate_rps": rate})


def test_a_rate_is_sustained_by_capacity_or_by_arrivals(tmp_path):
    busy = sweeps.measure(Trial(sweeps.FP32.id, "fp32", "CPU", 2, hint="throughput"))
    capacity = busy.figures["throughput_fps"] / 2
    found = choose_from(
        load_results([sweeps.make(tmp_path / "a", [busy])]), ChoiceSpec(rate=0.9 * capacity)
    )
    assert found.checks[0].outcome == "met", "its lower end sustains it"
    assert "throughput / batch, every request kept busy" in found.checks[0].text
    assert "rate-by-capacity" in {n.id for n in found.warnings}
    near = choose_from(
        load_results([sweeps.make(tmp_path / "b", [busy])]), ChoiceSpec(rate=0.995 * capacity)
    )
    assert near.checks[0].outcome == "uncertain"

    kept = load_results([sweeps.make(tmp_path / "c", [arrivals(100.0, True)])])
    found = choose_from(kept, ChoiceSpec(rate=100))
    assert found.checks[0].outcome == "met"
    assert "were kept up with" in found.checks[0].text
    assert "rate-by-capacity" not in {n.id for n in found.warnings}
    with pytest.raises(NothingFitsError, match="sustained rate"):
        choose_from(kept, ChoiceSpec(rate=101))
    late = load_results([sweeps.make(tmp_path / "d", [arrivals(9000.0, False)])])
    with pytest.raises(NothingFitsError, match="served of 9000 requests/s"):
        choose_from(late, ChoiceSpec(rate=9000))


def test_weights_settle_between_objectives(table):
    def batch(text):
        return choose_from(table, ChoiceSpec(objective=text)).winner["batch"]

    assert batch("throughput=99,latency=1") == 8
    assert batch("throughput=1,latency=9") == 1
    found = choose_from(table, ChoiceSpec(objective="throughput=1,latency=1"))
    assert "score" in found.reasons[0]
    assert "samples/s" in found.reasons[0], "and what it is made of"
    assert 0 < found.confidence.row <= 1


@given(
    st.dictionaries(st.sampled_from(OBJECTIVES), st.floats(0.001, 1e3), min_size=1),
    st.floats(0.01, 100),
)
def test_weights_add_up_and_their_scale_is_nothing(weights, factor):
    found = parse_objective(",".join(f"{k}={v!r}" for k, v in weights.items()))
    scaled = parse_objective(",".join(f"{k}={v * factor!r}" for k, v in weights.items()))
    assert math.isclose(sum(found.values()), 1)
    assert scaled == pytest.approx(found)


@pytest.mark.parametrize(
    "text", ["", "speed", "latency=0", "latency=-1", "latency=x", "latency=nan", "size,size", "a=1"]
)
def test_wrong_weights_are_refused(text):
    with pytest.raises(InputError):
        parse_objective(text)


@pytest.mark.parametrize("here", [True, False])
@pytest.mark.parametrize("shapes", [(), (("x", (-1, 3, 24, 16)),)])
def test_the_snippet_compiles_what_was_measured(tmp_path, here, shapes):
    made = models.save(tmp_path / "small", models.convolutional())
    trial = Trial(made.id, "small", "CPU", 4, hint="throughput", shapes=shapes)
    script = sweeps.Model("small", made.model_mib, {"default": 1.0})
    measured = sweeps.measure(replace(trial, variant=script.id), [script])
    folder = sweeps.make(
        tmp_path / "s",
        [replace(measured, trial=trial)],
        [script],
        variants={
            made.id: PlannedVariant(
                name="small", folder=str(made.folder), model_mib=1.0, compressed=False
            )
        },
    )
    if not here:
        (made.folder / "variant.json").unlink()
    found = choose_from(load_results([folder]))
    names = {}
    exec(compile(found.snippet, "snippet", "exec"), names)
    compiled, queue = names["compiled"], names["queue"]
    height = 24 if shapes else 16
    assert list(compiled.input(0).shape) == [4, 3, height, 16]
    hint = compiled.get_property("PERFORMANCE_HINT")
    assert hint == "THROUGHPUT"
    assert len(queue) == found.winner["requests"]
    queue.start_async({0: np.zeros((4, 3, height, 16), np.float32)})
    queue.wait_all()


@pytest.mark.slow
def test_the_report_holds_all_of_it(table):
    content = build_content(table, ChoiceSpec(rate=1))
    shown = page_of(content), format_markdown(content)
    for text in shown:
        assert "import openvino as ov" in text
        assert "resamples" in text
    assert content.front.rows
    assert f"{len(content.front.rows)} of {content.front.of} rows" in shown[0]
    listed = shown[0].partition("Rows of the Pareto front")[2].partition("</table>")[0]
    for label, row in zip(content.front.labels, content.front.rows, strict=True):
        assert f'<th scope="row">{label}</th>' in listed
        assert figure_text(row, "throughput_fps").removesuffix(" samples/s") in listed
    tied = replace(content.choice, ties=tuple("abcde"))
    assert tied.ties_text == "a; b; c; and 2 more"
    for text in (
        page_of(replace(content, choice=tied)),
        format_markdown(replace(content, choice=tied)),
    ):
        assert "a; b; c; and 2 more" in text
    assert content.knees
    document = json.loads(json.dumps(content.choice.to_json(), allow_nan=False))
    assert {"confidence", "explanations", "front", "knees", "snippet"} <= set(document)
    assert document["front"]["rows"]
