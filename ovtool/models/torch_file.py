"""torch files: state dicts, which are read without running code, and pickles, which are not."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ovtool.core import files
from ovtool.core.errors import InputError
from ovtool.core.third_party import captured, reason
from ovtool.core.variant import Source
from ovtool.models.torch import from_module, load_weights
from ovtool.models.torch_archive import refuse_inflated

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from ovtool.models.options import SourceOptions
    from ovtool.models.source import SourceModel

_ZIP_MAGIC, _PICKLE_MAGIC = b"PK\x03\x04", b"\x80"
_WAYS_OUT = (
    "export it to .pt2 or ONNX, or use module:function with its state dict; "
    "or --trust, which runs whatever code the file holds"
)


def read(reference: str, options: SourceOptions) -> SourceModel:
    """Read a pickled module or TorchScript if it is trusted; refuse it otherwise.

    Raises:
        InputError: The file is no torch file, holds only weights, or is not trusted.
    """
    path = files.existing_file(reference, "model")
    if not options.trust:
        read_state_dict(path)  # refuses what is more than weights
        raise _without_model(path)
    module = _unpickled(path)
    if options.weights is not None:
        load_weights(module, options.weights)
    source = Source(kind="torch-file", reference=reference, sha256=files.sha256(path))
    return from_module(module, None, options, source)


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """Read weights from safetensors or a state dict without running code of the file.

    Raises:
        InputError: The file is truncated, no torch file, or holds more than tensors by name.
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
        raise _pickled(path) if zipped or head[:1] == _PICKLE_MAGIC else _not_torch(path) from error
    except Exception as error:  # a damaged file fails in any way
        if "TorchScript" in str(error):
            raise _pickled(path) from error
        raise _not_torch(path) from error
    if not isinstance(state, Mapping) or not all(
        isinstance(t, torch.Tensor) for t in state.values()
    ):
        raise InputError(f"{path} is not a state dict: tensors by name", "save model.state_dict()")
    return dict(state)


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    import safetensors
    from safetensors.torch import load_file

    try:
        state: dict[str, torch.Tensor] = load_file(path)
    except safetensors.SafetensorError as error:
        raise InputError(f"cannot read {path} as safetensors: {reason(error)}") from error
    return state


def _unpickled(path: Path) -> torch.nn.Module:
    """Load a module and run whatever code its file holds, as the user allowed."""
    import torch

    scripted = False
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            scripted = any(name.endswith("/constants.pkl") for name in archive.namelist())
    try:
        with captured(str(path)):
            module = (
                torch.jit.load(path, "cpu")
                if scripted
                else torch.load(path, "cpu", weights_only=False)
            )
    except Exception as error:  # the file's own code, which may raise anything
        raise InputError(f"cannot load {path}: {reason(error)}") from error
    if isinstance(module, Mapping):
        raise _without_model(path)
    if not isinstance(module, torch.nn.Module):
        raise InputError(f"{path} holds {type(module).__name__}, not a torch.nn.Module")
    return module


def _pickled(path: Path) -> InputError:
    return InputError(f"{path} is a pickle, and loading it can run any code", _WAYS_OUT)


def _not_torch(path: Path) -> InputError:
    return InputError(f"not a torch file, or truncated: {path}")


def _without_model(path: Path) -> InputError:
    return InputError(
        f"{path} holds weights but no model",
        f"write a function that makes the module: module:function --weights {path}",
    )
