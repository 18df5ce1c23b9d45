import errno
import os
import sys

import psutil
import pytest

from ovtool.system.host import Host, OpenFile, Unknown, open_files, reason

V2 = {
    "proc/self/cgroup": "0::/\n",
    "proc/self/mountinfo": "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
}


@pytest.fixture
def machine(tree):
    return lambda files: Host(tree(files))


def test_files_that_are_not_there_are_unknown_with_the_reason(tmp_path):
    host = Host(tmp_path)
    for found, path in (
        (host.governor(), "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor is not there"),
        (host.cgroup_cpus(), "/proc/self/cgroup is not there"),
        (host.cgroup_memory_bytes(), "/proc/self/cgroup is not there"),
        (host.oom_kills(), "does not count them"),
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


@pytest.mark.parametrize(("content", "cpus"), [("max 100000\n", None), ("150000 100000\n", 1.5)])
def test_what_a_control_group_allows(machine, content, cpus):
    assert machine(V2 | {"sys/fs/cgroup/cpu.max": content}).cgroup_cpus() == cpus


@pytest.mark.parametrize(("content", "size"), [("max\n", None), ("536870912\n", 2**29)])
def test_what_memory_a_control_group_allows(machine, content, size):
    assert machine(V2 | {"sys/fs/cgroup/memory.max": content}).cgroup_memory_bytes() == size


def test_a_limit_that_is_not_understood_is_unknown_and_not_none(machine):
    host = machine(
        V2 | {"sys/fs/cgroup/cpu.max": "lots 100000", "sys/fs/cgroup/memory.max": "some"}
    )
    for found in (host.cgroup_cpus(), host.cgroup_memory_bytes()):
        assert isinstance(found, Unknown)
        assert "not understood" in found.because


def test_groups_that_are_not_mounted_are_unknown(machine):
    found = machine(V2 | {"proc/self/mountinfo": ""}).cgroup_cpus()
    assert found == Unknown("the control groups of cpu are not mounted")


def test_processes_killed_for_memory_are_those_of_the_group_else_of_the_machine(machine):
    whole = {"proc/vmstat": "oom_kill_disable 9\noom_kill 3\n"}
    assert machine(whole).oom_kills() == 3
    assert machine(V2).oom_kills() == 3, "the root group of version 2 has no such file"
    events = {"sys/fs/cgroup/memory.events": "oom 2\noom_kill 1\n"}
    assert machine(events).oom_kills() == 1


def test_facts_leave_out_what_is_unknown_and_say_why(machine):
    facts, unknown = machine(V2 | {"sys/fs/cgroup/memory.max": str(2**29)}).facts()
    assert set(unknown) == {"cpu_flags", "governor"}
    assert set(unknown).isdisjoint(facts)
    assert facts["cgroup_cpus"] is None
    assert facts["cgroup_memory_gib"] == 0.5
    assert not any(isinstance(value, Unknown) for value in facts.values())


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="not told by this system")
def test_the_usable_processors_are_those_that_the_process_is_tied_to():
    before = os.sched_getaffinity(0)
    one = min(before)
    try:
        os.sched_setaffinity(0, {one})
        assert (Host().affinity(), Host().usable_cpus()) == ([one], 1)
    finally:
        os.sched_setaffinity(0, before)
    assert Host().affinity() == sorted(before)


def test_without_affinity_every_processor_is_usable(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.delattr(psutil.Process, "cpu_affinity", raising=False)
    assert isinstance(Host().affinity(), Unknown)
    assert Host().usable_cpus() == os.cpu_count()


@pytest.mark.skipif(sys.platform != "linux", reason="Linux has control groups")
def test_this_machine_tells_its_limits():
    host = Host()
    assert host.cgroup_cpus() is None or host.cgroup_cpus() > 0
    assert host.cgroup_memory_bytes() is None or host.cgroup_memory_bytes() > 2**20
    assert host.oom_kills() >= 0


def test_a_file_that_stays_open_is_read_anew(tree):
    root = tree({"a": "1"})
    (file,) = open_files([root / "a"])
    assert file.read() == "1"
    tree({"a": "23"})
    assert file.read() == "23"
    file.close()
    with pytest.raises(OSError, match="a'") as caught:
        file.read()
    assert reason(caught.value, root) == "/a: Bad file descriptor"


def test_files_are_opened_all_or_none(tree, monkeypatch):
    root = tree({"a": "1"})
    closed = []
    monkeypatch.setattr(OpenFile, "close", lambda file: closed.append(file.path.name))
    with pytest.raises(FileNotFoundError):
        open_files([root / "a", root / "b"])
    assert closed == ["a"]


def test_this_machine_has_processors_and_memory():
    host = Host()
    assert 1 <= host.usable_cpus() <= psutil.cpu_count()
    assert host.cpu_model()
    assert host.rss_bytes() > 2**20


def test_the_peak_is_that_of_the_process_itself(machine):
    host = machine({"proc/self/status": "Name:\tpython\nVmPeak:\t9999 kB\nVmHWM:\t 2048 kB\n"})
    assert host.peak_rss_bytes() == 2048 * 1024
