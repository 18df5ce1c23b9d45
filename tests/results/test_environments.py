"""Facts of environments and their differences."""

from ovtool.results.environments import compare_facts, flatten_facts


def test_nested_facts_have_dotted_names():
    facts = {"cpu": {"cores": 2, "flags": ["avx", "amx"]}, "host": "h"}
    assert flatten_facts(facts) == [("cpu.cores", "2"), ("cpu.flags", "avx, amx"), ("host", "h")]


def test_differences_of_machine_come_first():
    facts = {"cpu": "X", "kernel": "6.1", "devices": {"GPU": {"name": "Arc", "driver": "1"}}}
    newer = {"kernel": "6.2", "devices": {"GPU": {"name": "Arc", "driver": "2"}}, "cpu": "Y"}
    differences = compare_facts(facts, newer)
    assert [(d.name, d.a, d.b) for d in differences] == [
        ("cpu", "X", "Y"),
        ("kernel", "6.1", "6.2"),
        ("devices.GPU.driver", "1", "2"),
    ]
    assert [d.of_machine for d in differences] == [True, False, False]


def test_fact_of_one_environment_only_is_difference():
    (difference,) = compare_facts({"openvino": "1"}, {})
    assert (difference.a, difference.b) == ("1", None)
