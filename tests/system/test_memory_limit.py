"""The memory limit: its size, and what an allocation beyond it becomes."""

import subprocess
import sys

import psutil
import pytest

from ovtool.core.errors import InputError
from ovtool.system import memory_limit
from ovtool.system.host import Host

linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux only")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8 GiB", 8 * 2**30),
        ("1.5gib", 3 * 2**29),
        ("500MB", 500_000_000),
        ("512 MiB", 2**29),
        ("none", None),
        ("None", None),
        ("99999999999999999 GiB", sys.maxsize),
    ],
)
def test_the_limit_of_the_user(monkeypatch, text, expected):
    monkeypatch.setenv(memory_limit.VARIABLE, text)
    assert memory_limit.select_limit() == expected
    assert (memory_limit.reason_unlimited() is None) == (
        expected is not None and sys.platform == "linux"
    )


@pytest.mark.parametrize("text", ["8", "GiB", "-1 GiB", "0 GiB", "8 GiB x", "8e9 GB", "inf GiB"])
def test_a_limit_that_is_no_size_is_an_error(monkeypatch, text):
    monkeypatch.setenv(memory_limit.VARIABLE, text)
    with pytest.raises(InputError) as raised:
        memory_limit.select_limit()
    assert memory_limit.VARIABLE in str(raised.value)


def test_the_default_is_the_available_memory(monkeypatch):
    monkeypatch.delenv(memory_limit.VARIABLE, raising=False)
    monkeypatch.setattr(Host, "cgroup_memory_bytes", lambda _self: None)
    limit = memory_limit.select_limit()
    memory = psutil.virtual_memory()
    assert 2**31 <= limit <= max(memory.total + psutil.swap_memory().total, 2**32 * 4)


def test_a_control_group_lowers_the_default(monkeypatch):
    monkeypatch.delenv(memory_limit.VARIABLE, raising=False)
    monkeypatch.setattr(Host, "cgroup_memory_bytes", lambda _self: 3 * 2**30)
    monkeypatch.setattr(Host, "usable_cpus", lambda _self: 1)
    available = psutil.virtual_memory().available + psutil.swap_memory().free
    assert memory_limit.select_limit() <= max(3 * 2**30, 2112 * 2**20)
    assert available > 0


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("Exception from src/core: std::bad_alloc"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 640 bytes"),
        RuntimeError("Failed to allocate 640000000032 bytes of memory"),
        ValueError("Unable to allocate 37.3 GiB for an array"),
        ValueError("array is too big; `arr.size * arr.dtype.itemsize` is larger than possible"),
    ],
)
def test_failed_allocations_of_libraries_are_recognized(error):
    assert memory_limit.is_out_of_memory(error)
    outer = InputError("the model does not run")
    outer.__cause__ = error
    assert memory_limit.is_out_of_memory(outer)


@pytest.mark.parametrize("error", [None, ValueError("no such thing"), OSError(2, "missing")])
def test_other_errors_are_not(error):
    assert not memory_limit.is_out_of_memory(error)


@linux
def test_an_allocation_beyond_the_limit_fails_in_the_process_and_its_children():
    program = """
import subprocess, sys
from ovtool.core import input_limits
from ovtool.system import memory_limit
memory_limit.limit_memory()
assert input_limits.memory_limit() == 2**30
assert "1 GiB" in memory_limit.describe()[0]
try:
    bytearray(2**31)
except MemoryError:
    print("refused", flush=True)
subprocess.run([sys.executable, "-c", "bytearray(2**31)"], check=False)
"""
    ran = subprocess.run(
        [sys.executable, "-c", program],
        env={"OVTOOL_MEMORY_LIMIT": "1 GiB", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout == "refused\n"
    assert "MemoryError" in ran.stderr
