"""``ovtool methods``."""

from ovtool.compression import registry


def test_methods_lists_every_method_with_its_needs(ovtool):
    listed = {row["name"]: row for row in ovtool("methods", "--json").document}
    assert list(listed) == list(registry.METHODS)
    assert listed["int8"]["needs"] == ["calibration"]
    assert listed["prune-channels"]["extra"] == "pruning"
    out = ovtool("methods").out
    for name, row in listed.items():
        assert name in out
        assert row["summary"].split()[0] in out
    assert "ovtool[pruning]" in out


def test_methods_shows_the_settings_of_a_method(ovtool):
    out = ovtool("methods", "weights").out
    assert all(part in out for part in ("weights: ", "group_size", "int8_asym", "false"))
    settings = {s["name"]: s for s in ovtool("methods", "weights", "--json").document["settings"]}
    assert settings["ratio"]["kind"] == "number or none"
    assert settings["ratio"]["default"] is None


def test_an_unknown_method_is_refused_with_the_closest_name(refused):
    refusal = refused("methods", "weight")
    assert "'weight'" in refusal.error
    assert "weights?" in refusal.hint
