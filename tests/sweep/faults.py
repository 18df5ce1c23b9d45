"""A faulty worker process: run as ``python -m tests.sweep.faults 'JSON'``.

The argument maps a batch to ``[what, when]``: the fault, and the command at which it happens.
"""

import ctypes
import json
import os
import signal
import sys
import time

from ovtool.benchmark import worker
from ovtool.system import child_process

FAULTS = ("segfault", "hang", "kill", "garbage")
WHEN = ("open", "measure", "save_cache")


def misbehave(what):
    if what == "segfault":
        ctypes.string_at(0)
    elif what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "hang":
        time.sleep(3600)
    return {"invalid": "reply"}


class Faulty(worker.Worker):
    def _maybe(self, do, command):
        what, when = json.loads(sys.argv[1]).get(str(self.command.get("batch")), (None, None))
        return misbehave(what) if when == do else getattr(super(), do)(command)

    def open(self, command):
        self.command = command
        return self._maybe("open", command)

    def measure(self, command):
        return self._maybe("measure", command)

    def save_cache(self, command):
        return self._maybe("save_cache", command)


if __name__ == "__main__":
    child_process.serve(Faulty)
