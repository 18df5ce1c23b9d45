import errno

import psutil
import pytest

from ovtool.host import Host, Unknown


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
        (host.cpu_flags(), "no /proc/cpuinfo"),
    ):
        assert isinstance(found, Unknown)
        assert path in found.because


def test_a_file_that_may_not_be_read_is_unknown_with_the_reason(machine, monkeypatch):
    path = "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
    host = machine({path: "powersave"})

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_text", refuse)
    assert host.governor() == Unknown(f"/{path}: Permission denied")


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


V1 = {"proc/self/cgroup": "4:memory:/a/b\n1:cpu,cpuacct:/a/b\n0::/\n"}
V2 = {"proc/self/cgroup": "0::/a/b\n"}
ROOT = "sys/fs/cgroup/"


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        (V2 | {ROOT + "a/b/cpu.max": "max 100000", ROOT + "a/cpu.max": "150000 100000"}, 1.5),
        (V2 | {ROOT + "a/b/cpu.max": "50000 100000", ROOT + "a/cpu.max": "150000 100000"}, 0.5),
        (V2 | {ROOT + "a/b/cpu.max": "max 100000"}, None),
        (V2 | {ROOT + "cpu.max": "200000 100000"}, 2.0),
        (
            V1
            | {
                ROOT + "cpu,cpuacct/a/b/cpu.cfs_quota_us": "1",
                ROOT + "cpu/a/b/cpu.cfs_quota_us": "50000",
                ROOT + "cpu/a/b/cpu.cfs_period_us": "100000",
                ROOT + "cpu/cpu.cfs_quota_us": "-1",
            },
            0.5,
        ),
        (V1 | {ROOT + "cpu/cpu.cfs_quota_us": "-1"}, None),
    ],
    ids=["above", "own", "none", "a container's root", "v1", "v1, none"],
)
def test_the_tightest_quota_of_all_groups_counts(machine, files, cpus):
    assert machine(files).cgroup_cpus() == cpus


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        (V2 | {ROOT + "a/b/memory.max": "max", ROOT + "a/memory.max": "1000"}, 1000),
        (V2 | {ROOT + "a/b/memory.max": "max"}, None),
        (V1 | {ROOT + "memory/a/memory.limit_in_bytes": "2000"}, 2000),
        (V1 | {ROOT + "memory/memory.limit_in_bytes": "9223372036854771712"}, None),
    ],
)
def test_the_memory_that_groups_allow(machine, files, limit):
    assert machine(files).cgroup_memory_bytes() == limit


@pytest.mark.parametrize(
    ("files", "kills"),
    [
        (V2 | {ROOT + "a/b/memory.events": "low 0\noom 3\noom_kill 2\n"}, 2),
        (V1 | {ROOT + "memory/a/b/memory.oom_control": "under_oom 0\noom_kill 4\n"}, 4),
        ({"proc/vmstat": "pgfault 1\noom_kill 7\n"}, 7),
    ],
)
def test_how_many_processes_the_kernel_ended_for_memory(machine, files, kills):
    assert machine(files).oom_kills() == kills


def test_without_control_groups_there_is_the_reason(tmp_path):
    host = Host(tmp_path)
    for found in (host.cgroup_cpus(), host.cgroup_memory_bytes()):
        assert found == Unknown("/proc/self/cgroup is not there")
    assert isinstance(host.oom_kills(), Unknown)


def test_facts_leave_out_what_is_unknown_and_say_why(machine):
    facts, unknown = machine(V2 | {ROOT + "cpu.max": "max 100000"}).facts()
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


def test_this_machine_has_processors_and_memory():
    host = Host()
    assert 1 <= host.usable_cpus() <= psutil.cpu_count()
    assert host.cpu_model()
    assert host.rss_bytes() > 2**20


def test_the_peak_is_that_of_the_process_itself(machine):
    host = machine({"proc/self/status": "Name:\tpython\nVmPeak:\t9999 kB\nVmHWM:\t 2048 kB\n"})
    assert host.peak_rss_bytes() == 2048 * 1024
