"""A trial compile in a process of its own: ``python -m ovtool.compile_check.compile_worker``.

    ... MODEL.xml OUT.blob DEVICE [KEY VALUE]...

What it answers is a line that begins with ``@``, as those of ``npu/ovnpu.c``: what plugins log
stands between them.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import openvino as ov  # noqa: TID253 - this is the leaf that uses it


def main(words: list[str]) -> int:
    """Compile, export, and answer."""
    xml, blob, device, *pairs = words
    _line("version", ov.get_version())
    try:
        core = ov.Core()
        model = core.read_model(xml)
        core.get_versions(device)  # loads the plugin, which is no part of compiling
        began = time.perf_counter()
        compiled = core.compile_model(
            model, device, dict(zip(pairs[::2], pairs[1::2], strict=True))
        )
        _line("compile_s", f"{time.perf_counter() - began:.3f}")
        _line("execution_devices", " ".join(compiled.get_property("EXECUTION_DEVICES")))
    except RuntimeError as error:
        _line("error", str(error))
        return 5
    try:
        Path(blob).write_bytes(compiled.export_model().getvalue())
    except RuntimeError as error:  # a plugin that exports nothing has compiled all the same
        _line("not_exported", str(error))
    return 0


def _line(key: str, text: str) -> None:
    print(f"@{key} {' | '.join(text.split(chr(10)))}", flush=True)  # noqa: T201 - it answers so


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
