"""Clients of the server of a bundle: good requests, and bad ones of every kind.

``python -m tests.helpers.server_load URL SECONDS [PID]`` prints the figures as JSON.
"""

from __future__ import annotations

import http.client
import json
import random
import sys
import threading
import time
from collections import Counter
from urllib.parse import urlsplit

import numpy as np
import psutil

KINDS = ("good", "binary", "shape", "type", "json", "oversized", "cut", "slow", "name")
WEIGHTS = (40, 40, 4, 4, 4, 2, 4, 1, 4)
EXPECTED = {
    "good": {200, 503}, "binary": {200, 503}, "shape": {400, 503}, "type": {400, 503},
    "json": {400, 503}, "oversized": {413, 503}, "name": {400, 503}, "cut": {None},
    "slow": {200, 408, 503},
}  # fmt: skip


class Client(threading.Thread):
    """A client that sends requests until its time is over."""

    def __init__(self, url: str, seconds: float, seed: int) -> None:
        super().__init__(daemon=True)
        self.place, self.seconds = urlsplit(url), seconds
        self.random = random.Random(seed)
        self.latencies: list[float] = []
        self.counts: Counter[tuple[str, int | None]] = Counter()
        self.unclear: list[str] = []
        described = json.loads(self.get(self.place.path)[1])
        self.port = described["inputs"][0]
        self.dtype = np.dtype({"UINT8": "uint8", "FP32": "float32"}[self.port["datatype"]])

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.place.hostname, self.place.port, timeout=60)

    def get(self, path: str) -> tuple[int, bytes]:
        connection = self.connect()
        connection.request("GET", path)
        response = connection.getresponse()
        answer = response.status, response.read()
        connection.close()
        return answer

    def run(self) -> None:
        end = time.monotonic() + self.seconds
        while time.monotonic() < end:
            (kind,) = self.random.choices(KINDS, WEIGHTS)
            start = time.perf_counter()
            status, body = self.send(kind)
            if kind in ("good", "binary") and status == 200:
                self.latencies.append(1000 * (time.perf_counter() - start))
            self.counts[kind, status] += 1
            if status and status >= 400 and "error" not in (json.loads(body or b"{}")):
                self.unclear.append(f"{kind} {status}")

    def send(self, kind: str) -> tuple[int | None, bytes]:
        """Send a request of a kind; return its status and its answer."""
        body, headers = self.build(kind)
        url = f"{self.place.path}/infer"
        connection = self.connect()
        try:
            if kind in ("cut", "slow"):
                connection.putrequest("POST", url)
                connection.putheader("Content-Length", str(len(body)))
                connection.endheaders()
                connection.send(body[: len(body) // 2])
                if kind == "cut":
                    return None, b""
                time.sleep(1.5)
                connection.send(body[len(body) // 2 :])
            else:
                connection.request("POST", url, body, headers)
            response = connection.getresponse()
            return response.status, response.read()
        except (TimeoutError, BrokenPipeError, ConnectionResetError):
            return (413 if kind == "oversized" else -1), b'{"error": "closed"}'
        finally:
            connection.close()

    def build(self, kind: str) -> tuple[bytes, dict[str, str]]:
        shape = list(self.port["shape"])
        values = np.full(shape, self.random.randrange(200), self.dtype)
        entry = {"name": self.port["name"], "datatype": self.port["datatype"], "shape": shape}
        if kind == "binary":
            entry["parameters"] = {"binary_data_size": values.nbytes}
            header = json.dumps({"inputs": [entry]}).encode()
            headers = {"Inference-Header-Content-Length": str(len(header))}
            return header + values.tobytes(), headers
        entry["data"] = values.ravel().tolist()
        changes = {
            "shape": {"shape": [*shape, 3]}, "type": {"datatype": "BYTES"}, "name": {"name": "?"},
        }  # fmt: skip
        body = json.dumps({"inputs": [entry | changes.get(kind, {})]}).encode()
        if kind == "json":
            body = body[:-5]
        if kind == "oversized":
            body += b" " * (64 * len(body) + (1 << 20))
        return body, {}


def run(url: str, seconds: float, clients: int = 16, pid: int | None = None) -> dict:
    """Run clients together; return counts, latencies and the memory of the server."""
    threads = [Client(url, seconds, seed) for seed in range(clients)]
    process = None if pid is None else psutil.Process(pid)
    memory = []
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        if process is not None:
            memory.append(process.memory_info().rss / 2**20)
        time.sleep(min(1.0, seconds / 10))
    latencies = np.array([ms for thread in threads for ms in thread.latencies])
    counts: Counter = sum((thread.counts for thread in threads), Counter())
    unexpected = {f"{k} {s}": n for (k, s), n in counts.items() if s not in EXPECTED[k]}
    tenth = max(1, len(memory) // 10)
    return {
        "requests": int(counts.total()),
        "by_kind": {f"{kind} {status}": n for (kind, status), n in sorted(counts.items(), key=str)},
        "unexpected": unexpected,
        "unclear": [text for thread in threads for text in thread.unclear],
        "p50_ms": float(np.percentile(latencies, 50)) if len(latencies) else None,
        "p99_ms": float(np.percentile(latencies, 99)) if len(latencies) else None,
        "memory_mib": {
            "first_tenth": float(np.mean(memory[:tenth])) if memory else None,
            "last_tenth": float(np.mean(memory[-tenth:])) if memory else None,
            "highest": max(memory, default=None),
        },
    }


if __name__ == "__main__":
    server = int(sys.argv[3]) if len(sys.argv) > 3 else None
    print(json.dumps(run(sys.argv[1], float(sys.argv[2]), pid=server), indent=1))
