from ovtool.host import Host, Unknown
from ovtool.measure.environment import environment

DEVICES = {"CPU": {"name": "Example CPU", "plugin": "1"}}


def test_the_same_machine_and_software_have_one_id_whatever_the_moment(monkeypatch):
    one = environment(DEVICES)
    monkeypatch.setattr(Host, "clock_mhz", lambda _: Unknown("not told"))
    other = environment(DEVICES)
    assert one.id == other.id
    assert other.unknown["clock_mhz"] == "not told"
    assert "clock_mhz" not in other.moment
    assert other.moment["started"]


def test_another_driver_is_another_environment():
    newer = {"CPU": {"name": "Example CPU", "plugin": "2"}}
    assert environment(DEVICES).id != environment(newer).id


def test_it_says_what_the_machine_is_and_what_it_does_not_tell(tmp_path):
    found = environment(DEVICES, Host(tmp_path))
    assert found.facts["devices"] == DEVICES
    assert found.facts["versions"]["openvino"]
    assert set(found.unknown) >= {"cpu_flags", "governor", "cgroup_cpus"}
    assert f"{found.facts['usable_cpus']} of {found.facts['logical_cpus']} CPUs" in found.machine
