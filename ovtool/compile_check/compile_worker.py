"""Worker process of a trial compile: ``python -m ovtool.compile_check.compile_worker``."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import openvino as ov  # noqa: TID253 - only this process imports it

from ovtool.system import child_process


class CompileWorker:
    """Compiles a model, and exports it where the plugin can."""

    def compile(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the time and the devices; ``rejection`` is the error of a model that fails."""
        device = request["device"]
        try:
            core = ov.Core()
            model = core.read_model(request["xml"])
            core.get_versions(device)  # loads the plugin, which is not part of compiling
            started = time.perf_counter()
            compiled = core.compile_model(model, device, request["properties"])
            compile_s = time.perf_counter() - started
            devices = " ".join(compiled.get_property("EXECUTION_DEVICES"))
        except RuntimeError as error:
            return {"rejection": str(error)}
        with suppress(RuntimeError):  # the model compiles; not every plugin exports it
            Path(request["blob"]).write_bytes(compiled.export_model().getvalue())
        return {"compile_s": round(compile_s, 3), "execution_devices": devices}


if __name__ == "__main__":
    child_process.serve(CompileWorker)
