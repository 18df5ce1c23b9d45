import errno

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovtool.host import EnergyCounter, Host, Unknown

RAPL = "sys/class/powercap/intel-rapl:0/"


@pytest.fixture
def machine(tmp_path):
    """A machine whose files are written as keyword arguments' values."""

    def make(files):
        for path, content in files.items():
            target = tmp_path / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content)
        return Host(tmp_path)

    return make


def test_files_that_are_not_there_are_unknown_with_the_reason(tmp_path):
    host = Host(tmp_path)
    for found, path in (
        (host.governor(), "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor is not there"),
        (host.cgroup_cpus(), "/sys/fs/cgroup/cpu.max is not there"),
        (host.energy(), f"/{RAPL}energy_uj is not there"),
        (host.cpu_flags(), "no /proc/cpuinfo"),
    ):
        assert isinstance(found, Unknown)
        assert path in found.because


def test_a_file_that_may_not_be_read_is_unknown_with_the_reason(machine, monkeypatch):
    host = machine({RAPL + "energy_uj": "5", RAPL + "max_energy_range_uj": "9"})

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_text", refuse)
    assert host.energy() == Unknown(f"/{RAPL}energy_uj: Permission denied")


def test_the_processor_tells_its_name_and_instruction_sets(machine):
    host = machine(
        {
            "proc/cpuinfo": "processor\t: 0\nmodel name\t: Example CPU @ 2 GHz\n"
            "flags\t\t: fpu sse4_2 avx2 avx512f amx_int8 avx512_vnni hypervisor\n"
        }
    )
    assert host.cpu_model() == "Example CPU @ 2 GHz"
    assert host.cpu_flags() == ["amx_int8", "avx2", "avx512_vnni", "avx512f", "sse4_2"]


def test_the_governor(machine):
    path = "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
    assert machine({path: "powersave\n"}).governor() == "powersave"


@pytest.mark.parametrize(
    ("content", "cpus"), [("max 100000\n", None), ("150000 100000\n", 1.5), ("50000\n", 0.5)]
)
def test_what_a_control_group_allows(machine, content, cpus):
    assert machine({"sys/fs/cgroup/cpu.max": content}).cgroup_cpus() == cpus


def test_energy_is_read_with_the_range_at_which_it_wraps(machine):
    host = machine({RAPL + "energy_uj": "123\n", RAPL + "max_energy_range_uj": "1000\n"})
    assert host.energy() == EnergyCounter(123, 1000)


def test_energy_without_its_range_is_unknown(machine):
    """A difference across the wrap could not be told from a negative one."""
    found = machine({RAPL + "energy_uj": "123\n"}).energy()
    assert found == Unknown(f"/{RAPL}max_energy_range_uj is not there")


@given(st.integers(1, 10**12), st.data())
def test_energy_is_counted_across_a_wrap(top, data):
    start = data.draw(st.integers(0, top - 1))
    spent = data.draw(st.integers(0, top - 1))
    later = EnergyCounter((start + spent) % top, top)
    assert later.since(EnergyCounter(start, top)) == pytest.approx(spent / 1e6)


def test_facts_leave_out_what_is_unknown_and_say_why(machine):
    facts, unknown = machine({"sys/fs/cgroup/cpu.max": "max 100000"}).facts()
    assert set(unknown) == {"cpu_flags", "governor"}
    assert set(unknown).isdisjoint(facts)
    assert facts["cgroup_cpus"] is None
    assert not any(isinstance(value, Unknown) for value in facts.values())


def test_the_clock_is_unknown_where_the_system_does_not_tell(monkeypatch):
    monkeypatch.setattr(psutil, "cpu_freq", lambda: None)
    assert isinstance(Host().clock_mhz(), Unknown)

    def refuse():
        raise NotImplementedError("can't find current frequency file")

    monkeypatch.setattr(psutil, "cpu_freq", refuse)
    assert Host().clock_mhz() == Unknown("can't find current frequency file")


def test_this_machine_has_processors_that_work():
    host = Host()
    before = host.cpu_times()
    sum(i * i for i in range(3_000_000))
    after = host.cpu_times()
    assert after.busy_s > before.busy_s
    assert after.steal_s >= before.steal_s
    assert 1 <= host.usable_cpus() <= psutil.cpu_count()
    assert host.cpu_model()


def test_the_peak_is_that_of_the_process_itself(machine):
    host = machine({"proc/self/status": "Name:\tpython\nVmPeak:\t9999 kB\nVmHWM:\t 2048 kB\n"})
    assert host.peak_rss_bytes() == 2048 * 1024
