"""Pickled torch modules and TorchScript files, which load only with ``--trust``."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ovtool.core import files
from ovtool.core.errors import InputError
from ovtool.core.third_party import captured, reason
from ovtool.core.variant import Source
from ovtool.models.torch import from_module
from ovtool.models.torch_weights import load_weights, read_state_dict

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from ovtool.models.options import SourceOptions
    from ovtool.models.source import SourceModel


def read(reference: str, options: SourceOptions) -> SourceModel:
    """Read a trusted pickled module or TorchScript file.

    Raises:
        InputError: The file is not a torch file, contains only weights, or is not trusted.
    """
    path = files.existing_file(reference, "model")
    if not options.trust:
        read_state_dict(path)  # raises for a pickle
        raise _weights_only(path)
    module = _unpickle(path)
    if options.weights is not None:
        load_weights(module, options.weights)
    source = Source(kind="torch-file", reference=reference, sha256=files.sha256(path))
    return from_module(module, None, options, source)


def _unpickle(path: Path) -> torch.nn.Module:
    """Load a module, which runs the code in its file; requires the user's trust."""
    import torch

    try:
        with captured(str(path)):
            if _is_scripted(path):
                module = torch.jit.load(path, "cpu")
            else:
                module = torch.load(path, "cpu", weights_only=False)
            if isinstance(module, torch.nn.Module):
                module.eval()  # fails for a module whose attributes are damaged
    except Exception as error:  # code in the file can raise anything
        raise InputError(f"cannot load {path}: {reason(error)}") from error
    if isinstance(module, Mapping):
        raise _weights_only(path)
    if not isinstance(module, torch.nn.Module):
        raise InputError(f"{path} contains a {type(module).__name__}, not a torch.nn.Module")
    return module


def _is_scripted(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _weights_only(path: Path) -> InputError:
    return InputError(
        f"{path} contains weights but no model",
        f"write a function that returns the module: module:function --weights {path}",
    )
