"""A whole fleet of processes on this machine, as its user starts it."""

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress

import psutil
import pytest

from ovtool.core.errors import InputError
from ovtool.core.sweep_folder import SweepFolder
from ovtool.fleet import verbs
from ovtool.fleet.hosts import HostEntry
from tests.fleet.conftest import needs_dask

PROGRAM = (sys.executable, "-P", "-m", "ovtool")


@pytest.mark.slow
@needs_dask
def test_a_command_over_ssh_is_one_word_of_its_shell(tmp_path):
    from ovtool.fleet.cluster import HostCommand

    entry = HostEntry(
        ssh="me@box", python="/opt/o v/python", labels={"site": "lab"}, cache="/data/$x",
        certificates="/etc/fleet",
    )  # fmt: skip
    words = HostCommand("box", entry, "tls://10.0.0.1:8786", tmp_path).words()
    assert words[0] == "ssh"
    assert words[-2] == "me@box"
    printed = subprocess.run(
        ["sh", "-c", "printf '%s\\n' " + words[-1]], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert printed == [
        "/opt/o v/python", "-P", "-m", "ovtool", "fleet", "worker", "tls://10.0.0.1:8786",
        "--name", "box", "--label", "site=lab", "--attempts", "3", "--cache", "/data/$x",
        "--certificates", "/etc/fleet",
    ]  # fmt: skip


# tornado leaves the socket that it cannot bind to the garbage collector
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@needs_dask
def test_a_port_in_use_is_an_error(tmp_path):
    path = tmp_path / "hosts.yaml"
    with socket.socket() as used:
        used.bind(("127.0.0.1", 0))
        used.listen()
        path.write_text(f"fleet: 1\nlisten: 127.0.0.1:{used.getsockname()[1]}\nhosts: {{}}\n")
        with pytest.raises(InputError, match="in use"):
            verbs.up(path)
    gc.collect()


def wait_for(condition, seconds=120):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.2)


@pytest.fixture
def hosts_file(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = tmp_path / "hosts.yaml"
    hosts = "".join(
        f"  {name}: {{cache: {tmp_path / 'cache' / name}, labels: {{site: {site}}}}}\n"
        for name, site in (("a", "lab"), ("b", "lab"), ("c", "home"))
    )
    path.write_text(f"fleet: 1\nlisten: 127.0.0.1:{port}\nhosts:\n{hosts}")
    return path


@needs_dask
@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kills processes")
def test_three_hosts_as_processes_one_of_them_killed(hosts_file, net, tmp_path):
    log = tmp_path / "up.log"

    def run(*arguments):
        ran = subprocess.run(
            [*PROGRAM, *map(str, arguments)], capture_output=True, text=True, timeout=250,
            check=False,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    sweep = ("sweep", net.folder, "--fleet", hosts_file, "--hosts", "site=lab", "--rounds", 3,
             "--round-s", 0.05, "--max-seconds", 0.2, "--hint", "latency", "--batch", "1,2,3",
             "--no-starts", "--out", tmp_path / "s", "--json")  # fmt: skip
    with log.open("w") as stream:
        up = subprocess.Popen([*PROGRAM, "fleet", "up", str(hosts_file)], stderr=stream)
        try:
            wait_for(lambda: log.read_text().count("joined") == 3)
            status = json.loads(run("fleet", "status", hosts_file, "--json"))["hosts"]
            assert [(h["name"], h["problem"]) for h in status] == [("a", ""), ("b", ""), ("c", "")]
            process = subprocess.Popen(
                [*PROGRAM, *map(str, sweep)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            wait_for((tmp_path / "s" / "b" / "journal.jsonl").exists)
            workers = subprocess.run(
                ["pgrep", "-f", f"fleet worker .*--cache {tmp_path}/cache/b"],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            for pid in workers.stdout.split():
                os.kill(int(pid), signal.SIGKILL)
            printed, _ = process.communicate(timeout=250)
            assert process.returncode == 0
            hosts = json.loads(printed)["hosts"]
            assert [(h["host"], h["counts"]["measured"]) for h in hosts] == [("a", 3), ("b", 3)]
            for name in ("a", "b"):
                rows = [m.trial.batch for m in SweepFolder(tmp_path / "s" / name).measurements()]
                assert sorted(rows) == [1, 2, 3]
            run("fleet", "down", hosts_file)
            assert up.wait(60) == 0
        finally:
            up.kill()


@needs_dask
@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kills processes")
def test_a_worker_ends_after_its_killed_parent(hosts_file, tmp_path):
    log = tmp_path / "up.log"
    with log.open("w") as stream:
        up = subprocess.Popen([*PROGRAM, "fleet", "up", str(hosts_file)], stderr=stream)
    workers = []
    try:
        wait_for(lambda: log.read_text().count("joined") == 3)
        family = psutil.Process(up.pid).children(recursive=True)
        workers = [p for p in family if "worker" in p.cmdline()]
        assert len({p.cmdline()[p.cmdline().index("--name") + 1] for p in workers}) == 3
        for process in [psutil.Process(up.pid), *family]:
            if process not in workers:
                process.kill()
        _, alive = psutil.wait_procs(workers, 180)
        assert alive == []
    finally:
        up.kill()
        up.wait()
        for process in workers:
            with suppress(psutil.NoSuchProcess):
                process.kill()
