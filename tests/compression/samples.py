"""Samples, progress notes and figures of variants for tests of compression."""

import numpy as np
import openvino as ov
from openvino import opset15 as op

from ovtool.compression.method import MethodInputs
from ovtool.compression.pipeline import apply_method
from ovtool.datasets.samples import Sample
from ovtool.graph.weights import find_weights


class Notes:
    """A progress that records notes, tasks and steps."""

    def __init__(self):
        self.notes, self.tasks, self.steps = [], [], 0

    def start(self, task, total=None):
        self.tasks.append((task, total))

    def advance(self, steps=1):
        self.steps += steps

    def note(self, text):
        self.notes.append(text)


class StoppingProgress(Notes):
    """A progress that raises KeyboardInterrupt at the start of a task, as Ctrl-C does."""

    def __init__(self, task):
        super().__init__()
        self.task = task

    def start(self, task, total=None):
        super().start(task, total)
        if task.startswith(self.task):
            raise KeyboardInterrupt

    def close(self):
        pass


class Listed:
    """Samples held in a list."""

    def __init__(self, arrays, name="x", reference="listed"):
        self.reference, self.labelled, self.notes, self.read = reference, False, (), []
        self._arrays, self._name = arrays, name

    def __len__(self):
        return len(self._arrays)

    def __iter__(self):
        for index, array in enumerate(self._arrays):
            self.read.append(index)
            yield Sample({self._name: array}, None, f"row {index}")


def compress(parent, method, settings, samples, **options):
    """Compress with nothing but calibration samples, if any."""
    return apply_method(parent, method, settings, MethodInputs(calibration=samples), **options)


def run_graph(model, rows):
    """Return the first output of a graph on the CPU in f32."""
    return ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(rows)[0]


def decode_weights(model):
    """Return the weights of each layer as the engine computes them."""
    return {
        stored.name: run_graph(
            ov.Model([op.result(stored.layer.input_value(stored.index))], [], "weights"), {}
        )
        for stored in find_weights(model)
    }


def layer_weights(variant_or_model):
    """Return the stored weights of each layer by name."""
    model = getattr(variant_or_model, "xml", variant_or_model)
    model = ov.Core().read_model(model) if not isinstance(model, ov.Model) else model
    return {stored.name: stored for stored in find_weights(model)}


def outputs(variant, rows):
    return run_graph(variant.xml, rows)


def closeness(variant, parent, samples):
    rows = np.stack([sample.inputs["x"] for sample in samples])
    a, b = outputs(variant, rows).ravel(), outputs(parent, rows).ravel()
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def types_of(variant):
    return {row["type"]: row for row in variant.record.steps[-1].details["weights"]}
