import os
import sys
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovtool.measure.counters import Counters, Reading, since

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells these")
CPU = "sys/devices/system/cpu/"


@pytest.fixture
def machine(tmp_path):
    """Counters of a machine whose files are given, and a way to change them."""
    made = []

    def write(files):
        for path, content in files.items():
            target = tmp_path / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content)

    def make(files):
        write(files)
        made.append(Counters(tmp_path))
        return made[-1], write

    yield make
    for counters in made:
        counters.close()


def test_what_is_not_there_is_none_with_the_reason(machine):
    counters, _ = machine({})
    read = counters.read()
    assert read.cpu_s > 0
    for name in ("busy_s", "delay_s", "stalled_s", "quota_wait_s", "throttles", "clock_mhz"):
        assert getattr(read, name) is None, name
        assert counters.why[name], name
    assert read.steal_s is None


def test_the_machine_is_busy_with_all_but_waiting(machine):
    counters, _ = machine({"proc/stat": "cpu  100 20 30 9999 888 4 6 50 7 7\ncpu0 1 2 3\n"})
    read = counters.read()
    assert read.busy_s == pytest.approx(1.6)
    assert read.steal_s == pytest.approx(0.5)


def test_pressure_is_that_of_some_task(machine):
    line = "some avg10=0.00 avg60=0.05 avg300=0.10 total=2500000\nfull avg10=0 total=7\n"
    counters, write = machine({"proc/pressure/cpu": line})
    assert counters.read().stalled_s == 2.5
    write({"proc/pressure/cpu": line.replace("2500000", "3000000")})
    assert counters.read().stalled_s == 3.0, "the file is read anew"


def test_the_delay_of_a_thread_that_ended_stays_counted(machine, tmp_path):
    counters, write = machine(
        {
            "proc/self/task/1/schedstat": "900 1000000000 5\n",
            "proc/self/task/2/schedstat": "900 500000000 5\n",
        }
    )
    assert counters.read().delay_s == 1.5
    (tmp_path / "proc/self/task/2/schedstat").unlink()
    (tmp_path / "proc/self/task/2").rmdir()
    write({"proc/self/task/1/schedstat": "900 1250000000 6\n"})
    assert counters.read().delay_s == 1.75
    write({"proc/self/task/3/schedstat": "0 250000000 1\n"})
    assert counters.read().delay_s == 2.0
    assert counters.own()[1] == 2.0


V1 = {"proc/self/cgroup": "2:cpuacct:/\n1:cpu:/a/b\n0::/\n"}
V2 = {"proc/self/cgroup": "0::/a/b\n"}


@pytest.mark.parametrize(
    ("files", "waited"),
    [
        (
            V1
            | {
                "sys/fs/cgroup/cpu/a/b/cpu.cfs_quota_us": "50000",
                "sys/fs/cgroup/cpu/a/b/cpu.cfs_period_us": "100000",
                "sys/fs/cgroup/cpu/a/b/cpu.stat": "nr_periods 9\nnr_throttled 3\nthrottled_time"
                " 1500000000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
            },
            1.5,
        ),
        (
            V2
            | {
                "sys/fs/cgroup/a/cpu.max": "50000 100000",
                "sys/fs/cgroup/a/cpu.stat": "usage_usec 1\nnr_throttled 3\nthrottled_usec 250000\n",
                "sys/fs/cgroup/a/b/cpu.max": "max 100000",
            },
            0.25,
        ),
    ],
    ids=["v1", "v2, of a group above"],
)
def test_the_wait_for_a_quota(machine, files, waited):
    counters, _ = machine(files)
    assert counters.read().quota_wait_s == waited


def test_without_a_quota_nothing_is_waited_for(machine):
    counters, _ = machine(V2 | {"sys/fs/cgroup/a/b/cpu.max": "max 100000"})
    assert counters.read().quota_wait_s is None
    assert "quota" in counters.why["quota_wait_s"]


def test_cores_throttle_each_and_their_package_once(machine):
    files = {}
    for cpu in range(4):
        files[f"{CPU}cpu{cpu}/thermal_throttle/core_throttle_count"] = "2\n"
        files[f"{CPU}cpu{cpu}/thermal_throttle/package_throttle_count"] = "5\n"
        files[f"{CPU}cpu{cpu}/topology/physical_package_id"] = f"{cpu // 2}\n"
    counters, _ = machine(files)
    assert counters.read().throttles == 4 * 2 + 2 * 5


def test_the_clock_is_the_mean_of_the_usable_processors(machine):
    usable = sorted(os.sched_getaffinity(0))
    files = {f"{CPU}cpu{c}/cpufreq/scaling_cur_freq": f"{2_000_000 + c}\n" for c in range(64)}
    counters, _ = machine(files)
    assert counters.read().clock_mhz == pytest.approx(2000 + sum(usable) / len(usable) / 1000)


counts = st.one_of(st.none(), st.floats(0, 1e9))
readings = st.builds(Reading, *[counts] * 9)


@given(readings, readings)
def test_a_difference_is_never_negative_and_unknown_where_either_is(later, earlier):
    found = since(later, earlier)
    for name in Reading.__slots__:
        a, b, difference = (getattr(r, name) for r in (later, earlier, found))
        if name == "clock_mhz":
            assert difference == a
        elif a is None or b is None:
            assert difference is None
        else:
            assert difference == max(0, a - b)


@linux
def test_on_linux_a_busy_thread_spends_cpu_time():
    counters = Counters()
    before = counters.read()
    ended = threading.Event()

    def burn():
        while not ended.is_set():
            sum(range(1000))

    thread = threading.Thread(target=burn)
    thread.start()
    until = time.perf_counter() + 0.2
    while time.perf_counter() < until:
        sum(range(1000))
    ended.set()
    thread.join()
    spent = since(counters.read(), before)
    counters.close()
    assert spent.cpu_s > 0.05
    assert spent.delay_s is not None
    assert spent.delay_s >= 0
    assert spent.switches is not None
