"""Loading of configuration, tokenizer and weights with transformers, never from the network."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ovtool.core.companions import CONFIG, read_json_object
from ovtool.core.errors import InputError
from ovtool.core.registry import missing_package
from ovtool.core.third_party import captured, reason

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_VOCABULARIES = (
    "tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model",
    "sentencepiece.bpe.model", "*.tiktoken", "tekken.json",
)  # fmt: skip
"""Files that a tokenizer is read from."""
_OTHER_SENSES = ("vision", "audio", "image", "video", "speech")
_SHOWN_KEYS = 3
_ENVIRONMENT = (
    "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "TQDM_DISABLE",
)  # fmt: skip
"""Variables that keep libraries from the network, and from drawing progress bars."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model of the Hugging Face format, or a GGUF file, on disk."""

    folder: Path
    gguf: str | None = None
    """Name of the GGUF file in the folder; None for the Hugging Face format."""
    trust: bool = False

    @property
    def path(self) -> Path:
        """The folder, or the GGUF file."""
        return self.folder / self.gguf if self.gguf else self.folder

    @property
    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of ``from_pretrained``."""
        given: dict[str, Any] = {"local_files_only": True, "trust_remote_code": self.trust}
        return given | ({"gguf_file": self.gguf} if self.gguf else {})


def require_packages(what: str, *names: str) -> None:
    """Check that packages are installed, without importing them.

    Raises:
        MissingDependencyError: A package is not installed.
    """
    import importlib.util

    for name in names:
        if importlib.util.find_spec(name) is None:
            raise missing_package(what, ModuleNotFoundError(name=name), "llm")


@contextlib.contextmanager
def quiet_transformers(what: str) -> Iterator[None]:
    """Send the output of transformers to the log, and keep it from the network."""
    before = {name: os.environ.get(name) for name in _ENVIRONMENT}
    os.environ.update(dict.fromkeys(_ENVIRONMENT, "1"))  # read when a library is imported
    try:
        from transformers.utils import logging

        level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        try:
            with captured(what):
                yield
        finally:
            logging.set_verbosity(level)
            if bars:
                logging.enable_progress_bar()
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def check_folder(folder: Path, *, trust: bool) -> None:
    """Check what the files of a folder in the Hugging Face format say, before anything is loaded.

    Raises:
        InputError: The folder has code of its own without ``trust``, no tokenizer, no weights that
            load without running code, or a model that reads more than text.
    """
    config = read_json_object(folder / CONFIG)
    settings = [CONFIG, "tokenizer_config.json"]
    own_code = [
        name
        for name in settings
        if (folder / name).is_file() and "auto_map" in read_json_object(folder / name)
    ]
    if own_code and not trust:
        raise InputError(
            f"{folder} runs code of its own: auto_map in {', '.join(own_code)}",
            "read the .py files of the folder, then convert it with --trust",
        )
    senses = [
        key
        for key in config
        if key.partition("_")[0] in _OTHER_SENSES and isinstance(config[key], dict)
    ]
    if senses:
        raise InputError(
            f"{folder} is a multimodal model ({', '.join(senses)}); ovtool converts models of text",
            "convert its parts as modules of your own code: module:function",
        )
    if config.get("is_encoder_decoder"):
        raise InputError(
            f"{folder} has an encoder and a decoder; ovtool converts models with one of them",
            "convert its parts as modules of your own code: module:function",
        )
    if not any(any(folder.glob(pattern)) for pattern in _VOCABULARIES):
        raise InputError(
            f"{folder} has no tokenizer",
            "save it beside the model: tokenizer.save_pretrained(folder) writes tokenizer.json",
        )
    if not any(folder.glob("*.safetensors")):
        raise InputError(
            f"{folder} has no weights in .safetensors files",
            "save them: model.save_pretrained(folder); pickled weights are not read",
        )


def load_config(checkpoint: Checkpoint) -> Any:
    """Return the configuration of a model.

    Raises:
        InputError: transformers does not know the architecture, or cannot read the files.
    """
    import transformers
    from transformers import CONFIG_MAPPING, AutoConfig

    if checkpoint.gguf is None and not checkpoint.trust:
        kind = read_json_object(checkpoint.folder / CONFIG).get("model_type")
        if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
            raise InputError(
                f"{checkpoint.path}: transformers {transformers.__version__} does not know the"
                f" architecture {kind!r}",
                "check model_type in config.json, or install a newer transformers",
            )
    return _load(checkpoint, "configuration", AutoConfig.from_pretrained)


def load_tokenizer(checkpoint: Checkpoint) -> Any:
    """Return the tokenizer of a model.

    Raises:
        InputError: Its files are damaged, or of a kind that transformers does not know.
    """
    from transformers import AutoTokenizer

    return _load(checkpoint, "tokenizer", AutoTokenizer.from_pretrained)


def load_model(checkpoint: Checkpoint, architecture: Any) -> Any:
    """Return a model with its weights as they are stored, in eval mode.

    Raises:
        InputError: The weights are damaged, incomplete, or do not fit the configuration.
    """

    def load(folder: Path, **arguments: Any) -> Any:
        import torch

        # The weights of a GGUF file are integers with scales: f32 has their values.
        dtype = torch.float32 if checkpoint.gguf else "auto"
        return architecture.from_pretrained(
            folder, dtype=dtype, output_loading_info=True, **arguments
        )

    model, loaded = _load(checkpoint, "weights", load)
    for kind in ("missing_keys", "mismatched_keys"):
        if keys := sorted(map(str, loaded.get(kind) or ())):
            more = f" and {len(keys) - _SHOWN_KEYS} more" if len(keys) > _SHOWN_KEYS else ""
            raise InputError(
                f"the weights of {checkpoint.path} do not fit its configuration: "
                f"{kind.partition('_')[0]} {', '.join(keys[:_SHOWN_KEYS])}{more}",
                "check architectures in config.json, or get the files again",
            )
    return model.eval()


def _load(checkpoint: Checkpoint, what: str, load: Any) -> Any:
    try:
        return load(checkpoint.folder, **checkpoint.arguments)
    except ModuleNotFoundError as error:
        raise missing_package(f"{what} of {checkpoint.path}", error, "llm") from error
    except Exception as error:  # files of strangers: the library raises anything
        data = checkpoint.gguf is not None or what == "weights"
        hint = "a file may be incomplete: get it again" if data else ""
        raise InputError(
            f"cannot load the {what} of {checkpoint.path}: {reason(error)}", hint
        ) from error
