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


def test_missing_files_are_unknown_with_a_reason(tmp_path):
    host = Host(tmp_path)
    for result, path in (
        (host.governor(), "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        (host.cgroup_cpus(), "/proc/self/cgroup"),
        (host.cgroup_memory_bytes(), "/proc/self/cgroup"),
        (host.oom_kills(), ""),
        (host.cpu_flags(), "/proc/cpuinfo"),
    ):
        assert isinstance(result, Unknown)
        assert path in result.because


def test_file_without_permission_is_unknown_with_a_reason(machine, monkeypatch):
    path = "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
    host = machine({path: "powersave"})

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_text", refuse)
    assert host.governor() == Unknown(f"/{path}: Permission denied")


def test_processor_name_and_instruction_sets(machine):
    host = machine(
        {
            "proc/cpuinfo": "processor\t: 0\nmodel name\t: Example CPU @ 2 GHz\n"
            "flags\t\t: fpu sse4_2 avx2 avx512f amx_int8 avx512_vnni hypervisor\n"
        }
    )
    assert host.cpu_model() == "Example CPU @ 2 GHz"
    assert host.cpu_flags() == ["amx_int8", "avx2", "avx512_vnni", "avx512f", "sse4_2"]


def test_governor(machine):
    path = "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
    assert machine({path: "powersave\n"}).governor() == "powersave"


@pytest.mark.parametrize(("content", "cpus"), [("max 100000\n", None), ("150000 100000\n", 1.5)])
def test_cpu_quota_of_a_control_group(machine, content, cpus):
    assert machine(V2 | {"sys/fs/cgroup/cpu.max": content}).cgroup_cpus() == cpus


@pytest.mark.parametrize(("content", "size"), [("max\n", None), ("536870912\n", 2**29)])
def test_memory_limit_of_a_control_group(machine, content, size):
    assert machine(V2 | {"sys/fs/cgroup/memory.max": content}).cgroup_memory_bytes() == size


def test_invalid_limit_is_unknown(machine):
    host = machine(
        V2 | {"sys/fs/cgroup/cpu.max": "lots 100000", "sys/fs/cgroup/memory.max": "some"}
    )
    for result in (host.cgroup_cpus(), host.cgroup_memory_bytes()):
        assert isinstance(result, Unknown)
        assert result.because


def test_unmounted_groups_are_unknown(machine):
    result = machine(V2 | {"proc/self/mountinfo": ""}).cgroup_cpus()
    assert result == Unknown("the control groups of cpu are not mounted")


def test_oom_kills_are_those_of_the_group_else_of_the_machine(machine):
    whole = {"proc/vmstat": "oom_kill_disable 9\noom_kill 3\n"}
    assert machine(whole).oom_kills() == 3
    assert machine(V2).oom_kills() == 3, "the root group of version 2 has no such file"
    events = {"sys/fs/cgroup/memory.events": "oom 2\noom_kill 1\n"}
    assert machine(events).oom_kills() == 1


def test_unknown_facts_have_a_reason(machine):
    facts, unknown = machine(V2 | {"sys/fs/cgroup/memory.max": str(2**29)}).facts()
    assert set(unknown) == {"cpu_flags", "governor"}
    assert set(unknown).isdisjoint(facts)
    assert facts["cgroup_cpus"] is None
    assert facts["cgroup_memory_gib"] == 0.5
    assert not any(isinstance(value, Unknown) for value in facts.values())


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system has no affinity")
def test_usable_processors_follow_the_affinity():
    before = os.sched_getaffinity(0)
    one = min(before)
    try:
        os.sched_setaffinity(0, {one})
        assert (Host().affinity(), Host().usable_cpus()) == ([one], 1)
    finally:
        os.sched_setaffinity(0, before)
    assert Host().affinity() == sorted(before)


def test_all_processors_are_usable_without_affinity(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.delattr(psutil.Process, "cpu_affinity", raising=False)
    assert isinstance(Host().affinity(), Unknown)
    assert Host().usable_cpus() == os.cpu_count()


@pytest.mark.skipif(sys.platform != "linux", reason="Linux has control groups")
def test_limits_of_this_machine():
    host = Host()
    assert host.cgroup_cpus() is None or host.cgroup_cpus() > 0
    assert host.cgroup_memory_bytes() is None or host.cgroup_memory_bytes() > 2**20
    assert host.oom_kills() >= 0


def test_open_file_is_read_again(tree):
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


def test_processors_and_memory_of_this_machine():
    host = Host()
    assert 1 <= host.usable_cpus() <= psutil.cpu_count()
    assert host.cpu_model()
    assert host.rss_bytes() > 2**20


def test_peak_is_that_of_the_process(machine):
    host = machine({"proc/self/status": "Name:\tpython\nVmPeak:\t9999 kB\nVmHWM:\t 2048 kB\n"})
    assert host.peak_rss_bytes() == 2048 * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="the descriptors are counted in /proc")
def test_an_open_file_is_closed_with_its_owner(tmp_path):
    (tmp_path / "stat").write_text("x")
    process = psutil.Process()
    before = process.num_fds()
    file = OpenFile(tmp_path / "stat")
    assert file.read() == "x"
    assert process.num_fds() == before + 1
    del file
    assert process.num_fds() == before
    with pytest.raises(FileNotFoundError):
        OpenFile(tmp_path / "missing")
