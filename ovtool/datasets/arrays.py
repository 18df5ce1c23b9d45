"""Arrays of ``.npz`` and ``.npy`` files, without preprocessing."""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ovtool.core import files
from ovtool.core.errors import InputError
from ovtool.core.input_limits import require_memory
from ovtool.core.registry import suggestion
from ovtool.core.system_errors import reading
from ovtool.datasets.samples import LazySamples, LoadRequest, Sample, numpy_type, sample_shape
from ovtool.datasets.synthetic import index_maxima

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ovtool.core.ports import Port
    from ovtool.datasets.samples import Label

LABEL = "label"
Arrays = dict[str, NDArray[np.generic]]
DAMAGED = (
    ValueError, TypeError, EOFError, OSError, RuntimeError, zipfile.BadZipFile, zlib.error,
    tokenize.TokenError, SyntaxError, ArithmeticError,
)  # fmt: skip
"""Exceptions of NumPy for damaged files (from fuzzing)."""


def load(request: LoadRequest) -> LazySamples[int]:
    """Return the rows of a file of arrays.

    The first dimension of every array is the sample, regardless of the input's layout; a row may
    keep the batch dimension of its input, of size 1.  An ``.npz`` contains one array per input
    name, and optionally ``label``, [samples, ...].  One integer a sample is a class index, one
    text is a text.  Fractions, and several values a sample, are numbers: targets of a regression,
    or a mask of class indices [height, width].  An ``.npy`` contains the only input and is
    memory-mapped.

    Raises:
        InputError: The file is damaged, an input is missing, or an array does not fit.
    """
    path = files.existing_file(request.reference, "data")
    arrays = _open_npy(path, request) if path.suffix.lower() == ".npy" else _open_npz(path, request)
    labels = _labels(path, arrays.pop(LABEL)) if LABEL in arrays else None
    for port in request.inputs:
        _check(path, port, arrays[port.name])
    _check_indices(path, arrays, request)
    counts = {name: len(array) for name, array in arrays.items()}
    if labels is not None:
        counts[LABEL] = len(labels)
    if len(set(counts.values())) != 1:
        listed = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise InputError(f"{path}: arrays differ in length: {listed}")
    if not next(iter(counts.values())):
        raise InputError(f"{path}: no samples")

    def read(row: int) -> Sample:
        label = None if labels is None else _label(labels[row])
        origin = f"{path} row {row}"
        values = {port.name: _row(path, port, arrays[port.name], row) for port in request.inputs}
        return Sample(values, label, origin)

    rows = request.subset(range(next(iter(counts.values()))))
    return LazySamples(request.reference, rows, read, labelled=labels is not None)


def check_file(path: Path) -> None:
    """Check that a file has arrays, by their headers.

    Raises:
        InputError: The file is missing, empty, damaged, or no file of NumPy.
    """
    files.existing_file(path, "data")
    try:
        with reading(path), path.open("rb") as stream:
            if path.suffix.lower() == ".npy":
                _declared_size(stream)
                return
            with zipfile.ZipFile(stream) as archive:
                for info in archive.infolist():
                    with archive.open(info) as member:
                        _declared_size(member)
    except DAMAGED as error:
        raise _read_error(path, error) from error


def _open_npy(path: Path, request: LoadRequest) -> Arrays:
    if len(request.inputs) != 1:
        names = ", ".join(port.name for port in request.inputs)
        raise InputError(
            f"{path}: an .npy file holds one input; the model has {len(request.inputs)}",
            f"give an .npz with the arrays {names}",
        )
    try:
        with reading(path), path.open("rb") as stream:
            declared = _declared_size(stream)
        if declared > path.stat().st_size:  # NumPy overflows
            raise InputError(f"{path} is truncated: it declares {declared} bytes")
        array = np.lib.format.open_memmap(path, mode="r")
    except DAMAGED as error:
        raise _read_error(path, error) from error
    return {request.inputs[0].name: array}


def _open_npz(path: Path, request: LoadRequest) -> Arrays:
    names = [port.name for port in request.inputs]
    try:
        with (
            reading(path),
            path.open("rb") as stream,
            np.lib.npyio.NpzFile(stream, allow_pickle=False) as archive,
        ):
            stored = list(archive.files)
            members = [name for name in (*names, LABEL) if name in stored]
            require_memory(inflated_size(path, members), f"{path}: {', '.join(members)}")
            arrays = {name: archive[name] for name in members}
    except DAMAGED as error:
        raise _read_error(path, error) from error
    for name in names:
        if name not in stored:
            raise InputError(f"{path}: no array for input {name!r}", suggestion(name, stored))
    unused = [name for name in stored if name not in arrays]
    if unused:
        hint = "" if LABEL in stored else f"; labels are in an array named {LABEL}"
        request.progress.note(f"{path}: unused arrays: {', '.join(unused)}{hint}")
    return arrays


