"""Class names in a CSV of labels, and the class indices that they stand for.

The order of the classes is that of the model's outputs.  It comes from ``classes.txt``, from the
model, or, as for a folder without a CSV, from the sorted names of class folders.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovtool.core.errors import InputError
from ovtool.core.files import existing_file
from ovtool.core.input_limits import MAX_DIGITS
from ovtool.core.registry import suggestion
from ovtool.core.system_errors import reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    import openvino as ov

CLASSES = "classes.txt"
"""Name of a file with a class name in each line, beside the CSV or in the folder of images."""
_MAX_BYTES = 1 << 20
_MODEL_INFO = ["model_info", "labels"]
"""Where Model API, Geti and Ultralytics store the class names of an IR, separated by spaces."""


def is_index(label: str) -> bool:
    """Whether a label is written as a class index."""
    return label.isascii() and label.isdecimal() and len(label) <= MAX_DIGITS


def number_classes(
    names: Iterable[str],
    folder: Path,
    table: Path,
    graph: Callable[[], ov.Model] | None,
) -> Mapping[str, int]:
    """Return the class index of each name in a CSV of labels.

    Args:
        names: The names that occur.
        folder: Folder of images.
        table: The CSV.
        graph: Reads the graph of the model; None without a model.

    Raises:
        InputError: There is no list of classes, or a name is not in it.
    """
    wanted = list(dict.fromkeys(names))
    listed, origin = _from_file(folder, table)
    if not listed and graph is not None:
        listed, origin = _from_model(graph()), "the model"
    if not listed:
        folders = _folder_names(folder)
        if set(wanted) <= set(folders):
            listed, origin = folders, f"the class folders of {folder}"
    if not listed:
        raise InputError(
            f"{table}: label {wanted[0]!r} is a name, and the order of the classes is not known",
            f"list the names in {table.with_name(CLASSES)}, one a line in the order of the outputs",
        )
    numbers = {name: number for number, name in enumerate(listed)}
    for name in wanted:
        if name not in numbers:
            raise InputError(
                f"{table}: {name!r} is not a class of {origin}", suggestion(name, listed)
            )
    return numbers


def read_class_names(
    folder: Path | None, graph: Callable[[], ov.Model], table: Path | None = None
) -> list[str]:
    """Return the names of all classes in the order of the outputs; empty if they are not known.

    Args:
        folder: Folder of images, with a file of classes or a folder for each class.
        graph: Reads the graph of the model, which may store the names.
        table: File with a name in each line.

    Raises:
        InputError: A file of classes is missing or not a list of different names.
    """
    if table is not None:
        return _read_names(existing_file(table, "list of classes"))
    if folder is not None:
        listed, _ = _from_file(folder, folder / CLASSES)
        if listed:
            return listed
    if stored := _from_model(graph()):
        return stored
    return [] if folder is None else _folder_names(folder)


def _folder_names(folder: Path) -> list[str]:
    """Return the sorted names of the folders of a folder."""
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def _from_file(folder: Path, table: Path) -> tuple[list[str], str]:
    """Return the names in a file of classes, and the file; empty without one.

    Raises:
        InputError: The file is not a list of different names.
    """
    for path in (table.with_name(CLASSES), folder / CLASSES):
        if not path.is_file():
            continue
        names = _read_names(path)
        if names:
            return names, str(path)
    return [], ""


def _read_names(path: Path) -> list[str]:
    """Return the names in a file of classes.

    Raises:
        InputError: The file is not a list of different names.
    """
    if path.stat().st_size > _MAX_BYTES:
        raise InputError(f"list of classes is larger than {_MAX_BYTES >> 20} MiB: {path}")
    try:
        with reading(path):
            names = [line.strip() for line in path.read_text("utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise InputError(f"not a text file: {path}") from error
    while names and not names[-1]:
        names.pop()
    twice = next((name for name in names if names.count(name) > 1 or not name), None)
    if twice is not None:
        raise InputError(f"{path}: {twice!r} is not the name of one class", "one name a line")
    return names


def _from_model(model: ov.Model) -> list[str]:
    """Return the class names that a graph stores; empty without them."""
    if not model.has_rt_info(_MODEL_INFO):
        return []
    return str(model.get_rt_info(_MODEL_INFO).value).split()
