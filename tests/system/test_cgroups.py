import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovtool.system import cgroups

V2_MOUNT = "31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
V1_MOUNTS = (
    "23 1 8:1 / / rw - ext4 /dev/root rw\n"
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:3 - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
)
CPU = "sys/fs/cgroup/cpu,cpuacct/"
NONE_V1 = "9223372036854771712\n"


def v2(path, mounts=V2_MOUNT):
    return {"proc/self/cgroup": f"0::{path}\n", "proc/self/mountinfo": mounts}


def v1(path, mounts=V1_MOUNTS):
    return {
        "proc/self/cgroup": f"5:memory:{path}\n4:cpu,cpuacct:{path}\n1:name=systemd:/x\n0::/y\n",
        "proc/self/mountinfo": mounts,
    }


def quota(folder, quota_us, period_us=100_000):
    return {
        f"{folder}cpu.cfs_quota_us": f"{quota_us}\n",
        f"{folder}cpu.cfs_period_us": f"{period_us}\n",
    }


@pytest.mark.parametrize(
    ("own", "parent", "tightest"),
    [
        ("max 100000", "max 100000", None),
        ("150000 100000", "max 100000", 1.5),
        ("max 100000", "50000", 0.5),
        ("300000 100000", "20000 10000", 2.0),
        ("100000 100000", "20000 10000", 1.0),
    ],
)
def test_smallest_quota_of_group_and_ancestors_applies(tree, own, parent, tightest):
    files = {"sys/fs/cgroup/a/cpu.max": parent, "sys/fs/cgroup/a/b/cpu.max": own}
    assert cgroups.cpus(tree(v2("/a/b") | files)) == tightest


def test_group_without_the_controller_has_no_limit(tree):
    files = {"sys/fs/cgroup/a/cpu.max": "200000 100000", "sys/fs/cgroup/a/b/cgroup.procs": "1\n"}
    assert cgroups.cpus(tree(v2("/a/b") | files)) == 2


@pytest.mark.parametrize(
    ("own", "parent", "tightest"), [(-1, -1, None), (50_000, -1, 0.5), (200_000, 150_000, 1.5)]
)
def test_version_1_has_minus_1_for_no_quota(tree, own, parent, tightest):
    files = quota(CPU, -1) | quota(f"{CPU}a/", parent) | quota(f"{CPU}a/b/", own)
    assert cgroups.cpus(tree(v1("/a/b") | files)) == tightest


