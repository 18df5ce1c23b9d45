"""``ovtool methods``."""

from ovtool.compression import registry


def test_methods_lists_every_method_with_its_needs(ovtool):
    listed = {row["name"]: row for row in ovtool("methods", "--json").document["methods"]}
    assert list(listed) == list(registry.METHODS)
    assert listed["int8"]["needs"] == ["calibration"]
    assert listed["prune-channels"]["extra"] == "pruning"
    out = ovtool("methods").out
    lines = [line.split() for line in out.splitlines()]
    assert [words[0] for words in lines if len(words) == 1] == list(registry.GROUPS)
    rows = {words[0]: words for words in lines if len(words) > 1}
    assert rows.keys() == listed.keys()
    assert rows["qat"][-2:] == ["[calibration,", "network]"]
    assert max(map(len, out.splitlines())) <= 80


def test_a_method_of_an_extra_names_it(ovtool):
    assert "ovtool[pruning]" in ovtool("methods", "prune-channels").out


def test_methods_shows_the_settings_of_a_method(ovtool):
    out = ovtool("methods", "weights").out
    assert all(part in out for part in ("weights: ", "group_size", "int8_asym", "false"))
    (method,) = ovtool("methods", "weights", "--json").document["methods"]
    settings = {s["name"]: s for s in method["settings"]}
    assert settings["ratio"]["kind"] == "number or none"
    assert settings["ratio"]["default"] is None


def test_an_unknown_method_is_refused_with_the_closest_name(refused):
    refusal = refused("methods", "weight")
    assert "'weight'" in refusal.error
    assert "weights?" in refusal.hint
