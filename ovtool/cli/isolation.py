"""The limits of a verb's process: time of a step, memory, and a sandbox for files of strangers."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovtool.core import files, places, steps
from ovtool.core.device_names import VIRTUAL
from ovtool.core.errors import InputError
from ovtool.system import memory_limit, sandbox, supervisor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CONFINED = frozenset({
    "analyze", "check", "choose", "compare", "compress", "convert", "deploy", "evaluate", "profile",
    "report", "run", "sensitivity", "sweep", "why",
})  # fmt: skip
"""Verbs that run in a sandbox; ``devices`` installs packages."""
_FUNCTION = re.compile(rf"(?!(sample|{'|'.join(VIRTUAL)}):)[A-Za-z_][\w.]+:[A-Za-z_]\w*")
"""``module:function``, unlike a sample or a virtual device such as ``AUTO:GPU``."""


def isolate(verb: str, options: Mapping[str, Any]) -> None:
    """Limit this process for a verb with its options.

    Raises:
        InputError: A limit of the user is not valid.
    """
    try:
        steps.default_limit_s()
    except ValueError:
        raise InputError(
            f"{steps.STEP_TIMEOUT} is not a number of seconds: {os.environ[steps.STEP_TIMEOUT]}",
            "0 is no limit",
        ) from None
    places.provide_home()
    memory_limit.limit_memory()
    if verb in CONFINED and not runs_own_code(options) and sandbox.reason_unconfined() is None:
        with contextlib.suppress(OSError):  # a container may refuse it: ovtool devices --why
            sandbox.confine(
                writable_paths(verb, options),
                network=bool(options.get("mlflow") or options.get("fleet")),
            )


def runs_own_code(options: Mapping[str, Any]) -> bool:
    """Whether the user's own code runs: with ``--trust``, or a function of a module."""
    if options.get("trust"):
        return True
    return any(_FUNCTION.fullmatch(text) or _made_by_code(text) for text in _texts(options))


def _made_by_code(text: str) -> bool:
    """Whether a variant comes from a function, which compression may import again."""
    from ovtool.core.variant import RECORD

    try:
        record = (Path(text) / RECORD).read_bytes()
    except (OSError, ValueError):
        return False
    return re.search(rb'"kind":\s*"torch"', record) is not None


def writable_paths(verb: str, options: Mapping[str, Any]) -> list[Path]:
    """Return the paths that a verb with these options may write.

    These are the folder that holds the output, folders of results, the caches of this user, the
    temporary folder, and devices.
    """
    paths = [Path("/dev"), places.temporary_folder(), *_caches()]
    out = options.get("out")
    if out is None and verb in places.RESULTS:
        out = f"{places.RESULTS[verb]}/name"
    paths += [
        _existing(Path(each).absolute().parent) for each in (out, options.get("junit")) if each
    ]
    if options.get("mlflow"):
        from ovtool.report.tracking import local_store

        store = local_store()
        paths += [] if store is None else [_existing(store)]
    paths += [Path(options["verify"])] if options.get("verify") else []
    folders = [Path(text) for text in _texts(options)]
    paths += [folder for folder in folders if files.is_file(folder / "plan.json")]
    return paths


def _caches() -> Iterator[Path]:
    with contextlib.suppress(InputError, RuntimeError, OSError):
        own = places.user_folder()
        own.mkdir(parents=True, exist_ok=True)
        # The drivers of GPU and NPU keep compiled kernels beside it.
        yield own.parent if own.name == "ovtool" else own


def _existing(folder: Path) -> Path:
    """Return the nearest folder that exists."""
    return next(each for each in (folder, *folder.parents) if each.exists())


def _texts(options: Mapping[str, Any]) -> Iterator[str]:
    for value in options.values():
        for each in value if isinstance(value, list | tuple) else [value]:
            if isinstance(each, str | Path):
                yield str(each)


def describe_isolation() -> dict[str, str | None]:
    """Return the protections of this machine by name, each with the reason if it has none."""
    return {
        "supervisor": supervisor.reason_unsupervised(),
        "memory limit": memory_limit.reason_unlimited(),
        "sandbox": _reason_unconfined(),
    }


def _reason_unconfined() -> str | None:
    """Return why a sandbox fails; a trial in a process of its own proves that it works."""
    reason = sandbox.reason_unconfined()
    if reason is not None:
        return reason
    program = "from ovtool.system import sandbox; sandbox.confine([])"
    command = [sys.executable, "-P", "-c", program]
    tried = subprocess.run(command, capture_output=True, text=True, check=False)
    if tried.returncode == 0:
        return None
    return f"the system refuses it: {tried.stderr.strip().rpartition(chr(10))[2]}"
