"""Samples, progress notes and figures of variants for tests of compression."""

import numpy as np
import openvino as ov

from ovtool.compression.method import MethodInputs
from ovtool.compression.pipeline import apply_method
from ovtool.datasets.samples import Sample


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
        self.reference, self.labelled, self.read = reference, False, []
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


def outputs(variant, rows):
    compiled = ov.Core().compile_model(variant.xml, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return compiled(rows)[0]


def closeness(variant, parent, samples):
    rows = np.stack([sample.inputs["x"] for sample in samples])
    a, b = outputs(variant, rows).ravel(), outputs(parent, rows).ravel()
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def types_of(variant):
    return {row["type"]: row for row in variant.record.steps[-1].details["weights"]}
