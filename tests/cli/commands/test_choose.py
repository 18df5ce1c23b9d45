"""``ovtool choose``."""


def test_choose_prints_the_recommendation(ovtool, swept):
    document = ovtool("choose", swept, "--objective", "latency", "--json").document
    assert document["winner"]["batch"] == 1
    assert document["properties"] == {"PERFORMANCE_HINT": "LATENCY"}
    out = ovtool("choose", swept, "--objective", "latency").out
    assert document["headline"].split()[1] in out
    explained = ovtool("choose", swept, "--objective", "latency", "--explain").out
    assert '{"PERFORMANCE_HINT": "LATENCY"}' in explained
    assert all(runner["label"] in explained for runner in document["runners_up"])


def test_snippet_is_the_only_output(ovtool, swept):
    ran = ovtool("choose", swept, "--snippet")
    assert ran.out == ovtool("choose", swept, "--json").document["snippet"]
    compile(ran.out, "snippet", "exec")
    assert ran.err == ""


def test_front_is_a_table_with_its_size(ovtool, swept):
    out = ovtool("choose", swept, "--front").out
    front = ovtool("choose", swept, "--json").document["front"]
    assert f"{len(front['rows'])} of {front['compared']} rows" in out
    assert "energy" in out
