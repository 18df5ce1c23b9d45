from ovtool.system.environment import environment
from ovtool.system.host import Host

DEVICES = {"CPU": {"name": "Example CPU", "plugin": "1"}}


def test_id_depends_on_hardware_and_software_only(monkeypatch):
    one = environment(DEVICES)
    monkeypatch.setattr("os.getloadavg", lambda: (9.0, 8.0, 7.0), raising=False)
    other = environment(DEVICES)
    assert one.id == other.id
    assert other.moment["load_average"] == [9, 8, 7]
    assert other.moment["started"]


def test_clock_and_energy_source_do_not_change_the_id(tree, monkeypatch):
    monkeypatch.setattr(Host, "affinity", lambda _: [0])
    root = tree(
        {
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "2000000\n",
            "sys/class/powercap/intel-rapl:0/name": "package-0\n",
            "sys/class/powercap/intel-rapl:0/energy_uj": "5\n",
            "sys/class/powercap/intel-rapl:0/max_energy_range_uj": "1000\n",
        }
    )
    result = environment(DEVICES, Host(root))
    assert (result.moment["clock_mhz"], result.moment["energy"]) == (2000, "RAPL package-0")
    assert not {"clock_mhz", "energy"} & (set(result.facts) | set(result.unknown))


def test_another_driver_changes_the_id():
    newer = {"CPU": {"name": "Example CPU", "plugin": "2"}}
    assert environment(DEVICES).id != environment(newer).id


def test_environment_has_the_hardware_and_its_unknown_facts(tmp_path):
    result = environment(DEVICES, Host(tmp_path))
    assert result.facts["devices"] == DEVICES
    assert result.facts["versions"]["openvino"]
    assert set(result.unknown) >= {"cpu_flags", "governor", "cgroup_cpus", "clock_mhz", "energy"}
    assert f"{result.facts['usable_cpus']} of {result.facts['logical_cpus']} CPUs" in result.machine
