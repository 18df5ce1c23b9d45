"""Check that loading a torch archive runs no code from the file.

``torch.export.load`` unpickles parts of a ``.pt2``, evaluates strings as Python (sizes by
``sympy.sympify``, guards by ``exec``), resolves operation names to any attribute of ``torch``, and
writes names into generated Python code (torch 2.13, ``torch/_export/serde/serialize.py`` and
``torch/export/pt2_archive/_package.py``).  The check accepts only what ``torch.export.save`` writes
for a plain network.
"""

from __future__ import annotations

import ast
import io
import json
import re
import zipfile
from typing import TYPE_CHECKING, Any, BinaryIO

from ovtool.core.errors import InputError
from ovtool.core.third_party import captured, reason

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_SLACK_BYTES = 1 << 16
_HINT = "export it again with torch.export.save, or pass --trust to run the code in the file"

_RECORDS = re.compile(
    r"models/model\.json|data/weights/(weight_\d+|model_weights_config\.json)|"
    r"data/constants/(tensor_\d+|model_constants_config\.json)|data/sample_inputs/model\.pt|"
    r"archive_format|archive_version|byteorder|\.data/(version|serialization_id)"
)
_PAYLOAD = re.compile(r"(weight|tensor)_\d+")
_IDENTIFIER = re.compile(r"([A-Za-z_]\w*)?", re.ASCII)
_DOTTED = re.compile(r"[\w.@+-]*", re.ASCII)
_FREE_TEXT = frozenset({"as_string", "as_strings", "metadata", "range_constraints"})

_OPERATION = re.compile(
    r"torch\.ops\.(aten|prims|quantized_decomposed|torchvision)\.\w+\.\w+|"
    r"torch\.ops\.higher_order\.(cond|while_loop|wrap_with_autocast|wrap_with_set_grad_enabled)|"
    r"torch\.sym_\w+|math\.\w+|"
    r"_operator\.(add|and_|eq|floordiv|ge|getitem|gt|le|lt|mod|mul|ne|neg|not_|or_|pos|sub|truediv)",
    re.ASCII,
)
_FILE_OPERATION = re.compile(r"torch\.ops\.aten\.(from_file|save|_print|warn)\.")

_FUNCTIONS = frozenset({
    "Add", "And", "CeilDiv", "CeilToInt", "CleanDiv", "Eq", "Float", "FloatTrueDiv", "FloorDiv",
    "FloorToInt", "Ge", "Gt", "Identity", "IntTrueDiv", "Integer", "Le", "Lt", "Max", "Min", "Mod",
    "ModularIndexing", "Mul", "Ne", "Not", "Or", "PythonMod", "Rational", "RoundDecimal",
    "RoundToInt", "Symbol", "ToFloat", "TruncToFloat", "TruncToInt", "Where", "abs", "float",
    "int", "max", "min",
})  # fmt: skip
_SHAPE_METHODS = frozenset({"size", "stride", "dim", "numel", "storage_offset"})
_PLAIN_NODES = (
    ast.Expression, ast.Compare, ast.BoolOp, ast.BinOp, ast.UnaryOp, ast.Subscript, ast.Load,
    ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.USub, ast.UAdd, ast.Not,
    ast.And, ast.Or, ast.cmpop,
)  # fmt: skip
_MAX_EXPRESSION = 20_000


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
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise InputError(f"not a torch archive, or truncated: {path}") from error
    if total > size + _SLACK_BYTES:
        raise InputError(f"{path} expands from {size} to {total} bytes when read", "save it again")


