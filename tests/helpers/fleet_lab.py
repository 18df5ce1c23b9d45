"""Three hosts on one machine: network namespaces with addresses of their own, or processes."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

PROGRAM = (sys.executable, "-P", "-m", "ovtool")
LABELS = {
    "alpha": {"site": "lab", "class": "small"},
    "beta": {"site": "lab", "class": "large"},
    "gamma": {"site": "edge", "class": "small"},
}
"""The hosts, with their labels."""


def run(*words: object, check: bool = True) -> str:
    """Run a program and return what it prints."""
    ran = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False)
    if check and ran.returncode:
        raise RuntimeError(f"{' '.join(map(str, words))}: {ran.stderr.strip() or ran.returncode}")
    return ran.stdout


@dataclass
class Network:
    """A bridge, and a namespace for each host; the address of this machine is ``gateway``."""

    hosts: Sequence[str]
    number: int = field(default_factory=lambda: os.getpid() % 200 + 20)

    @property
    def gateway(self) -> str:
        return f"10.213.{self.number}.1"

    @property
    def bridge(self) -> str:
        return f"ovb{self.number}"

    def namespace(self, host: str) -> str:
        return f"ov{self.number}-{host}"

    def link(self, host: str) -> str:
        """The end of the cable of a host on the bridge."""
        return f"ov{self.number}p{self.hosts.index(host)}"

    def address(self, host: str) -> str:
        return f"10.213.{self.number}.{self.hosts.index(host) + 11}"

    def create(self) -> None:
        run("ip", "link", "add", self.bridge, "type", "bridge")
        run("ip", "address", "add", f"{self.gateway}/24", "dev", self.bridge)
        run("ip", "link", "set", self.bridge, "up")
        for host in self.hosts:
            space, link = self.namespace(host), self.link(host)
            run("ip", "netns", "add", space)
            run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", space)
            run("ip", "link", "set", link, "master", self.bridge, "up")
            inside = ("ip", "-n", space)
            run(*inside, "address", "add", f"{self.address(host)}/24", "dev", "eth0")
            run(*inside, "link", "set", "lo", "up")
            run(*inside, "link", "set", "eth0", "up")

    def remove(self) -> None:
        for host in self.hosts:
            run("ip", "netns", "delete", self.namespace(host), check=False)
        run("ip", "link", "delete", self.bridge, check=False)

    def cut(self, host: str, seconds: float) -> None:
        """Cut the cable of a host for a while, without a word to either side."""
        run("ip", "link", "set", self.link(host), "down")
        try:
            time.sleep(seconds)
        finally:
            run("ip", "link", "set", self.link(host), "up")


def create_network(hosts: Sequence[str]) -> tuple[Network | None, str]:
    """Return a network, or why there is none."""
    if shutil.which("ip") is None:
        return None, "the command ip is not installed"
    network = Network(list(hosts))
    try:
        network.create()
    except (RuntimeError, OSError) as error:
        network.remove()
        return None, str(error)
    except KeyboardInterrupt:
        network.remove()
        raise
    return network, ""


class Lab:
    """A scheduler and workers as processes, which are started again when they end."""

    def __init__(self, folder: Path, network: Network | None, labels: Mapping[str, Any] = LABELS):
        self.folder, self.network, self.labels = folder, network, labels
        self.certificates = folder / "certificates"
        if network is None:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            self.address = f"tls://127.0.0.1:{port}"
        else:
            self.address = f"tls://{network.gateway}:8786"
        self.hosts_file = folder / "hosts.yaml"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.restarts = 0
        self._stopped = threading.Event()
        self._tender = threading.Thread(target=self._tend, daemon=True)

    def start(self) -> Lab:
        """Make certificates, and start all processes."""
        run(*PROGRAM, "fleet", "certs", "--out", self.certificates)
        self.hosts_file.write_text(
            f"fleet: 1\nlisten: {self.address}\ncertificates: certificates\nhosts: {{}}\n"
        )
        for name in ("scheduler", *self.labels):
            self._start(name)
        self._tender.start()
        return self

    def stop(self) -> None:
        """Stop all processes."""
        self._stopped.set()
        if self._tender.ident is not None:
            self._tender.join(10)
        for process in self.processes.values():
            kill_tree(process.pid)
            process.wait()

    def log(self, name: str) -> str:
        """What a process has printed."""
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def wait(self, condition: Callable[[], bool], seconds: float = 180) -> None:
        """Wait for a condition."""
        until = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > until:
                raise TimeoutError("the fleet did not start: " + self.log("scheduler")[-500:])
            time.sleep(0.2)

    def wait_for_hosts(self) -> None:
        """Wait until each host has joined once."""
        self.wait(lambda: all("joined" in self.log(name) for name in self.labels))

    def command(self, name: str) -> list[str]:
        """Return the command of a process."""
        if name == "scheduler":
            return [*PROGRAM, "fleet", "up", str(self.hosts_file)]
        words = [*PROGRAM, "fleet", "worker", self.address, "--name", name]
        for label, value in self.labels[name].items():
            words += ["--label", f"{label}={value}"]
        words += ["--cache", str(self.folder / "hosts" / name)]
        words += ["--certificates", str(self.certificates)]
        if self.network is not None:
            words = ["ip", "netns", "exec", self.network.namespace(name), *words]
        return words

    def _start(self, name: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                self.command(name), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,  # a Ctrl-C is for the command; then the lab is stopped
            )  # fmt: skip

    def _tend(self) -> None:
        """Start a process again that has ended, as a service manager would."""
        while not self._stopped.wait(0.5):
            for name, process in list(self.processes.items()):
                if process.poll() is not None and not self._stopped.is_set():
                    self.restarts += 1
                    self._start(name)


def tree(pid: int) -> list[psutil.Process]:
    """Return a process and its descendants, the process first."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    return []


def kill_tree(pid: int) -> None:
    """End a process and its descendants by SIGKILL."""
    for process in tree(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


@contextlib.contextmanager
def started(
    folder: Path, *, namespaces: bool = True, hosts: Sequence[str] = tuple(LABELS)
) -> Iterator[Lab]:
    """Start a lab, and stop it at the end; prints how the hosts are apart."""
    network, reason = create_network(hosts) if namespaces else (None, "not wanted")
    if network is None:
        print(f"hosts: processes with caches of their own (no network namespaces: {reason})")
    else:
        print("hosts: network namespaces", *(f"{h}={network.address(h)}" for h in network.hosts))
    folder.mkdir(parents=True, exist_ok=True)
    lab = Lab(folder, network, {name: LABELS[name] for name in hosts})
    try:
        lab.start().wait_for_hosts()
        yield lab
    finally:
        with contextlib.suppress(ValueError):  # not the main thread
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        lab.stop()
        if network is not None:
            network.remove()
        with contextlib.suppress(ValueError):
            signal.signal(signal.SIGINT, signal.default_int_handler)
