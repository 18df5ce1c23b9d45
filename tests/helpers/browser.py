"""Chromium without a window and without a network, driven over a pipe (DevTools protocol)."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
MISSING = f"no browser: none of {', '.join(NAMES)} is on PATH (apt-get install -y chromium)"
_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
    "--no-first-run", "--disable-extensions", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND",
    "--remote-debugging-pipe",
)  # fmt: skip
# Vega-Lite, of every chart that is as wide as its column and has a line for each name.
_HARMLESS = 'Dropping "fit-y" because spec has discrete height'


def executable() -> str | None:
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Browser:
    """One tab.  ``problems`` are what a reader of the console would see, and what was asked for."""

    def __init__(self, profile: Path) -> None:
        command = executable()
        assert command is not None, MISSING
        mine_out, its_in = _pipe()
        its_out, mine_in = _pipe()
        self._pid = os.posix_spawn(
            command,
            [command, *_FLAGS, f"--user-data-dir={profile}"],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_DUP2, its_out, 3),
                (os.POSIX_SPAWN_DUP2, its_in, 4),
            ],
        )
        os.close(its_in)
        os.close(its_out)
        self._from, self._to = os.fdopen(mine_out, "rb"), os.fdopen(mine_in, "wb")
        self._buffer, self._number, self._session = b"", 0, None
        self.problems: list[str] = []
        self._loaded = False
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        self.send(
            "Network.emulateNetworkConditions",
            offline=True, latency=0, downloadThroughput=0, uploadThroughput=0,
        )  # fmt: skip

    def close(self) -> None:
        self._to.close()
        self._from.close()
        os.kill(self._pid, signal.SIGTERM)
        os.waitpid(self._pid, 0)

    def open(self, page: Path, width: int = 1280, height: int = 800, scheme: str = "light") -> None:
        """Open a page from disk and wait until its charts are drawn."""
        self.problems.clear()
        self.resize(width, height)
        self.media(scheme=scheme)
        self._drawn("Page.navigate", url=page.resolve().as_uri())

    def again(self) -> None:
        """Read the page again, as a browser does when told to by the page."""
        self._drawn("Page.reload")

    def _drawn(self, method: str, **params) -> None:
        self._loaded = False
        self.send(method, **params)
        while not self._loaded:
            self._receive()
        self.evaluate("waiting.then(() => document.documentElement.dataset.ready)")

    def resize(self, width: int, height: int) -> None:
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip

    def media(self, medium: str = "", scheme: str = "light") -> None:
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.send("Emulation.setEmulatedMedia", media=medium, features=features)

    def evaluate(self, script: str):
        """Return the value of an expression in the page, of a promise once it is kept."""
        answer = self.send(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def press(self, key: str, code: int) -> None:
        for kind in ("keyDown", "keyUp"):
            self.send(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code
            )

    def screenshot(self, target: Path, whole: bool = False) -> Path:
        shot = self.send("Page.captureScreenshot", captureBeyondViewport=whole)
        target.write_bytes(base64.b64decode(shot["data"]))
        return target

    def send(self, method: str, **params):
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        self._to.write(json.dumps(message).encode() + b"\0")
        self._to.flush()
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]

    def _receive(self):
        while b"\0" not in self._buffer:
            block = os.read(self._from.fileno(), 1 << 20)
            assert block, "the browser ended"
            self._buffer += block
        line, _, self._buffer = self._buffer.partition(b"\0")
        message = json.loads(line)
        self._note(message.get("method"), message.get("params", {}))
        return message

    def _note(self, event, told) -> None:
        if event == "Page.loadEventFired":
            self._loaded = True
        elif event == "Runtime.exceptionThrown":
            self.problems.append(f"exception: {json.dumps(told['exceptionDetails'])[:500]}")
        elif event == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
            text = " ".join(str(one.get("value")) for one in told["args"])
            if _HARMLESS not in text:
                self.problems.append(f"console: {text}")
        elif event == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.problems.append(f"log: {told['entry']['text']}")
        elif event == "Page.javascriptDialogOpening":
            self.problems.append(f"dialog: {told['message']}")
        elif event == "Network.requestWillBeSent":
            url = told["request"]["url"]
            if not url.startswith(("file:", "data:")):
                self.problems.append(f"asked for {url}")


def _pipe() -> tuple[int, int]:
    """Return a pipe whose ends are none of the numbers that the browser takes."""
    ends = []
    for end in os.pipe():
        ends.append(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10))
        os.close(end)
    return ends[0], ends[1]
