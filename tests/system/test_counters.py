import contextlib
import errno
import hashlib
import os
import subprocess
import sys
import threading
from dataclasses import fields
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovtool.system import cgroups, counters
from ovtool.system.counters import Counters, Reading, parse_pressure, parse_stat
from ovtool.system.host import Host, OpenFile, Unknown

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="Linux has these files")
NAMES = [f.name for f in fields(Reading)]
FILES = ("delay_s", "stalled_s", "quota_wait_s", "throttles", "clock_mhz")
CPU = "sys/devices/system/cpu/"


@pytest.fixture
def opened():
    with contextlib.ExitStack() as stack:
        yield lambda root=Path("/"): stack.enter_context(contextlib.closing(Counters(root)))


def task(thread, waited_ns, ran_ns=10**9):
    return {f"proc/self/task/{thread}/schedstat": f"{ran_ns} {waited_ns} 7\n"}


def tasks(**waited_ns):
    files = {"proc/self/schedstat": "1000000000 5 7\n"}
    for thread, waited in waited_ns.items():
        files |= task(thread.removeprefix("t"), waited)
    return files


def heat(cpu, core, package, package_id=0):
    return {
        f"{CPU}cpu{cpu}/thermal_throttle/core_throttle_count": f"{core}\n",
        f"{CPU}cpu{cpu}/thermal_throttle/package_throttle_count": f"{package}\n",
        f"{CPU}cpu{cpu}/topology/physical_package_id": f"{package_id}\n",
    }


def clock(cpu, khz):
    return {f"{CPU}cpu{cpu}/cpufreq/scaling_cur_freq": f"{khz}\n"}


def open_descriptors():
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


def forget(path):
    for file in path.iterdir():
        file.unlink()
    path.rmdir()


def test_counters_without_the_files_of_linux_are_unknown_with_a_reason(opened, tmp_path):
    read = opened(tmp_path)
    result = read.read()
    for name in FILES:
        assert getattr(result, name) is None
        assert read.unknown[name]
    assert "/proc/pressure/cpu" in read.unknown["stalled_s"]
    assert result.cpu_s > 0
    assert result.busy_s > 0


def test_psutil_replaces_proc_stat_and_missing_steal_time_is_unknown(opened, tmp_path, monkeypatch):
    class Windows:
        user, system, idle, interrupt, dpc = 5.0, 3.0, 90.0, 0.5, 0.25

    monkeypatch.setattr(psutil, "cpu_times", Windows)
    monkeypatch.setattr(sys, "platform", "win32")
    read = opened(tmp_path)
    result = read.read()
    assert (result.busy_s, result.steal_s, result.switches) == (8.0, None, None)
    assert {"steal_s", "switches"} <= set(read.unknown)


def test_busy_time_is_unknown_where_psutil_fails_too(opened, tmp_path, monkeypatch):
    def refuse():
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(psutil, "cpu_times", refuse)
    read = opened(tmp_path)
    assert (read.read().busy_s, read.unknown["busy_s"]) == (None, "Function not implemented")


def test_busy_time_excludes_idle_io_wait_and_steal(monkeypatch):
    monkeypatch.setattr(os, "sysconf", lambda _: 100, raising=False)
    result = parse_stat("cpu  100 20 30 5000 600 7 8 900 55 0\ncpu0 1 2 3 4 5 6 7 8 9 0\n")
    assert result.busy_s == pytest.approx(1.65)
    assert result.steal_s == 9
    assert parse_stat("cpu  100 20 30 5000 600 7 8\n").steal_s is None


@given(st.text())
def test_other_first_line_is_an_error(text):
    with pytest.raises(ValueError, match=r"."):
        parse_stat(f"x{text}")


@given(st.integers(0, 10**15), st.integers(0, 10**15))
def test_stalled_time_is_that_of_some_threads(some_us, full_us):
    line = "avg10=0.04 avg60=0.52 avg300=2.32 total="
    assert parse_pressure(f"some {line}{some_us}\nfull {line}{full_us}\n") == some_us / 1e6
    with pytest.raises(ValueError, match="/proc/pressure/cpu"):
        parse_pressure(f"full {line}{full_us}\n")


def test_counter_that_fails_later_is_none_with_a_reason(opened, tree, monkeypatch):
    read = opened(tree({"proc/pressure/cpu": "some avg10=0 total=5000000\n"}))
    assert read.read().stalled_s == 5
    tree({"proc/pressure/cpu": "nonsense"})
    assert read.read().stalled_s is None
    assert read.unknown["stalled_s"]

    def refuse(*_):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "pread", refuse)
    assert read.read().stalled_s is None
    assert read.unknown["stalled_s"] == "/proc/pressure/cpu: Operation not supported"


