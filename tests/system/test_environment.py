from ovtool.system.environment import environment
from ovtool.system.host import Host

DEVICES = {"CPU": {"name": "Example CPU", "plugin": "1"}}


def test_the_same_machine_and_software_have_one_id_whatever_the_moment(monkeypatch):
    one = environment(DEVICES)
    monkeypatch.setattr("os.getloadavg", lambda: (9.0, 8.0, 7.0), raising=False)
    other = environment(DEVICES)
    assert one.id == other.id
    assert other.moment["load_average"] == [9, 8, 7]
    assert other.moment["started"]


def test_the_clock_and_the_source_of_energy_are_of_the_moment(tree, monkeypatch):
    monkeypatch.setattr(Host, "affinity", lambda _: [0])
    root = tree(
        {
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "2000000\n",
            "sys/class/powercap/intel-rapl:0/name": "package-0\n",
            "sys/class/powercap/intel-rapl:0/energy_uj": "5\n",
            "sys/class/powercap/intel-rapl:0/max_energy_range_uj": "1000\n",
        }
    )
    found = environment(DEVICES, Host(root))
    assert (found.moment["clock_mhz"], found.moment["energy"]) == (2000, "RAPL package-0")
    assert not {"clock_mhz", "energy"} & (set(found.facts) | set(found.unknown))


def test_another_driver_is_another_environment():
    newer = {"CPU": {"name": "Example CPU", "plugin": "2"}}
    assert environment(DEVICES).id != environment(newer).id


def test_it_says_what_the_machine_is_and_what_it_does_not_tell(tmp_path):
    found = environment(DEVICES, Host(tmp_path))
    assert found.facts["devices"] == DEVICES
    assert found.facts["versions"]["openvino"]
    assert set(found.unknown) >= {"cpu_flags", "governor", "cgroup_cpus", "clock_mhz", "energy"}
    assert f"{found.facts['usable_cpus']} of {found.facts['logical_cpus']} CPUs" in found.machine
