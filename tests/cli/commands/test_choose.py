"""``ovtool choose``."""

import pytest


@pytest.mark.slow
def test_choose_prints_the_recommendation(ovtool, swept):
    document = ovtool("choose", swept, "--objective", "latency", "--json").document
    assert document["winner"]["batch"] == 1
    assert document["properties"] == {"PERFORMANCE_HINT": "LATENCY"}
    out = ovtool("choose", swept, "--objective", "latency").out
    assert document["headline"].split()[1] in out
    explained = ovtool("choose", swept, "--objective", "latency", "--explain").out
    assert '{"PERFORMANCE_HINT": "LATENCY"}' in explained
    assert all(runner["label"] in explained for runner in document["runners_up"])


@pytest.mark.slow
def test_snippet_is_the_only_output(ovtool, swept):
    ran = ovtool("choose", swept, "--snippet")
    assert ran.out == ovtool("choose", swept, "--json").document["snippet"]
    compile(ran.out, "snippet", "exec")
    assert ran.err == ""


@pytest.mark.slow
def test_front_is_a_table_with_its_size(ovtool, swept):
    out = ovtool("choose", swept, "--front").out
    front = ovtool("choose", swept, "--json").document["front"]
    assert f"{len(front['rows'])} of {front['compared']} rows" in out
    assert "energy" in out


@pytest.mark.slow
@pytest.mark.parametrize(
    "limits",
    [
        ["--max-latency-ms", "0.001"],
        ["--min-throughput-fps", "1e6"],
        ["--max-latency-ms", "0.001", "--percentile", "50"],
        ["--max-latency-ms", "3", "--max-model-mib", "0.1", "--min-quality", "0.99"],
        ["--max-drop", "0", "--max-memory-mib", "1"],
    ],
)
def test_a_limit_that_no_row_meets_names_the_options_of_the_nearest(ovtool, swept, limits):
    ran = ovtool("choose", swept, *limits)
    assert (ran.status, ran.out) == (1, "")
    assert len(ran.errors) == 2
    nearest = ovtool("choose", swept, *limits, "--json").document["nearest"]
    options = nearest["options"].split()
    assert options[0] in limits
    assert nearest["options"] in ran.errors[1]
    again = ovtool("choose", swept, *options, "--json")
    assert again.status == 0
