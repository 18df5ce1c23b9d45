"""Companions of an IR: the files of a language model that other programs read beside it.

openvino-genai, optimum-intel and OpenVINO Model Server read a folder with ``openvino_model.xml``,
the converted tokenizer and detokenizer, and the configuration of the model.
"""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING, Any, Literal

from ovtool.core import files
from ovtool.core.errors import InputError
from ovtool.core.input_limits import parse_json
from ovtool.core.system_errors import reading
from ovtool.core.third_party import reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from ovtool.core.ports import Port

Stem = Literal["model", "openvino_model"]
STEM: Stem = "model"
LANGUAGE_STEM: Stem = "openvino_model"
"""Names of the IR without its suffix: of any model, and of a language model."""

SETTINGS = "openvino_config.json"
"""Settings of optimum-intel, with the type of the weights as ``dtype``."""
CONFIG = "config.json"
"""Configuration of a language model."""
TOKENIZER, DETOKENIZER = "openvino_tokenizer.xml", "openvino_detokenizer.xml"
IDS, MASK, POSITIONS, BEAM = "input_ids", "attention_mask", "position_ids", "beam_idx"
"""Inputs of text generators, as openvino-genai expects them."""
_POSITION_COUNTS = ("max_position_embeddings", "n_positions", "max_sequence_length", "n_ctx")
"""Names of the number of positions in configurations."""
_SMALLER_CACHES = ("sliding_window", "kv_lora_rank", "attn_layer_period")
"""Names in configurations of models with a cache that is smaller in some layers."""
_NAME = re.compile(r"\w[\w.-]*", re.ASCII)


def check_names(names: Iterable[str]) -> None:
    """Check that companions are files of the folder itself.

    Raises:
        ValueError: A name has a folder, or other characters than letters, digits and ``._-``.
    """
    for name in names:
        if not _NAME.fullmatch(name):
            raise ValueError(f"not the name of a file of a variant: {name!r}")


def hash_companions(folder: Path, others: Iterable[str]) -> dict[str, str]:
    """Return the SHA-256 of each file of a folder by name, without the files ``others``."""
    known = set(others)
    named = sorted(path for path in folder.iterdir() if path.is_file() and path.name not in known)
    return {path.name: files.sha256(path) for path in named}


def verify_companions(folder: Path, recorded: Mapping[str, str]) -> None:
    """Check that each companion has its recorded hash.

    Raises:
        InputError: A file is missing or was changed.
    """
    for name, digest in recorded.items():
        path = folder / name
        if not path.is_file():
            raise InputError(f"{path} is missing", "convert the source again")
        if files.verified_sha256(path) != digest:
            raise InputError(
                f"{path} was changed: its hash differs from the record", "convert the source again"
            )


def copy_companions(folder: Path, names: Iterable[str]) -> Callable[[Path], None]:
    """Return a function that copies companions of a folder into another one."""

    def write(target: Path) -> None:
        for name in names:
            with reading(folder / name):
                shutil.copyfile(folder / name, target / name)

    return write


def is_text_generator(inputs: Iterable[Port]) -> bool:
    """Whether inputs are those of a text generator with its cache as state."""
    return {IDS, BEAM} <= {port.name for port in inputs}


def read_json_object(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises:
        InputError: The file is not JSON, or not an object.
    """
    with reading(path):
        content = path.read_bytes()
    try:
        value = parse_json(content)
    except ValueError as error:
        raise InputError(f"{path} is not a JSON file: {reason(error)}") from error
    if not isinstance(value, dict):
        raise InputError(f"{path} is not a JSON object")
    return value


def read_cache_values(folder: Path) -> int | None:
    """Return the values of the KV cache for each token; None if the config does not tell.

    They are a key and a value for each layer and head of keys, if every layer attends to all tokens
    and keeps them whole.

    Raises:
        InputError: ``config.json`` is damaged.
    """
    if not (folder / CONFIG).is_file():
        return None
    config = read_json_object(folder / CONFIG)
    kinds = set(config.get("layer_types") or ())
    if kinds - {"full_attention"} or any(config.get(name) for name in _SMALLER_CACHES):
        return None
    sizes = [config.get(n) for n in ("num_hidden_layers", "num_attention_heads", "hidden_size")]
    known = [size for size in sizes if isinstance(size, int) and size > 0]
    if len(known) < len(sizes):
        return None
    layers, heads, hidden = known
    width = int(config.get("head_dim") or hidden // heads)
    return 2 * layers * int(config.get("num_key_value_heads") or heads) * width


def read_positions(folder: Path) -> int | None:
    """Return how many tokens the model of a folder was made for; None if its config has no number.

    Raises:
        InputError: ``config.json`` is damaged.
    """
    if not (folder / CONFIG).is_file():
        return None
    config = read_json_object(folder / CONFIG)
    sizes = [config.get(name) for name in _POSITION_COUNTS]
    return next((size for size in sizes if isinstance(size, int) and size > 1), None)
