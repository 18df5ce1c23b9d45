"""Registry of source kinds: one row a kind, and the file suffixes that select it."""

from __future__ import annotations

import re
from pathlib import Path

from ovtool.core.errors import InputError
from ovtool.core.registry import Entry, Registry
from ovtool.core.variant import RECORD

SOURCES = Registry(
    "source",
    {
        "ir": Entry("ovtool.models.ir:read", "OpenVINO IR: x.xml with x.bin"),
        "onnx": Entry("ovtool.models.onnx:read", "ONNX: x.onnx"),
        "tensorflow": Entry(
            "ovtool.models.tensorflow:read", "TensorFlow: SavedModel folder or frozen graph x.pb"
        ),
        "tflite": Entry("ovtool.models.tensorflow:read_tflite", "TensorFlow Lite: x.tflite"),
        "paddle": Entry("ovtool.models.paddle:read", "Paddle: x.pdmodel with x.pdiparams"),
        "torch": Entry(
            "ovtool.models.torch:read",
            "torch module from a function of your own code: module:function",
            "compress",
            "torch",
        ),
        "torch-export": Entry(
            "ovtool.models.torch_export:read",
            "torch ExportedProgram of torch.export.save, only with --trust: x.pt2",
            "compress",
            "torch",
        ),
        "torch-file": Entry(
            "ovtool.models.torch_file:read",
            "pickled torch module or TorchScript, only with --trust: x.pt, x.pth, x.bin, ...",
            "compress",
            "torch",
        ),
        "huggingface": Entry(
            "ovtool.models.language.huggingface:read_folder",
            "Hugging Face folder of a text generator or an encoder: config.json, *.safetensors,"
            " tokenizer; code of its own only with --trust",
            "llm",
            "transformers",
        ),
        "gguf": Entry(
            "ovtool.models.language.huggingface:read_gguf",
            "text generator as GGUF, its weights become f32: x.gguf",
            "llm",
            "transformers",
        ),
        "openvino-folder": Entry(
            "ovtool.models.language.openvino_folder:read",
            "IR folder with a tokenizer, as optimum-intel writes it: openvino_model.xml",
        ),
        "sample": Entry(
            "ovtool.models.bundled.models:read", "model of a Python package: sample:NAME", "demo"
        ),
    },
)

LANGUAGE = frozenset({"huggingface", "gguf", "openvino-folder"})
"""Kinds of language models."""

_FOLDERS = {"openvino_model.xml": "openvino-folder", "config.json": "huggingface"}
"""Files that tell the kind of a folder; else it is a SavedModel."""

SUFFIXES = {
    ".xml": "ir",
    ".onnx": "onnx",
    ".pb": "tensorflow",
    ".tflite": "tflite",
    ".pdmodel": "paddle",
    ".json": "paddle",
    ".pt2": "torch-export",
    ".pt": "torch-file",
    ".pth": "torch-file",
    ".bin": "torch-file",
    ".ckpt": "torch-file",
    ".pkl": "torch-file",
    ".safetensors": "torch-file",
    ".gguf": "gguf",
}

_KERAS = "export it: keras.models.load_model('{0}').export('saved_model'), then convert that folder"
EXPORTS = {
    ".keras": _KERAS,
    ".h5": _KERAS,
    ".hdf5": _KERAS,
    ".ptl": "convert the model that the mobile file was made from: TorchScript, ONNX or x.pt2",
    ".mlmodel": "convert the model that it was made from: ONNX, TensorFlow or PyTorch",
    ".mlpackage": "convert the model that it was made from: ONNX, TensorFlow or PyTorch",
    ".engine": "convert the ONNX file that the engine was built from",
    ".plan": "convert the ONNX file that the engine was built from",
    ".caffemodel": "convert it to ONNX first",
    ".params": "export it from MXNet to ONNX first",
    ".joblib": "export it to ONNX: skl2onnx.to_onnx(model, sample)",
}
"""How to bring files of other formats, by suffix; ``{0}`` is the file."""

COMPANIONS = {".xml": (".bin",), ".pdmodel": (".pdiparams",)}
"""Suffixes of the files that belong to a model file."""

# A single letter before the colon is a Windows drive.
_FUNCTION = re.compile(r"[A-Za-z_][\w.]+:[A-Za-z_]\w*")


def kind_of(reference: str) -> str:
    """Return the row of :data:`SOURCES` for a reference.

    Raises:
        InputError: The reference is a variant, or not a supported source.
    """
    if reference.startswith("sample:"):
        return "sample"
    path = Path(reference)
    if path.is_dir():
        if (path / RECORD).is_file():
            raise InputError(
                f"{path} is a variant, not a source", "compress, evaluate or sweep it directly"
            )
        return _folder_kind(path) or "tensorflow"
    if path.suffix.lower() in SUFFIXES:
        return SUFFIXES[path.suffix.lower()]
    if _FUNCTION.fullmatch(reference):
        return "torch"
    if not path.exists():
        raise InputError(
            f"model not found: {reference}",
            "give a file, a SavedModel or Hugging Face folder, module:function or sample:NAME",
        )
    supported = f"supported: {', '.join(SUFFIXES)}"
    hint = EXPORTS.get(path.suffix.lower(), supported).format(path.name)
    raise InputError(f"model format not supported: {reference}", hint)


def _folder_kind(folder: Path) -> str | None:
    """Return the kind of the language model in a folder; None without one."""
    return next((kind for name, kind in _FOLDERS.items() if (folder / name).is_file()), None)


def names_model(reference: str) -> bool:
    """Whether a reference names a model by its form or suffix, or is the folder of a variant.

    A ``.json`` may be anything.
    """
    path = Path(reference)
    if path.is_dir():
        known = (path / name for name in (RECORD, "saved_model.pb"))
        return any(file.is_file() for file in known) or _folder_kind(path) is not None
    suffixes = (SUFFIXES.keys() - {".json"}) | EXPORTS.keys()
    if path.suffix.lower() in suffixes or reference.startswith("sample:"):
        return True
    return _FUNCTION.fullmatch(reference) is not None and not path.exists()