def check_exported(path: Path) -> None:
    """Reject an archive of ``torch.export.save`` that could run code when loaded.

    The check uses torch's own reader, so that it sees what is loaded.

    Raises:
        UnsafeFileError: The file contains more than plain tensors and known operations.
        InputError: The file is not such an archive, truncated, or an older format.
    """
    from torch.export.pt2_archive._package import PT2ArchiveReader

    with path.open("rb") as stream:
        refuse_inflated(stream, path.stat().st_size, path)
    try:
        with captured(str(path)):
            archive = PT2ArchiveReader(str(path))
            names = archive.get_file_names()
    except (RuntimeError, AssertionError, ValueError) as error:
        raise InputError(
            f"not an archive of torch.export.save, or an older format: {path}", _HINT
        ) from error
    for name in names:
        if not _RECORDS.fullmatch(name):
            raise _refusal(path, f"the record {name!r}")
    try:
        for kind in ("weights", "constants"):
            _check_payloads(path, archive.read_bytes(f"data/{kind}/model_{kind}_config.json"))
        _check_sample_inputs(path, archive.read_bytes("data/sample_inputs/model.pt"))
        graph = json.loads(archive.read_bytes("models/model.json"))
        _check_strings(path, "", graph)
    except (RuntimeError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputError(f"{path} is damaged: {reason(error)}", "export it again") from error


def _refusal(path: Path, what: str) -> UnsafeFileError:
    return UnsafeFileError(f"{path} contains {what}, which could run code", _HINT)


def _check_payloads(path: Path, config: bytes) -> None:
    for name, payload in json.loads(config)["config"].items():
        if payload["use_pickle"] is not False or not _PAYLOAD.fullmatch(payload["path_name"]):
            raise _refusal(path, f"the pickled object {name!r}")
        if not _DOTTED.fullmatch(name):
            raise _refusal(path, f"the name {name[:60]!r}")


def _check_sample_inputs(path: Path, content: bytes) -> None:
    """Reject sample inputs that ``weights_only`` rejects: torch would unpickle them anyway."""
    import pickle

    import torch

    if not content:
        return
    refuse_inflated(io.BytesIO(content), len(content), path)
    try:
        with captured(str(path)):
            torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    except (pickle.UnpicklingError, RuntimeError) as error:
        raise _refusal(path, "pickled sample inputs") from error


def _check_strings(path: Path, key: str, value: Any) -> None:
    """Check every string of the graph against the rule for its key."""
    if key in _FREE_TEXT:
        return
    if key in {"as_custom_obj", "custom_obj"} or (key == "custom_obj_values" and value):
        raise _refusal(path, "a custom object")
    if isinstance(value, dict):
        for name, part in value.items():
            if not _DOTTED.fullmatch(name):
                raise _refusal(path, f"the name {name[:60]!r}")
            _check_strings(path, name, part)
    elif isinstance(value, list):
        for part in value:
            _check_strings(path, key, part)
    elif isinstance(value, str) and not _RULES.get(key, _is_dotted)(value):
        raise _refusal(path, f"{value[:60]!r} as {key}")


def _is_dotted(text: str) -> bool:
    return _DOTTED.fullmatch(text) is not None


def _is_identifier(text: str) -> bool:
    return _IDENTIFIER.fullmatch(text) is not None


def _is_operation(text: str) -> bool:
    return bool(_OPERATION.fullmatch(text)) and not _FILE_OPERATION.match(text)


def is_plain_expression(text: str) -> bool:
    """Whether a size or guard is arithmetic of symbols, sizes and known functions only."""
    if len(text) > _MAX_EXPRESSION:
        return False
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False
    return _is_plain(tree)


def _is_plain(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, bool | int | float)
    if isinstance(node, ast.Name):
        return node.id == "inf" or re.fullmatch(r"[suzf]\d+", node.id) is not None
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
        # L['x'] of a guard: an input by name
        index = node.slice
        text = index.value if isinstance(index, ast.Constant) else None
        return node.value.id == "L" and isinstance(text, str) and _is_identifier(text)
    if isinstance(node, ast.Call):
        return _is_plain_call(node)
    return isinstance(node, _PLAIN_NODES) and all(map(_is_plain, ast.iter_child_nodes(node)))


def _is_plain_call(node: ast.Call) -> bool:
    if isinstance(node.func, ast.Attribute):
        return (
            node.func.attr in _SHAPE_METHODS
            and not node.keywords
            and all(map(_is_plain, (node.func.value, *node.args)))
        )
    if not isinstance(node.func, ast.Name) or node.func.id not in _FUNCTIONS:
        return False
    if node.func.id != "Symbol":  # other functions evaluate string arguments
        return not node.keywords and all(map(_is_plain, node.args))
    assumptions = (k.value for k in node.keywords)
    return (
        len(node.args) == 1
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str)
        and re.fullmatch(r"[A-Za-z_]\w*", node.args[0].value, re.ASCII) is not None
        and all(isinstance(a, ast.Constant) and isinstance(a.value, bool) for a in assumptions)
    )


def _is_plain_structure(text: str) -> bool:
    """Whether a pytree consists of tuples, lists and dicts with plain keys."""
    version, root = json.loads(text)
    return version == 1 and _is_plain_branch(root)


def _is_plain_branch(branch: dict[str, Any]) -> bool:
    kind, context = branch["type"], branch["context"]
    if kind not in {None, "builtins.tuple", "builtins.list", "builtins.dict"}:
        return False
    keys = json.loads(context) if context is not None else None
    if keys is not None and not (
        isinstance(keys, list) and all(isinstance(k, str) and _is_dotted(k) for k in keys)
    ):
        return False
    return all(map(_is_plain_branch, branch["children_spec"]))


_RULES: dict[str, Callable[[str], bool]] = {
    "name": _is_identifier,
    "as_name": _is_identifier,
    "forward_arg_names": _is_identifier,
    "target": _is_operation,
    "as_operator": _is_operation,
    "expr_str": is_plain_expression,
    "guards_code": is_plain_expression,
    "in_spec": _is_plain_structure,
    "out_spec": _is_plain_structure,
}
