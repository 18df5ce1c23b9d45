"""Networks and data that train within a second."""

import numpy as np
import torch

from ovtool.compression.method import MethodContext, MethodInputs
from ovtool.compression.registry import parse_settings
from ovtool.core import variant
from ovtool.core.ports import ports
from ovtool.core.progress import SILENT
from ovtool.core.variant import Source
from ovtool.datasets.samples import Sample
from ovtool.models.network import Network

CLASSES = 4
torch.set_num_threads(1)  # threads take longer to wake than these networks to run


class Patterns:
    """Images [1, 8, 8] of a class's pattern and noise; the first of each class, then again."""

    reference, labelled, notes = "patterns", True, ()

    def __init__(self, count=160, noise=1.0, seed=0, labelled=True):
        rng = np.random.default_rng(seed)
        self.labelled = labelled
        self.labels = np.arange(count) % CLASSES
        patterns = np.random.default_rng(99).standard_normal((CLASSES, 1, 8, 8))
        noisy = patterns[self.labels] + noise * rng.standard_normal((count, 1, 8, 8))
        self.images = noisy.astype(np.float32)

    def __len__(self):
        return len(self.labels)

    def __iter__(self):
        for place, (image, label) in enumerate(zip(self.images, self.labels, strict=True)):
            yield Sample({"x": image}, int(label) if self.labelled else None, f"row {place}")


class Residual(torch.nn.Module):
    """Two convolutions with batch normalization, one of them residual, and a classifier."""

    def __init__(self, width=8):
        super().__init__()
        self.stem = torch.nn.Conv2d(1, width, 3, padding=1)
        self.stem_norm = torch.nn.BatchNorm2d(width)
        self.body = torch.nn.Conv2d(width, width, 3, padding=1)
        self.body_norm = torch.nn.BatchNorm2d(width)
        self.drop = torch.nn.Dropout(0.1)
        self.head = torch.nn.Linear(width * 16, CLASSES)

    def forward(self, x):
        x = torch.relu(self.stem_norm(self.stem(x)))
        x = torch.relu(x + self.body_norm(self.body(x)))
        x = torch.nn.functional.max_pool2d(x, 2).flatten(1)
        return self.head(self.drop(x))


def residual(seed=0, width=8):
    """Return a fresh network, the same for the same seed."""
    torch.manual_seed(seed)
    return Network(Residual(width), {"x": torch.zeros(1, 1, 8, 8)}, False, "residual")


def linear(outputs=CLASSES, seed=0):
    """Return a network of one matrix, without a bias, on [batch, 3]."""
    torch.manual_seed(seed)
    return Network(
        torch.nn.Linear(3, outputs, bias=False), {"x": torch.zeros(1, 3)}, False, "linear"
    )


def inputs(network=residual, **others):
    """Return the inputs of a PyTorch method: labelled patterns and a fresh network."""
    samples = Patterns()
    return MethodInputs(
        **{"calibration": samples, "training": samples, "network": network, **others}
    )


def saved(folder, network):
    """Save the conversion of a network as a variant with an open batch."""
    model = network.to_openvino()
    name, shape = next(iter(network.example.items()))
    model.reshape({name: [-1, *shape.shape[1:]]})

    def describe(_):
        return {
            "name": folder.name,
            "source": Source(kind="test", reference=network.reference),
            "batch": "dynamic",
            **ports(model),
        }

    return variant.save(folder, model, describe)


def context(tmp_path, method, settings, method_inputs, parent=None):
    """Return the context of a method that needs no graph."""
    parsed = parse_settings(method, settings)
    return MethodContext(None, parsed, parent, method_inputs, tmp_path / "scratch", SILENT)


def outputs(network, x):
    """Return the output of a network for [batch, ...] in eval mode, as an array."""
    network.module.eval()
    with torch.no_grad():
        return network({next(iter(network.example)): torch.as_tensor(x)}).numpy()
