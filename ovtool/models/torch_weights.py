"""Weights of torch modules, read without running code of the file."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, BinaryIO

from ovtool.core import files
from ovtool.core.errors import InputError
from ovtool.core.third_party import captured, reason

if TYPE_CHECKING:
    from pathlib import Path

    import torch

_SLACK_BYTES = 1 << 16
_ZIP_MAGIC, _PICKLE_MAGIC = b"PK\x03\x04", b"\x80"
_PICKLE_HINT = (
    "export the model to ONNX, or use module:function with a state dict, or pass --trust to run "
    "the code in the file"
)


class UnsafeFileError(InputError):
    """Loading the file could run code in it."""


def refuse_inflated(stream: BinaryIO, size: int, path: Path) -> None:
    """Reject a zip archive that expands when read; torch stores everything uncompressed.

    Raises:
        InputError: The file is not a zip archive, or its contents are larger than the file.
    """
    try:
        with zipfile.ZipFile(stream) as archive:
            total = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
        raise InputError(f"not a torch archive, or truncated: {path}") from error
    if total > size + _SLACK_BYTES:
        raise InputError(f"{path} expands from {size} to {total} bytes when read", "save it again")


def load_weights(module: torch.nn.Module, weights: str) -> Path:
    """Load all keys of a safetensors file or state dict into a module, and return its path.

    Raises:
        InputError: The file is missing, requires running code, or does not fit the module.
    """
    path = files.existing_file(weights, "weights")
    state = read_state_dict(path)
    missing = [key for key in module.state_dict() if key not in state]
    unexpected = [key for key in state if key not in module.state_dict()]
    if missing or unexpected:
        parts = [
            f"{len(keys)} {what} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})"
            for keys, what in ((missing, "missing"), (unexpected, "unexpected"))
            if keys
        ]
        raise InputError(f"the weights in {path} do not fit the module: {'; '.join(parts)}")
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(f"the weights in {path} do not fit the module: {reason(error)}") from error
    return path


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """Read weights from safetensors or a state dict without running code of the file.

    Raises:
        UnsafeFileError: The file is a pickle.
        InputError: The file is truncated, not a torch file, or not a state dict.
    """
    import torch

    if path.suffix.lower() == ".safetensors":
        return _read_safetensors(path)
    with path.open("rb") as stream:
        head = stream.read(4)
        zipped = head == _ZIP_MAGIC
        if zipped:
            refuse_inflated(stream, path.stat().st_size, path)
    try:
        with captured(str(path)):
            state = torch.load(path, weights_only=True, map_location="cpu", mmap=zipped)
    except pickle.UnpicklingError as error:
        raise (
            _pickle_error(path) if zipped or head[:1] == _PICKLE_MAGIC else _format_error(path)
        ) from error
    except Exception as error:  # a damaged file can raise anything
        if "TorchScript" in str(error):
            raise _pickle_error(path) from error
        raise _format_error(path) from error
    if not isinstance(state, Mapping) or not all(
        isinstance(t, torch.Tensor) for t in state.values()
    ):
        raise InputError(f"{path} is not a state dict", "save model.state_dict()")
    return dict(state)


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    import safetensors
    from safetensors.torch import load_file

    try:
        state: dict[str, torch.Tensor] = load_file(path)
    except safetensors.SafetensorError as error:
        raise InputError(f"cannot read {path} as safetensors: {reason(error)}") from error
    return state


def _pickle_error(path: Path) -> UnsafeFileError:
    return UnsafeFileError(f"{path} is a pickle: loading it can run arbitrary code", _PICKLE_HINT)


def _format_error(path: Path) -> InputError:
    return InputError(f"not a torch file, or truncated: {path}")