def test_delay_is_the_sum_of_the_threads(opened, tree):
    read = opened(tree(tasks(t10=3_000_000_000, t11=500_000_000)))
    assert read.read().delay_s == 3.5
    tree(task(11, 750_000_000) | task(12, 250_000_000))
    assert read.read().delay_s == 4


def test_delay_of_an_ended_thread_is_kept(opened, tree):
    root = tree(tasks(t10=1_000_000_000, t11=2_000_000_000))
    read = opened(root)
    assert read.read().delay_s == 3
    forget(root / "proc/self/task/11")
    assert read.read().delay_s == 3
    tree(task(11, 500_000_000))  # the number is given to a new thread
    assert read.read().delay_s == 3.5


def test_reused_thread_id_is_recognized(opened, tree):
    root = tree(tasks(t10=1_000_000_000, t11=2_000_000_000))
    read = opened(root)
    read.read()
    tree(task(11, 500_000_000))
    assert read.read().delay_s == 3.5


def test_file_of_a_reused_thread_id_is_reopened(opened, tree, monkeypatch):
    """The kernel refuses the old descriptor, whoever has the number now."""
    read = opened(tree(tasks(t10=1_000_000_000, t11=2_000_000_000)))
    assert read.read().delay_s == 3
    really, refused = OpenFile.read, []

    def read_once(file):
        if file.path.parent.name == "11" and not refused:
            refused.append(file)
            raise ProcessLookupError(errno.ESRCH, "No such process", str(file.path))
        return really(file)

    monkeypatch.setattr(OpenFile, "read", read_once)
    tree(task(11, 2_500_000_000))
    assert read.read().delay_s == 5.5
    assert refused


def test_thread_that_ends_during_the_reading_is_ignored(opened, tree, monkeypatch):
    root = tree(tasks(t10=1_000_000_000, t11=2_000_000_000))
    read = opened(root)
    assert read.read().delay_s == 3
    monkeypatch.setattr(os, "listdir", lambda _: ["10", "11", "12"])
    assert read.read().delay_s == 3
    assert "delay_s" not in read.unknown


def test_number_of_open_thread_files_is_limited(opened, tree, monkeypatch):
    monkeypatch.setattr(counters, "_MAX_THREADS", 2)
    closed = []
    really = OpenFile.close
    monkeypatch.setattr(OpenFile, "close", lambda f: (closed.append(f.path), really(f)))
    read = opened(tree(tasks(**{f"t{i}": 10**9 for i in range(5)})))
    assert [read.read().delay_s for _ in range(2)] == [5, 5]
    assert len(closed) == 6


def test_kernel_without_scheduler_statistics_has_no_delay(opened, tree):
    """It writes zeros, which would read as: nothing ever waited."""
    read = opened(tree(task(10, 0, ran_ns=0) | {"proc/self/schedstat": "0 0 0\n"}))
    assert read.read().delay_s is None
    assert read.unknown["delay_s"]


MOUNT = {"proc/self/mountinfo": "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"}


def group(path, cpu_max, throttled_us):
    return {
        f"sys/fs/cgroup/{path}cpu.max": f"{cpu_max}\n",
        f"sys/fs/cgroup/{path}cpu.stat": f"usage_usec 1\nthrottled_usec {throttled_us}\n",
    }


def test_quota_wait_is_that_of_the_groups_with_a_quota(opened, tree):
    files = group("a/b/", "50000 100000", 2_000_000) | group("a/", "max 100000", 64_000_000)
    files |= group("", "150000 100000", 500_000)
    read = opened(tree(MOUNT | {"proc/self/cgroup": "0::/a/b\n"} | files))
    assert read.read().quota_wait_s == 2.5
    tree(group("a/b/", "50000 100000", 3_000_000))
    assert read.read().quota_wait_s == 3.5


def test_quota_wait_is_unknown_without_a_quota(opened, tree):
    files = group("", "max 100000", 0)
    read = opened(tree(MOUNT | {"proc/self/cgroup": "0::/\n"} | files))
    assert read.read().quota_wait_s is None
    assert "CPU quota" in read.unknown["quota_wait_s"]


def test_throttling_is_counted_per_core_and_once_per_package(opened, tree):
    files = heat(0, 1, 100) | heat(1, 2, 100) | heat(2, 4, 1000, 1) | heat(10, 8, 1000, 1)
    read = opened(tree(files))
    assert read.read().throttles == 1 + 2 + 4 + 8 + 100 + 1000
    tree(heat(10, 9, 1000, 1))
    assert read.read().throttles == 1116