def inflated_size(path: Path, names: Sequence[str]) -> int:
    """Return the bytes of arrays in an archive, by its table and by the header of each array."""
    size = 0
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.filename.removesuffix(".npy") in names:
                with archive.open(info) as stream:
                    size += max(info.file_size, _declared_size(stream))
    return size


def _declared_size(stream: IO[bytes]) -> int:
    """Return the bytes of the array that a header of the format of NumPy declares.

    Python objects, which reading refuses, count as none.
    """
    first = np.lib.format.read_magic(stream) == (1, 0)
    name = "read_array_header_1_0" if first else "read_array_header_2_0"
    shape, _, dtype = getattr(np.lib.format, name)(stream)
    return 0 if dtype.hasobject else int(math.prod(shape) * dtype.itemsize)


def _read_error(path: Path, error: BaseException) -> InputError:
    text = str(error)
    objects = any(word in text for word in ("allow_pickle", "pickled", "Python objects"))
    if objects and "max_header_size" not in text:  # a long header names allow_pickle too
        return InputError(f"{path} contains Python objects", "save arrays of numbers")
    return InputError(f"{path} is damaged or not a NumPy file")


def _check(path: Path, port: Port, array: NDArray[np.generic]) -> None:
    expected, row = sample_shape(port), list(array.shape[1:])
    shown = ["samples", *("?" if size < 0 else str(size) for size in expected)]
    if _keeps_batch(port, array) and row[port.batch_axis or 0] == 1:
        del row[port.batch_axis or 0]
    fits = len(row) == len(expected) and all(
        size in (-1, actual) for size, actual in zip(expected, row, strict=True)
    )
    if not fits:
        raise InputError(
            f"{path}: {port.name} has shape {list(array.shape)}, expected [{', '.join(shown)}]",
            "save samples of this shape, or convert the model with another --shape",
        )
    if array.dtype.kind not in "biuf" or not np.can_cast(
        array.dtype, numpy_type(port), "same_kind"
    ):
        raise InputError(f"{path}: {port.name} has type {array.dtype}, expected {port.dtype}")


def _check_indices(path: Path, arrays: Arrays, request: LoadRequest) -> None:
    """Reject integers beyond the table that an input indexes: lookups would read other memory."""
    names = [p.name for p in request.inputs if numpy_type(p).kind in "iu"]
    if request.graph is None or not names:
        return
    for name, maximum in index_maxima(request.graph()).items():
        array: NDArray[Any] = arrays[name]
        wrong = (array > maximum) | (array < -maximum - 1)  # -1 is the last row
        if wrong.any():
            row = int(np.argwhere(wrong)[0][0])
            value = array[row][wrong[row]].reshape(-1)[0]
            raise InputError(
                f"{path}: {name} row {row} has {value}; the embedding table ends at {maximum}",
                "use the tokenizer or vocabulary of this model",
            )


def _keeps_batch(port: Port, array: NDArray[np.generic]) -> bool:
    """Whether the rows of an array have the batch dimension of the input."""
    return port.batch_axis is not None and array.ndim == len(port.shape) + 1


def _row(path: Path, port: Port, array: NDArray[np.generic], row: int) -> NDArray[np.generic]:
    with np.errstate(over="ignore", invalid="ignore"):
        values = np.array(array[row], dtype=numpy_type(port))
    if values.dtype.kind == "f" and np.isinf(values).any() and np.isfinite(array[row]).all():
        raise InputError(
            f"{path}: {port.name} row {row} contains {np.abs(array[row]).max():g}, too large for"
            f" {port.dtype}"
        )
    if _keeps_batch(port, array):
        values = values.squeeze(port.batch_axis)
    if values.dtype.kind == "f" and np.isnan(values).any():
        raise InputError(f"{path}: {port.name} row {row} contains NaN")
    if port.maximum is not None and values.size and values.max() > port.maximum:
        raise InputError(
            f"{path}: {port.name} row {row} contains {values.max()}; the conversion is right up to "
            f"{port.maximum}",
            "reduce the integers before the model, as OpenVINO computes them in 32 bits",
        )
    return values


def _label(value: NDArray[np.generic]) -> Label:
    return value.item() if value.size == 1 else np.asarray(value)


def _labels(path: Path, array: NDArray[np.generic]) -> NDArray[np.generic]:
    if array.dtype.kind == "U" and array.ndim == 1:
        return array
    if array.dtype == bool:
        array = array.astype(np.uint8)
    if array.dtype.kind not in "iuf" or array.ndim < 1:
        raise InputError(
            f"{path}: {LABEL} has type {array.dtype} and shape {list(array.shape)}",
            "labels must be numbers or texts, with the sample as first dimension",
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InputError(f"{path}: {LABEL} contains NaN or infinity")
    if array.dtype.kind == "f" or array.size != len(array):
        return array
    labels = array.reshape(-1).astype(np.int64)
    if labels.min(initial=0) < 0:
        row = int(labels.argmin())
        raise InputError(
            f"{path}: {LABEL} row {row} is {labels[row]}, but a class index is at least 0",
            "store the targets of a regression as fractions (float32)",
        )
    return labels
