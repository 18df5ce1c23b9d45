"""Headless Chromium without a network, controlled over a pipe (DevTools protocol)."""

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
_COMPLAINTS = ("error", "warning", "assert")
# A warning of Vega-Lite on every chart with container width and discrete height.
_HARMLESS = 'Dropping "fit-y" because spec has discrete height'


def executable() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One tab.  ``problems`` are errors, warnings, dialogs and network requests of the page."""

    def __init__(self, profile: Path) -> None:
        command = executable()
        assert command is not None, MISSING
        parent_out, child_in = _pipe()
        child_out, parent_in = _pipe()
        self._pid = os.posix_spawn(
            command,
            [command, *_FLAGS, f"--user-data-dir={profile}"],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_DUP2, child_out, 3),
                (os.POSIX_SPAWN_DUP2, child_in, 4),
            ],
        )
        os.close(child_in)
        os.close(child_out)
        self._reader, self._writer = os.fdopen(parent_out, "rb"), os.fdopen(parent_in, "wb")
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
        self._writer.close()
        self._reader.close()
        os.kill(self._pid, signal.SIGTERM)
        os.waitpid(self._pid, 0)

    def open(self, page: Path, width: int = 1280, height: int = 800, scheme: str = "light") -> None:
        """Open a page from disk and wait until its charts are drawn."""
        self.problems.clear()
        self.resize(width, height)
        self.media(scheme=scheme)
        self._load("Page.navigate", url=page.resolve().as_uri())

    def reload(self) -> None:
        """Reload the page, and wait until its charts are drawn."""
        self._load("Page.reload")

    def _load(self, method: str, **params) -> None:
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
        """Return the value of an expression in the page; waits for a promise."""
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
        self._writer.write(json.dumps(message).encode() + b"\0")
        self._writer.flush()
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]

    def _receive(self):
        while b"\0" not in self._buffer:
            block = os.read(self._reader.fileno(), 1 << 20)
            assert block, "the browser ended"
            self._buffer += block
        line, _, self._buffer = self._buffer.partition(b"\0")
        message = json.loads(line)
        self._record(message.get("method"), message.get("params", {}))
        return message

    def _record(self, event, params) -> None:
        if event == "Page.loadEventFired":
            self._loaded = True
        elif event == "Runtime.exceptionThrown":
            self.problems.append(f"exception: {json.dumps(params['exceptionDetails'])[:500]}")
        elif event == "Runtime.consoleAPICalled" and params["type"] in (
            "error",
            "warning",
            "assert",
        ):
            text = " ".join(str(argument.get("value")) for argument in params["args"])
            if _HARMLESS not in text:
                self.problems.append(f"console: {text}")
        elif event == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.problems.append(f"log: {params['entry']['text']}")
        elif event == "Page.javascriptDialogOpening":
            self.problems.append(f"dialog: {params['message']}")
        elif event == "Network.requestWillBeSent":
            url = params["request"]["url"]
            if not url.startswith(("file:", "data:")):
                self.problems.append(f"request: {url}")


def _pipe() -> tuple[int, int]:
    """Return a pipe with file descriptors that the browser does not use."""
    ends = []
    for end in os.pipe():
        ends.append(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10))
        os.close(end)
    return ends[0], ends[1]
