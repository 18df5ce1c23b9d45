"""YAML files that users write: every mistake of a file is reported, with its line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args, get_origin

from pydantic import BaseModel
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from ovtool.core import files
from ovtool.core.errors import InputError
from ovtool.core.fields import validation_message
from ovtool.core.input_limits import YamlStructureError, check_yaml
from ovtool.core.registry import suggestion

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from pydantic_core import ErrorDetails

MAX_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Mistake:
    """A mistake in a file; ``line`` counts from 1."""

    line: int
    message: str


class MistakesError(InputError):
    """A file with mistakes, all of them."""

    def __init__(self, path: Path, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(sorted(mistakes, key=lambda m: m.line))
        count = f"{len(mistakes)} mistake{'s' if len(mistakes) > 1 else ''}"
        lines = [f"  {path}:{m.line}: {m.message}" for m in self.mistakes]
        super().__init__("\n".join([f"{path}: {count}", *lines]))


def load_tree(path: Path, what: str, example: str) -> CommentedMap:
    """Return the mapping of a YAML file.

    Args:
        path: The file.
        what: Kind of file, for errors, such as ``recipe``.
        example: First keys of such a file.

    Raises:
        MistakesError: The file is not YAML, or not a mapping.
        InputError: The file does not exist, is too large, or is not text.
    """
    files.existing_file(path, what)
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"{what} is larger than {MAX_BYTES >> 10} KiB: {path}")
    try:
        text = path.read_text(encoding="utf-8")
        check_yaml(text)
        tree = YAML(typ="rt").load(text)
    except YamlStructureError as error:
        raise MistakesError(path, [Mistake(error.line, f"{error}")]) from error
    except UnicodeDecodeError as error:
        raise InputError(f"not a text file: {path}") from error
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise MistakesError(path, [Mistake(line, f"not YAML: {error.problem}")]) from error
    except (YAMLError, ValueError, TypeError) as error:  # TypeError: a key that is a collection
        reason = " ".join(str(error).split())
        raise MistakesError(path, [Mistake(1, f"not YAML: {reason}")]) from error
    if not isinstance(tree, CommentedMap):
        raise MistakesError(path, [Mistake(1, f"a {what} is a mapping: {example}")])
    return tree


def plain(node: Any) -> Any:
    """Return ruamel's nodes as plain Python types."""
    if isinstance(node, CommentedMap):
        return {plain(k): plain(v) for k, v in node.items()}
    if isinstance(node, CommentedSeq):
        return [plain(v) for v in node]
    for scalar in (bool, int, float, str):
        if isinstance(node, scalar):
            return scalar(node)
    return node


def line_of(node: Any, place: Iterable[object]) -> int:
    """Return the line of a place in the tree, or of its nearest ancestor."""
    line = 1
    for part in place:
        known = node.lc.data if isinstance(node, CommentedMap | CommentedSeq) else None
        if not known or part not in known:
            break
        line = known[part][0] + 1
        node = node[part]
    return line


def mistake(model: type[BaseModel], tree: CommentedMap, error: ErrorDetails) -> Mistake:
    """Return an error of pydantic with its line, and the nearest key for an unknown one."""
    place = error["loc"]
    name = ".".join(str(part) for part in place)
    if error["type"] == "extra_forbidden":
        known = _known_keys(model, place[:-1])
        hint = f" ({suggestion(str(place[-1]), known)})" if known else ""
        message = f"unknown key {place[-1]!r}{hint}"
    elif error["type"] == "missing":
        message = f"{name} is missing"
    else:
        message = f"{name}: {validation_message(error)}"
    return Mistake(line_of(tree, place), message)


def _known_keys(root: type[BaseModel], place: Sequence[object]) -> list[str]:
    """Return the keys of a place in a file; empty where the user names them."""
    model: type[BaseModel] | None = root
    named_by_user = False
    for part in place:
        if named_by_user:
            named_by_user = False
        elif model is None or part not in model.model_fields:
            return []
        else:
            annotation = model.model_fields[str(part)].annotation
            named_by_user, model = get_origin(annotation) is dict, _model_in(annotation)
    return [] if named_by_user or model is None else list(model.model_fields)


def _model_in(annotation: object) -> type[BaseModel] | None:
    """Return the model in an annotation such as ``X | None`` or ``dict[str, X]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)
