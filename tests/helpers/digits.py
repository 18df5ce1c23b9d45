"""Real digits for tests that train: a committed subset, see tests/data/README.md."""

from pathlib import Path

import numpy as np

FILE = Path(__file__).parents[1] / "data" / "digits-600.npz"


def digits(start=0, stop=600):
    """Return inputs [digits, 1, 28, 28] from 0 to 1 and labels [digits]."""
    with np.load(FILE) as found:
        pixels, labels = found["pixels"][start:stop], found["label"][start:stop]
    return (pixels[:, None] / 255).astype(np.float32), labels


def write(path, name="input", start=0, stop=600):
    """Write digits as an .npz that a model with an input of that name takes."""
    inputs, labels = digits(start, stop)
    np.savez(path, **{name: inputs, "label": labels})
    return path
