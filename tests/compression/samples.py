"""What compression reads and tells, as a test sees it."""

from ovtool.compression.method import MethodInputs
from ovtool.compression.pipeline import apply_method
from ovtool.datasets.samples import Sample


class Notes:
    """A progress that keeps what it was told."""

    def __init__(self):
        self.notes, self.tasks, self.steps = [], [], 0

    def start(self, task, total=None):
        self.tasks.append((task, total))

    def advance(self, steps=1):
        self.steps += steps

    def note(self, text):
        self.notes.append(text)


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