def test_hybrid_system_reads_a_version_1_controller(tree):
    mounts = V1_MOUNTS + V2_MOUNT.replace("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
    files = {"sys/fs/cgroup/unified/y/cpu.max": "100 100000"} | quota(CPU, 300_000)
    assert cgroups.cpus(tree(v1("/", mounts) | files)) == 3


def test_hybrid_system_reads_the_rest_from_version_2(tree):
    mounts = V1_MOUNTS + V2_MOUNT.replace("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
    files = {"sys/fs/cgroup/unified/y/cpu.max": "50000 100000"}
    without = {"proc/self/cgroup": "5:memory:/\n0::/y\n", "proc/self/mountinfo": mounts}
    assert cgroups.cpus(tree(without | files)) == 0.5


@pytest.mark.parametrize("path", ["/docker/0123", "/../host.slice"])
def test_path_outside_the_mount_is_the_root_of_the_mount(tree, path):
    assert cgroups.cpus(tree(v2(path) | {"sys/fs/cgroup/cpu.max": "50000 100000"})) == 0.5
    assert cgroups.cpus(tree(v1(path) | quota(CPU, 150_000))) == 1.5


def test_mount_of_a_subtree(tree):
    mounts = V1_MOUNTS.replace("0:29 / ", "0:29 /docker/0123 ")
    files = quota(CPU, 400_000) | quota(f"{CPU}job/", 300_000)
    assert cgroups.cpus(tree(v1("/docker/0123/job", mounts) | files)) == 3
    assert cgroups.cpus(tree(v1("/docker/0123", mounts) | files)) == 4


def test_mount_above_the_namespace_is_ignored(tree):
    root = tree(v2("/", V2_MOUNT.replace("0:28 / ", "0:28 /../.. ")))
    with pytest.raises(FileNotFoundError, match="cpu"):
        cgroups.cpus(root)


def test_mount_point_with_a_space(tree):
    mounts = V2_MOUNT.replace("/sys/fs/cgroup", r"/mnt/control\040groups")
    assert cgroups.cpus(tree(v2("/", mounts) | {"mnt/control groups/cpu.max": "5 10"})) == 0.5


def test_system_without_the_controller_has_no_limit(tree):
    assert cgroups.cpus(tree({"proc/self/cgroup": "1:name=systemd:/\n"})) is None


@pytest.mark.parametrize(
    ("own", "parent", "tightest"),
    [("max", "max", None), ("1048576", "max", 2**20), ("4194304", "2097152", 2**21)],
)
def test_smallest_memory_limit_applies(tree, own, parent, tightest):
    files = {"sys/fs/cgroup/a/memory.max": parent, "sys/fs/cgroup/a/b/memory.max": own}
    assert cgroups.memory_bytes(tree(v2("/a/b") | files)) == tightest


def test_version_1_has_a_huge_number_for_no_memory_limit(tree):
    name = "memory.limit_in_bytes"
    root = tree(v1("/a") | {f"sys/fs/cgroup/memory/{n}": NONE_V1 for n in (name, f"a/{name}")})
    assert cgroups.memory_bytes(root) is None
    tree({f"sys/fs/cgroup/memory/{name}": "1048576\n"})
    assert cgroups.memory_bytes(root) == 2**20


def test_oom_kills_are_those_of_the_nearest_group_with_a_counter(tree):
    root = tree(v2("/a/b") | {"sys/fs/cgroup/a/memory.events": "oom 5\noom_kill 4\n"})
    (root / "sys/fs/cgroup/a/b").mkdir()
    assert cgroups.oom_kills(root) == 4
    tree({"sys/fs/cgroup/a/b/memory.events": "oom_kill 0\n"})
    assert cgroups.oom_kills(root) == 0


def test_version_1_counts_oom_kills_since_linux_4_13(tree):
    path = "sys/fs/cgroup/memory/memory.oom_control"
    root = tree(v1("/") | {path: "oom_kill_disable 0\nunder_oom 0\n"})
    assert cgroups.oom_kills(root) is None
    tree({path: "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"})
    assert cgroups.oom_kills(root) == 2


def test_throttled_time_is_in_seconds_in_both_versions(tree):
    one = cgroups.Group(tree({}), 1)
    two = cgroups.Group(tree({}), 2)
    assert one.throttled_s("nr_throttled 3\nthrottled_time 1500000000\n") == 1.5
    assert two.throttled_s("nr_throttled 3\nthrottled_usec 1500000\n") == 1.5
    with pytest.raises(ValueError, match="throttled_usec"):
        two.throttled_s("usage_usec 5\n")


@given(
    st.dictionaries(
        st.text("abcdefgh_", min_size=1, max_size=9), st.integers(0, 2**63), min_size=1
    ),
    st.data(),
)
def test_number_is_matched_by_its_whole_name(numbers, data):
    content = "".join(f"{name} {value}\n" for name, value in numbers.items())
    name = data.draw(st.sampled_from(sorted(numbers)))
    assert cgroups.parse_keyed(content, name) == numbers[name]
    assert cgroups.parse_keyed(content, f"{name}x") is None


@given(st.lists(st.none() | st.integers(1_000, 10**7), min_size=1, max_size=6))
def test_smallest_limit_of_any_chain_is_the_minimum(tmp_path_factory, quotas):
    root = tmp_path_factory.mktemp("root")
    folder = root / "sys/fs/cgroup"
    for depth, quota_us in enumerate(quotas):
        folder = folder / f"g{depth}" if depth else folder
        folder.mkdir(parents=True)
        (folder / "cpu.max").write_text(f"{quota_us or 'max'} 100000\n")
    path = folder.relative_to(root / "sys/fs/cgroup").as_posix().removeprefix(".")
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(f"0::/{path}\n")
    (root / "proc/self/mountinfo").write_text(V2_MOUNT)
    limits = [quota_us / 100_000 for quota_us in quotas if quota_us]
    assert cgroups.cpus(root) == (min(limits) if limits else None)
    assert len(cgroups.cpu_quotas(root)) == len(limits)
