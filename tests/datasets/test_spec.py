"""Datasets as a user names them."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from ovtool.core.companions import TOKENIZER
from ovtool.core.errors import InputError
from ovtool.core.ports import Port, Preprocessing
from ovtool.datasets import spec as specs
from ovtool.datasets.spec import DataSpec, VariantSamples
from tests.datasets.image_files import RAW, save

PORT = Port(name="x", shape=(-1, 3, 8, 8), dtype="u8", layout="NCHW")


def variant(preprocessing=None, tokenizer=None):
    companions = {TOKENIZER: tokenizer} if tokenizer else {}
    record = SimpleNamespace(inputs=(PORT,), preprocessing=preprocessing, companions=companions)
    return SimpleNamespace(record=record, folder=Path("v"))


def test_labels_and_limit_reach_the_loader(tmp_path):
    for index in range(5):
        save(tmp_path / f"{index}.png", (index, 0, 0))
    table = tmp_path / "labels.csv"
    table.write_text("file,label\n" + "".join(f"{i}.png,{10 + i}\n" for i in range(5)))
    spec = DataSpec(str(tmp_path), str(table), limit=3)
    samples = spec.load(variant(RAW))
    assert len(samples) == 3
    assert all(sample.label == 10 + sample.inputs["x"].max() for sample in samples)
    with pytest.raises(InputError, match=r"none"):
        replace(spec, source=str(tmp_path / "none")).load(variant(RAW))


def test_samples_are_loaded_once_per_preprocessing(monkeypatch):
    calls = []
    real = specs.load_samples
    monkeypatch.setattr(
        specs, "load_samples", lambda *args, **options: calls.append(1) or real(*args, **options)
    )
    samples = VariantSamples(DataSpec("noise:4"))
    assert samples(variant()) is samples(variant())
    assert len(calls) == 1
    samples(variant(Preprocessing(size=(8, 8))))
    samples(variant(tokenizer="1"))
    assert len(calls) == 3
    samples(variant(tokenizer="1"))
    assert len(calls) == 3
    assert samples.description(variant()).startswith("noise:4, 4 ")
