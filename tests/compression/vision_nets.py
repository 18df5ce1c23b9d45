"""Small seeded networks, images with learnable classes, and compression with both."""

import numpy as np
import openvino as ov
import torch
from torch import nn

from ovtool.compression.method import MethodInputs
from ovtool.compression.pipeline import apply_method
from ovtool.core.ports import Preprocessing
from ovtool.datasets.samples import Sample
from ovtool.models.network import Network
from tests.helpers.graphs import save

SIDE, CLASSES = 16, 4


class Residual(nn.Module):
    """x [batch, 3, H, W] -> a stem, a residual block and a depthwise layer -> [batch, 4]."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16))
        self.first = nn.Conv2d(16, 24, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(24)
        self.second = nn.Conv2d(24, 16, 3, padding=1)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.last = nn.Conv2d(16, 32, 3, stride=2, padding=1)
        self.classifier = nn.Linear(32, CLASSES)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        x = torch.relu(x + self.second(torch.relu(self.norm(self.first(x)))))
        x = torch.relu(self.last(torch.relu(self.depthwise(x))))
        return self.classifier(x.mean((2, 3)))


def network(kind=Residual, seed=0, side=SIDE):
    """A fresh network, the same each time, whose batch normalization has seen data."""
    torch.manual_seed(seed)
    module = kind()
    with torch.no_grad():
        for _ in range(3):
            module(torch.randn(8, 3, side, side))
    return Network(module.eval(), {"x": torch.zeros(1, 3, side, side)}, False, kind.__name__)


class Patterns:
    """Images of stripes: the class is the direction, or none; with noise."""

    reference, labelled, notes = "patterns", True, ()

    def __init__(self, count=96, seed=1, side=SIDE):
        rng = np.random.default_rng(seed)
        rows, columns = np.mgrid[:side, :side]
        waves = [np.sin(rows), np.sin(columns), np.sin(rows + columns), np.zeros((side, side))]
        self.labels = np.arange(count) % CLASSES
        noise = rng.normal(0, 0.5, (count, 3, side, side))
        self.images = (noise + np.stack(waves)[self.labels][:, None]).astype(np.float32)

    def __len__(self):
        return len(self.labels)

    def __iter__(self):
        for place, (image, label) in enumerate(zip(self.images, self.labels, strict=True)):
            yield Sample({"x": image}, int(label), f"row {place}")


def parent(folder, make=network):
    """Save the conversion of a network as a variant with an open batch."""
    model = make().to_openvino()
    model.reshape([-1, 3, SIDE, SIDE])
    model.get_parameters()[0].set_layout(ov.Layout("NCHW"))
    return save(folder, model, preprocessing=Preprocessing(size=(SIDE, SIDE)))


def compress(variant, method, settings, out, *, make=network, **options):
    """Compress with a network and images to train on."""
    loss = options.pop("loss", None)
    inputs = MethodInputs(network=make, training=options.pop("training", Patterns()), loss=loss)
    return apply_method(variant, method, settings, inputs, out=out, name=out.name, **options)


def network_outputs(net, images):
    """Return the output of a PyTorch network."""
    with torch.no_grad():
        return net({"x": torch.from_numpy(images)}).numpy()


def outputs_close(a, b):
    """Whether outputs are equal but for the order of sums, as a share of the largest."""
    return a.shape == b.shape and np.abs(a - b).max() <= 1e-4 * max(1, np.abs(b).max())


def details(variant):
    """Return the details of the last step."""
    return variant.record.steps[-1].details
