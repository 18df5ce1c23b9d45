"""Arrays from ``.npz`` and ``.npy`` files, taken as the model takes them: no preprocessing."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ovtool.core import files
from ovtool.core.errors import InputError
from ovtool.core.registry import suggestion
from ovtool.datasets.request import Readable, Request
from ovtool.datasets.samples import Sample, numpy_type, sample_shape

if TYPE_CHECKING:
    from pathlib import Path

    from ovtool.core.variant import Port

LABEL = "label"
Arrays = dict[str, NDArray[np.generic]]
# What numpy raises on damaged files (found by damaging some).
_DAMAGED = (
    ValueError, EOFError, OSError, NotImplementedError, MemoryError, zipfile.BadZipFile,
    zlib.error, tokenize.TokenError,
)  # fmt: skip


def load(request: Request) -> Readable[int]:
    """Return the rows of a file of arrays.

    The first dimension of every array is the sample, whatever the input's layout.  An ``.npz``
    holds an array for each input, by its name, and may hold ``label``: class indices or texts
    as ``[samples]``.  An ``.npy`` holds the only input and is read through a memory map.

    Raises:
        InputError: The file cannot be read, an input is missing, or an array does not fit.
    """
    path = files.existing_file(request.reference, "data")
    arrays = _open_npy(path, request) if path.suffix.lower() == ".npy" else _open_npz(path, request)
    labels = _labels(path, arrays.pop(LABEL)) if LABEL in arrays else None
    for port in request.inputs:
        _check(path, port, arrays[port.name])
    counts = {name: len(array) for name, array in arrays.items()}
    if labels is not None:
        counts[LABEL] = len(labels)
    if len(set(counts.values())) != 1:
        listed = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise InputError(f"{path}: arrays of different lengths: {listed}")
    if not next(iter(counts.values())):
        raise InputError(f"{path}: no samples")

    def read(row: int) -> Sample:
        label = None if labels is None else labels[row].item()
        origin = f"{path} row {row}"
        values = {port.name: _row(path, port, arrays[port.name], row) for port in request.inputs}
        return Sample(values, label, origin)

    rows = request.chosen(range(next(iter(counts.values()))))
    return Readable(request.reference, rows, read, labelled=labels is not None)


def _open_npy(path: Path, request: Request) -> Arrays:
    if len(request.inputs) != 1:
        names = ", ".join(port.name for port in request.inputs)
        raise InputError(
            f"{path}: an .npy file fills one input, and the model has {len(request.inputs)}",
            f"give an .npz with the arrays {names}",
        )
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except _DAMAGED as error:
        raise _unreadable(path, error) from error
    return {request.inputs[0].name: array}


def _open_npz(path: Path, request: Request) -> Arrays:
    wanted = [port.name for port in request.inputs]
    try:
        with path.open("rb") as stream, np.lib.npyio.NpzFile(stream, allow_pickle=False) as archive:
            there = list(archive.files)
            read = {name: archive[name] for name in (*wanted, LABEL) if name in there}
    except _DAMAGED as error:
        raise _unreadable(path, error) from error
    for name in wanted:
        if name not in there:
            raise InputError(f"{path}: no array for input {name!r}", suggestion(name, there))
    unused = [name for name in there if name not in read]
    if unused:
        request.progress.note(f"{path}: not used: {', '.join(unused)}")
    return read


def _unreadable(path: Path, error: BaseException) -> InputError:
    if any(word in str(error) for word in ("allow_pickle", "pickled", "Python objects")):
        return InputError(f"{path} holds Python objects", "save plain arrays of numbers")
    return InputError(f"{path} cannot be read: it is damaged, or not a file of numpy's")


def _check(path: Path, port: Port, array: NDArray[np.generic]) -> None:
    expected = sample_shape(port)
    shown = ["samples", *("?" if size < 0 else str(size) for size in expected)]
    fits = array.ndim == len(expected) + 1 and all(
        size in (-1, there) for size, there in zip(expected, array.shape[1:], strict=True)
    )
    if not fits:
        raise InputError(
            f"{path}: {port.name} is {list(array.shape)}, the model takes [{', '.join(shown)}]"
        )
    if array.dtype.kind not in "biuf" or not np.can_cast(
        array.dtype, numpy_type(port), "same_kind"
    ):
        raise InputError(f"{path}: {port.name} is {array.dtype}, the model takes {port.dtype}")


def _row(path: Path, port: Port, array: NDArray[np.generic], row: int) -> NDArray[np.generic]:
    values = np.array(array[row], dtype=numpy_type(port))
    if values.dtype.kind == "f" and np.isnan(values).any():
        raise InputError(f"{path}: {port.name} row {row} has NaN")
    return values


def _labels(path: Path, array: NDArray[np.generic]) -> NDArray[np.int64] | NDArray[np.str_]:
    if array.dtype.kind == "U" and array.ndim == 1:
        return array.astype(np.str_)
    if array.dtype.kind not in "iu" or array.ndim < 1 or array.size != len(array):
        raise InputError(
            f"{path}: {LABEL} is {array.dtype} {list(array.shape)}",
            "labels are whole numbers or texts, one a sample",
        )
    labels = array.reshape(-1).astype(np.int64)
    if labels.min(initial=0) < 0:
        raise InputError(f"{path}: {LABEL} row {int(labels.argmin())} is {labels.min()}, below 0")
    return labels
