"""Hugging Face folders and GGUF files: text generators and encoders with their tokenizers."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovtool.core import files
from ovtool.core.companions import LANGUAGE_STEM, SETTINGS, read_positions
from ovtool.core.errors import InputError
from ovtool.core.variant import Source
from ovtool.models.language.decoder import TorchDecoder, export_decoder
from ovtool.models.language.decoder_check import check_decoder
from ovtool.models.language.loading import (
    Checkpoint,
    check_folder,
    load_config,
    load_model,
    load_tokenizer,
    quiet_transformers,
    require_packages,
)
from ovtool.models.language.tokenizer import compare_tokenizers, save_tokenizer
from ovtool.models.source import Companions, SourceModel
from ovtool.models.torch import from_module

if TYPE_CHECKING:
    from ovtool.core.notes import Note
    from ovtool.models.check_verdict import CheckedConversion
    from ovtool.models.options import SourceOptions

_GGUF_MAGIC = b"GGUF"
_EXAMPLE = (2, 8)
_SETTINGS = {"torch.float32": "fp32", "torch.float16": "fp16", "torch.bfloat16": "bf16"}


def read_folder(reference: str, options: SourceOptions) -> SourceModel:
    """Read a folder with ``config.json``, weights in safetensors and a tokenizer.

    Raises:
        InputError: A file is missing or damaged, the architecture is not known, is not one of text
            alone, or has code of its own without ``--trust``.
        MissingDependencyError: A package of the extra is not installed.
    """
    folder = Path(reference)
    check_folder(folder, trust=options.trust)
    parts = sorted(path for path in folder.iterdir() if path.is_file())
    source = Source(kind="huggingface", reference=reference, sha256=files.sha256(*parts))
    return _read(Checkpoint(folder, trust=options.trust), source, options)


def read_gguf(reference: str, options: SourceOptions) -> SourceModel:
    """Read a GGUF file: its weights become f32.

    Raises:
        InputError: The file is damaged, or of an architecture that transformers does not read.
        MissingDependencyError: A package of the extra is not installed.
    """
    path = files.existing_file(reference, "model")
    with path.open("rb") as stream:
        if stream.read(len(_GGUF_MAGIC)) != _GGUF_MAGIC:
            raise InputError(f"not a GGUF file: {path}")
    require_packages(f"{path}", "gguf", "accelerate")
    source = Source(kind="gguf", reference=reference, sha256=files.sha256(path))
    return _read(Checkpoint(path.parent, path.name), source, options)


def _read(checkpoint: Checkpoint, source: Source, options: SourceOptions) -> SourceModel:
    what = str(checkpoint.path)
    require_packages(what, "torch", "transformers", "openvino_tokenizers")
    with quiet_transformers(what):
        config = load_config(checkpoint)
        architecture = _find_architecture(checkpoint, config)
        tokenizer = load_tokenizer(checkpoint)
        model = load_model(checkpoint, architecture)
        if _generates(architecture, checkpoint):
            return _read_decoder(model, tokenizer, checkpoint, source, options)
        return _read_encoder(model, tokenizer, checkpoint, source, options)


def _find_architecture(checkpoint: Checkpoint, config: Any) -> Any:
    """Return the class that the weights were saved from.

    Raises:
        InputError: transformers has no such class, or the model reads no text.
    """
    import transformers

    names = getattr(config, "architectures", None) or []
    if checkpoint.gguf:
        return transformers.AutoModelForCausalLM
    if not names:
        raise InputError(
            f"{checkpoint.path}: config.json names no class of the model",
            "add architectures: model.save_pretrained(folder) writes it",
        )
    automatic = getattr(config, "auto_map", None) or {}
    for kind, target in automatic.items():  # own code, with --trust
        if kind != "AutoConfig" and target.rpartition(".")[2] == names[0]:
            return getattr(transformers, kind)
    found = getattr(transformers, names[0], None)
    if found is None:
        raise InputError(
            f"{checkpoint.path}: transformers {transformers.__version__} does not know the model"
            f" {names[0]!r}",
            "check architectures in config.json, or install a newer transformers",
        )
    if found.main_input_name != "input_ids":
        raise InputError(
            f"{checkpoint.path} reads {found.main_input_name}; ovtool converts models of text",
            "convert it as a module of your own code: module:function",
        )
    return found


def _generates(architecture: Any, checkpoint: Checkpoint) -> bool:
    """Whether a class generates text token by token."""
    from transformers import AutoModelForCausalLM
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    known = set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values())
    return (
        checkpoint.gguf is not None
        or architecture is AutoModelForCausalLM
        or architecture.__name__ in known
    )


def _read_decoder(
    model: Any, tokenizer: Any, checkpoint: Checkpoint, source: Source, options: SourceOptions
) -> SourceModel:
    import torch
    import transformers

    reject_options(options, str(checkpoint.path))
    graph = export_decoder(model, str(checkpoint.path))
    against = f"transformers {transformers.__version__}, torch {torch.__version__}"
    text = model.config.get_text_config()

    def check(xml: Path, options: SourceOptions) -> CheckedConversion:
        with quiet_transformers(str(checkpoint.path)):
            exact = model if model.dtype == torch.float32 else copy.deepcopy(model).float()
            window = getattr(text, "sliding_window", None)
            positions = read_positions(xml.parent)
            checked = check_decoder(
                xml, TorchDecoder(exact), against, options, text.vocab_size, window, positions
            )
            notes = _tokenizer_notes(tokenizer, xml.parent)
        return replace(checked, notes=(*checked.notes, *notes))

    return SourceModel(
        source=source,
        model=graph,
        reference=None,
        against=against,
        own_check=check,
        companions=_companions(model, tokenizer, detokenizer=True),
    )


def reject_options(options: SourceOptions, reference: str) -> None:
    """Reject options that a text generator has no use for.

    Raises:
        InputError: An option is given.
    """
    given = {
        "--shape": options.input_shapes, "--layout": options.layouts, "--data": options.data,
        "--value": options.values, "--mean, --scale, --size": options.preprocessing,
    }  # fmt: skip
    for option, value in given.items():
        if value:
            raise InputError(f"{option} does not apply to a text generator: {reference}")


def _read_encoder(
    model: Any, tokenizer: Any, checkpoint: Checkpoint, source: Source, options: SourceOptions
) -> SourceModel:
    import openvino as ov
    import torch

    if model.dtype != torch.float32:
        model = model.float()
    model.config.use_cache = False
    ids = torch.ones(_EXAMPLE, dtype=torch.int64)
    example = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if "token_type_ids" in tokenizer.model_input_names:
        example["token_type_ids"] = torch.zeros_like(ids)
    read = from_module(model, example, options, source)
    if not options.input_shapes:
        read.model.reshape(dict.fromkeys(example, ov.PartialShape([-1, -1])))

    def check_tokenizer(folder: Path) -> tuple[Note, ...]:
        with quiet_transformers(str(checkpoint.path)):
            return _tokenizer_notes(tokenizer, folder)

    layouts = dict.fromkeys(example, "NC")
    symbols = dict.fromkeys(example, ("batch", "length"))
    companions = _companions(model, tokenizer, detokenizer=False)
    return replace(
        read,
        network=None,
        layouts=layouts,
        symbols=symbols,
        companions=replace(companions, check=check_tokenizer),
    )


def _tokenizer_notes(tokenizer: Any, folder: Path) -> tuple[Note, ...]:
    return compare_tokenizers(tokenizer, folder)


def _companions(model: Any, tokenizer: Any, *, detokenizer: bool) -> Companions:
    """Return the files that openvino-genai, optimum-intel and OpenVINO Model Server read."""
    import transformers

    def write(folder: Path) -> None:
        with quiet_transformers("the configuration"):
            config = copy.deepcopy(model.config)
            if hasattr(config, "quantization_config"):
                del config.quantization_config  # of the source: the weights are decompressed
            config.save_pretrained(folder)
            if getattr(model, "generation_config", None) is not None:
                model.generation_config.save_pretrained(folder)
            save_tokenizer(tokenizer, folder, detokenizer=detokenizer)
        settings = {
            "compression": None,
            "dtype": _SETTINGS.get(str(model.dtype), str(model.dtype)),
            "input_info": None,
            "quantization_config": None,
            "save_onnx_model": False,
            "transformers_version": transformers.__version__,
        }
        text = json.dumps(settings, indent=2) + "\n"
        (folder / SETTINGS).write_text(text, encoding="utf-8")

    return Companions(LANGUAGE_STEM, write)
