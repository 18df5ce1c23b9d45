"""Hosts of a fleet in a choice: names, the best row of each, and prices by host and label."""

import pytest

from ovtool.core.sweep_folder import ANCHORS, SweepFolder
from ovtool.results.table import load_results
from ovtool.selection.choice import choose_from
from ovtool.selection.choice_spec import ChoiceSpec
from ovtool.selection.prices import Prices
from tests.helpers import sweeps

SLOW = sweeps.Model("fp32", 17.8, {"f32": 14.4})
FAST = sweeps.Model("fp32", 17.8, {"f32": 7.2})


def of_host(folder, name, model, env, **labels):
    path = sweeps.whole(folder / name, (model,), env=env)
    return sweeps.as_host(path, name, **labels)


@pytest.fixture
def table(tmp_path):
    """A fast and a slow host; the third has the speed of the second."""
    return load_results([
        of_host(tmp_path, "fast", FAST, "a", site="lab"),
        of_host(tmp_path, "slow", SLOW, "b", site="lab", npu="4000"),
        of_host(tmp_path, "other", SLOW, "c"),
    ])  # fmt: skip


@pytest.mark.slow
def test_rows_and_answers_have_the_name_of_the_host(table):
    choice = choose_from(table)
    assert choice.winner["host"] == "fast"
    assert choice.winner["host_labels"] == "site=lab"
    assert " · fast, batch" in choice.label
    assert " of fast " in choice.headline
    assert {"fast", "slow", "other"} == set(table.records.unique("host"))


@pytest.mark.slow
def test_each_host_has_its_best_row(table):
    choice = choose_from(table)
    assert choice.hosts[0].host == "fast"
    for host in choice.hosts:
        rows = table.records.take(table.records.equal("host", host.host))
        assert host.row["throughput_fps"] == max(rows.numbers("throughput_fps"))
        assert not host.missed
        assert host.cost is None
    alone = table.with_rows(table.rows[table.rows["host"] == "fast"])
    single = choose_from(alone)
    assert (single.hosts, " of fast " in single.headline) == ((), False)


@pytest.mark.slow
def test_a_host_that_misses_the_limits_is_listed_with_them(table):
    fast = table.rows[table.rows["host"] == "fast"]["latency_p50_ms"].min()
    choice = choose_from(table, ChoiceSpec(max_latency_ms=fast * 1.1, percentile=50))
    missed = {h.host: len(h.missed) for h in choice.hosts}
    assert missed == {"fast": 0, "slow": 1, "other": 1}


@pytest.mark.slow
def test_prices_belong_to_hosts_labels_and_machines(table):
    prices = Prices("EUR", (("npu=4000", 0.01), ("fast", 0.5), ("*CPU c*", 0.02)))
    choice = choose_from(table, ChoiceSpec(objective="cost", prices=prices))
    assert [h.host for h in choice.hosts] == ["slow", "other", "fast"]
    assert [h.price_per_hour for h in choice.hosts] == [0.01, 0.02, 0.5]
    for host in choice.hosts:
        expected = host.price_per_hour / host.row["throughput_fps"] / 3600 * 1e6
        assert host.cost.value == pytest.approx(expected)
    assert choice.winner["host"] == "slow"


@pytest.mark.slow
def test_a_host_without_a_price_has_no_cost(table):
    choice = choose_from(table, ChoiceSpec(prices=Prices("EUR", (("slow", 1.0),))))
    assert {h.host: h.cost is None for h in choice.hosts} == {
        "fast": True, "slow": False, "other": True,
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("factor", "note"), [(1.0, "steady"), (0.8, "changed")])
def test_the_anchors_of_a_host_are_a_note(tmp_path, factor, note):
    path = of_host(tmp_path, "fast", FAST, "a")
    (trial, *_) = sweeps.trials((FAST,))
    before = sweeps.measure(trial, (FAST,), noise=0.0)
    names = ("throughput_fps", "throughput_fps_ci_low", "throughput_fps_ci_high")
    slower = {name: before.figures[name] * factor for name in names}
    after = sweeps.measure(trial, (FAST,), figures={**before.figures, **slower})
    load_results([path])
    SweepFolder(path).append([before, after], ANCHORS)
    (found,) = [n for n in load_results([path]).notes if n.id.startswith("host-speed")]
    assert found.id == f"host-speed-{note}"
    assert f"{100 * (factor - 1):+.1f}%" in found.evidence