def test_large_machine_is_sampled_evenly(opened, tree, monkeypatch):
    monkeypatch.setattr(counters, "_MAX_CPUS", 2)
    files = {}
    for cpu in range(12):
        files |= heat(cpu, 10**cpu, 7, cpu // 6)
    assert opened(tree(files)).read().throttles == 1 + 10**6 + 7 + 7


def test_clock_is_the_mean_of_the_usable_processors(opened, tree, monkeypatch):
    monkeypatch.setattr(Host, "affinity", lambda _: [0, 2])
    root = tree(clock(0, 1_000_000) | clock(1, 9_000_000) | clock(2, 2_000_000))
    assert opened(root).read().clock_mhz == 1500
    monkeypatch.setattr(Host, "affinity", lambda _: Unknown("no affinity"))
    assert opened(root).read().clock_mhz == 4000


@pytest.mark.parametrize("usable", [[0, 1], [7]])
def test_clock_is_unknown_where_a_usable_processor_has_none(opened, tree, monkeypatch, usable):
    """Not that of another, and not the constant of /proc/cpuinfo."""
    monkeypatch.setattr(Host, "affinity", lambda _: usable)
    files = {"proc/cpuinfo": "cpu MHz\t\t: 2500.000\n", f"{CPU}cpu1/online": "1\n"}
    read = opened(tree(clock(0, 1_000_000) | files))
    assert read.read().clock_mhz is None
    assert read.unknown["clock_mhz"]


optional = st.none() | st.floats(0, 1e9)
readings = st.builds(Reading, **dict.fromkeys(NAMES, optional))


@given(readings, readings)
def test_increase_needs_both_readings_and_is_never_negative(earlier, later):
    result = later.since(earlier)
    assert result.clock_mhz == later.clock_mhz
    for name in NAMES[:-1]:
        a, b = getattr(earlier, name), getattr(later, name)
        expected = None if a is None or b is None else max(0.0, b - a)
        assert getattr(result, name) == expected


@LINUX
def test_delay_of_this_machine_never_decreases_with_short_threads(opened):
    read = opened()
    before, files = read.read(), len(open_descriptors())
    for _ in range(20):
        thread = threading.Thread(target=read.read)
        thread.start()
        thread.join()
        now = read.read()
        for name in ("cpu_s", "busy_s", "delay_s", "stalled_s", "switches"):
            a, b = getattr(before, name), getattr(now, name)
            assert (a is None) == (b is None) == (name in read.unknown)
            assert a is None or b >= a
        before = now
    assert len(open_descriptors()) <= files + 1


@LINUX
def test_close_leaves_no_open_file():
    before = open_descriptors()
    read = Counters()
    read.read()
    read.close()
    read.close()
    assert open_descriptors() == before


@LINUX
def test_threads_that_share_a_processor_wait_and_are_switched(opened):
    read = opened()
    if "delay_s" in read.unknown:
        pytest.skip(read.unknown["delay_s"])
    usable, content, enough = os.sched_getaffinity(0), bytes(2**20), threading.Event()

    def work():
        while not enough.is_set():
            hashlib.sha256(content)

    try:
        os.sched_setaffinity(0, {min(usable)})  # of this thread, and of those it starts
        other = threading.Thread(target=work)
        before = read.read()
        other.start()
        while not (spent := read.read().since(before)).delay_s or not spent.switches:
            hashlib.sha256(content)
    finally:
        enough.set()
        os.sched_setaffinity(0, usable)
        other.join()
    assert spent.delay_s > 0
    assert spent.cpu_s > 0


_IN_A_GROUP = """
import sys
from pathlib import Path
Path(sys.argv[1], "cgroup.procs").write_text("0")
from ovtool.system.host import Host
from ovtool.system.counters import Counters
counters = Counters()
before = counters.read()
while not counters.read().since(before).quota_wait_s:
    pass
print(Host().cgroup_cpus())
"""


@pytest.fixture
def group_with_a_quota():
    """A real control group of a fifth of a processor, below our own."""
    try:
        own = cgroups.groups(Path("/"), "cpu")[0]
        folder = own.folder / f"ovtool-test-{os.getpid()}"
        folder.mkdir()
    except (OSError, IndexError) as error:
        pytest.skip(f"no permission to create a control group: {error}")
    try:
        try:
            if own.version == 1:
                (folder / "cpu.cfs_period_us").write_text("50000")
                (folder / "cpu.cfs_quota_us").write_text("10000")
            else:
                (folder / "cpu.max").write_text("10000 50000")
        except OSError as error:
            pytest.skip(f"no quota can be set here: {error}")
        yield folder
    finally:
        folder.rmdir()


@pytest.mark.slow
@LINUX
def test_real_quota_is_read_and_its_wait_is_counted(group_with_a_quota):
    command = [sys.executable, "-c", _IN_A_GROUP, str(group_with_a_quota)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout, done.stderr) == ("0.2\n", "")


def test_own_times_agree_with_a_reading():
    with contextlib.closing(Counters()) as counters:
        before = counters.read()
        sum(range(2_000_000))
        own, after = counters.own(), counters.read()
    assert before.cpu_s < own.cpu_s <= after.cpu_s
    if before.delay_s is None:
        assert own.delay_s == 0
    else:
        assert before.delay_s <= own.delay_s <= after.delay_s
