"""Confine this process and its future children: no network, and files written in named places only.

Linux alone has both parts: Landlock, for files (``landlock(7)``, from kernel 5.19), and a filter of
system calls, for sockets (``seccomp(2)``).  Reading files and using devices stay possible.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

VARIABLE = "OVTOOL_SANDBOX"
"""Environment variable: ``off`` runs commands without a sandbox."""
_LEAST_ABI = 2
"""Version of Landlock that can allow files to move between folders."""

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION, _PATH_BENEATH = 1, 1
_WRITE_FILE, _TRUNCATE, _REFER = 1 << 1, 1 << 14, 1 << 13
# Removing and creating: folders, files, devices, sockets, pipes and links.
_CHANGE_FOLDER = sum(1 << bit for bit in range(4, 13))
_FILE_RIGHTS = _WRITE_FILE | _TRUNCATE

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _FILTER = 38, 22, 2
_ALLOW, _DENY = 0x7FFF0000, 0x00050000
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
"""Instructions of the filter: load a word, compare it, return."""
_X32 = 0x40000000
"""Numbers of system calls from here on are those of another interface of the same processor."""
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
"""Offsets in ``struct seccomp_data``; the low half of an argument comes first."""
_SOCKET = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
"""Audit number of an architecture, and number of its system call ``socket``."""
_IO_URING_SETUP = 425
"""Opens sockets without the system call ``socket``."""
_NETWORKS = (2, 10, 17, 40)
"""AF_INET, AF_INET6, AF_PACKET and AF_VSOCK."""
_EACCES = 13


def reason_unconfined() -> str | None:
    """Return why this system has no sandbox; None if it has one."""
    if os.environ.get(VARIABLE, "").strip().lower() == "off":
        return f"{VARIABLE} is off"
    if sys.platform != "linux":
        return f"not implemented for {sys.platform}"
    if platform.machine() not in _SOCKET:
        return f"not implemented for the architecture {platform.machine()}"
    abi = _landlock_abi()
    if abi < _LEAST_ABI:
        return "the kernel has no Landlock, or an old version (5.19 is the first that suffices)"
    return None


def confine(writable: Iterable[Path], *, network: bool = False) -> None:
    """Allow this process to write below existing paths only, and to open no network connection.

    ``network`` keeps the connections.

    Threads that run already are not confined.

    Raises:
        OSError: The system refuses the restriction.
    """
    library = ctypes.CDLL(None, use_errno=True)
    _check(library.prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), 0, 0, 0))
    _restrict_files(library, writable)
    if not network:
        _restrict_network(library)


def _landlock_abi() -> int:
    library = ctypes.CDLL(None, use_errno=True)
    return int(library.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint(_VERSION)))


def _restrict_files(library: ctypes.CDLL, writable: Iterable[Path]) -> None:
    rights = _FILE_RIGHTS | _CHANGE_FOLDER | _REFER
    if _landlock_abi() < 3:
        rights &= ~_TRUNCATE
    handled = struct.pack("=Q", rights)
    ruleset = _check(
        library.syscall(_CREATE_RULESET, handled, ctypes.c_size_t(len(handled)), ctypes.c_uint(0))
    )
    try:
        for path in writable:
            try:
                descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except OSError:
                continue  # missing, or not readable
            try:
                allowed = rights if path.is_dir() else rights & _FILE_RIGHTS
                rule = struct.pack("=Qi", allowed, descriptor)
                _check(library.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, ctypes.c_uint(0)))
            finally:
                os.close(descriptor)
        _check(library.syscall(_RESTRICT_SELF, ruleset, ctypes.c_uint(0)))
    finally:
        os.close(ruleset)


def _restrict_network(library: ctypes.CDLL) -> None:
    """Refuse sockets of networks, by a filter in the language of BPF."""
    architecture, socket = _SOCKET[platform.machine()]

    def instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
        return struct.pack("=HBBI", code, if_true, if_false, value)

    count = len(_NETWORKS)
    program = [
        instruction(_LOAD, _ARCHITECTURE),
        instruction(_EQUAL, architecture, 1, 0),
        instruction(_RETURN, _DENY | _EACCES),  # the 32-bit calls of this processor
        instruction(_LOAD, _NUMBER),
        instruction(_AT_LEAST, _X32, count + 4, 0),
        instruction(_EQUAL, _IO_URING_SETUP, count + 3, 0),
        instruction(_EQUAL, socket, 0, count + 1),
        instruction(_LOAD, _FIRST_ARGUMENT),
        *(instruction(_EQUAL, family, count - index, 0) for index, family in enumerate(_NETWORKS)),
        instruction(_RETURN, _ALLOW),
        instruction(_RETURN, _DENY | _EACCES),
    ]
    code = ctypes.create_string_buffer(b"".join(program))
    header = struct.pack("@HP", len(program), ctypes.addressof(code))
    _check(library.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_FILTER), header, 0, 0))


def _check(result: int) -> int:
    """Return the result of a system call.

    Raises:
        OSError: The call failed.
    """
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
