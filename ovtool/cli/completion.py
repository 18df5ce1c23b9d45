"""Shell completion of values: models, sweeps, recipes, methods, devices and fixed words.

Completion reads names of files and imports no library that compiles or measures.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

MODEL_FILES = (".xml", ".onnx", ".tflite", ".pdmodel", ".pt2", ".gguf")
_MOST_ENTRIES, _MOST_VALUES = 1000, 100


def complete_models(incomplete: str) -> list[str]:
    """Return variant folders, model files and bundled samples that begin with a text."""
    from ovtool.core.variant import RECORD

    def is_model(path: Path) -> bool:
        return path.suffix.lower() in MODEL_FILES or (path / RECORD).is_file()

    return _paths(incomplete, is_model) + complete_samples(incomplete)


def complete_samples(incomplete: str) -> list[str]:
    """Return the bundled samples."""
    from ovtool.models.bundled.models import SAMPLES

    return _beginning(incomplete, [f"sample:{name}" for name in SAMPLES])


def complete_sweeps(incomplete: str) -> list[str]:
    """Return the folders of sweeps that begin with a text."""
    from ovtool.core.sweep_folder import PLAN

    return _paths(incomplete, lambda path: (path / PLAN).is_file())


def complete_recipes(incomplete: str) -> list[str]:
    """Return bundled recipes, and recipe files that begin with a text."""
    from ovtool.recipes.schema import bundled_folder

    names = sorted(path.stem for path in bundled_folder().glob("*.yaml"))
    files = _paths(incomplete, lambda path: path.suffix in (".yaml", ".yml"))
    return _beginning(incomplete, names) + files


def complete_recipes_and_models(incomplete: str) -> list[str]:
    """Return what ``ovtool run`` takes."""
    return complete_recipes(incomplete) + complete_models(incomplete)


def complete_methods(incomplete: str) -> list[str]:
    """Return the compression methods that begin with a text."""
    from ovtool.compression.registry import METHODS

    return _beginning(incomplete, METHODS)


def complete_devices(incomplete: str) -> list[str]:
    """Return device names that continue the last one of a list, such as ``CPU,N``."""
    from ovtool.core.device_names import KINDS, VIRTUAL

    return _listed(incomplete, [*KINDS, *VIRTUAL])


def complete_precisions(incomplete: str) -> list[str]:
    """Return the inference precisions."""
    from ovtool.core.trial import PRECISIONS

    return _listed(incomplete, PRECISIONS)


def complete_hints(incomplete: str) -> list[str]:
    """Return the performance hints."""
    from ovtool.core.trial import HINTS

    return _listed(incomplete, HINTS)


def complete_metrics(incomplete: str) -> list[str]:
    """Return the metrics of quality."""
    from ovtool.core.columns import METRIC_COLUMNS

    return _beginning(incomplete, METRIC_COLUMNS)


def complete_objectives(incomplete: str) -> list[str]:
    """Return the objectives of a choice."""
    from ovtool.selection.choice_spec import OBJECTIVES

    return _listed(incomplete, OBJECTIVES)


_BY_PLACEHOLDER: dict[str, Callable[[str], list[str]]] = {
    "DEVICE": complete_devices,
    "DEVICES": complete_devices,
    "HINT": complete_hints,
    "HINTS": complete_hints,
    "METHOD": complete_methods,
    "METRIC": complete_metrics,
    "MODEL": complete_models,
    "OBJECTIVE": complete_objectives,
    "PRECISION": complete_precisions,
    "PRECISIONS": complete_precisions,
    "RECIPE": complete_recipes,
    "MODEL|RECIPE": complete_recipes_and_models,
    "SWEEP": complete_sweeps,
}


def for_placeholder(placeholder: str | None) -> Callable[[str], list[str]] | None:
    """Return the completion of a value by its placeholder in ``--help``; None: files."""
    return _BY_PLACEHOLDER.get(placeholder or "")


def _beginning(incomplete: str, values: Iterable[str]) -> list[str]:
    return [value for value in values if value.startswith(incomplete)]


def _listed(incomplete: str, values: Iterable[str]) -> list[str]:
    """Return the continuations of a list with commas by values that it does not have yet."""
    cut = max(incomplete.rfind(","), incomplete.rfind(":")) + 1
    head, last = incomplete[:cut], incomplete[cut:]
    used = {value.casefold() for value in head.replace(":", ",").split(",")}
    rest = [value for value in values if value.casefold() not in used]
    return [f"{head}{value}" for value in _beginning(last, rest)]


def _paths(incomplete: str, wanted: Callable[[Path], bool]) -> list[str]:
    """Return the wanted files and folders that begin with a text, also one folder deeper."""
    folder, name = incomplete.rpartition("/")[0::2]
    root = Path(folder or ("/" if incomplete.startswith("/") else "."))
    found = list(islice(_search(root, name, wanted), _MOST_VALUES))
    prefix = incomplete[: len(incomplete) - len(name)]
    return [f"{prefix}{path.relative_to(root).as_posix()}" for path in found]


def _search(root: Path, name: str, wanted: Callable[[Path], bool]) -> Iterator[Path]:
    for path in _entries(root):
        if not path.name.startswith(name) or (path.name.startswith(".") and not name):
            continue
        if wanted(path):
            yield path
        else:
            yield from filter(wanted, _entries(path))


def _entries(folder: Path) -> list[Path]:
    """Return the sorted entries of a folder; nothing for what is none, or cannot be read."""
    try:
        return sorted(islice(folder.iterdir(), _MOST_ENTRIES))
    except OSError:
        return []
