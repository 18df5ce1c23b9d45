"""The samples of a bundle with the outputs of the evaluated variant, and their tolerance."""

from __future__ import annotations

import contextlib
import itertools
import zipfile
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ovtool.core.errors import InputError
from ovtool.core.input_limits import require_memory
from ovtool.core.progress import SILENT, Progress
from ovtool.datasets.arrays import DAMAGED, inflated_size
from ovtool.datasets.image_transform import normalize_pixels
from ovtool.datasets.registry import load_samples
from ovtool.datasets.samples import Sample
from ovtool.deploy.graph import raw_port, raw_steps, sample_ports
from ovtool.evaluation.device_difference import SAMPLES, TOLERANCE, output_error
from ovtool.evaluation.evaluator import infer_samples
from ovtool.evaluation.outputs import read_rows
from ovtool.evaluation.repeatability import ROUNDING
from ovtool.graph.reference_run import EXACT_PROPERTIES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ovtool.benchmark.session import Job, Runner, Session
    from ovtool.core.variant import Variant
    from ovtool.datasets.image_transform import ImageTransform
    from ovtool.evaluation.outputs import Rows

NOISE = "noise"
_MAX_BYTES = 64 << 20

Outputs = list["Rows"]


@dataclass(frozen=True, slots=True)
class SamplePairs:
    """Samples as the bundle takes them, and as the evaluated variant takes them."""

    data: str
    bundle: tuple[Sample, ...]
    evaluated: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class References:
    """Outputs of the evaluated variant, and the tolerance that follows from its precision.

    ``precision_difference`` is the difference from the CPU in f32; None if nothing is comparable.
    """

    outputs: Outputs
    precision_difference: float | None
    tolerance: float


def load_pairs(
    variant: Variant,
    job: Job,
    transform: ImageTransform | None,
    data: str | None,
    progress: Progress,
) -> SamplePairs:
    """Return a few samples of a dataset; of noise without one.

    Raises:
        InputError: The dataset does not fit the bundle.
    """
    ports = sample_ports(job, variant.record.inputs)
    preprocessing = variant.record.preprocessing
    if transform is not None:
        ports, preprocessing = (raw_port(transform),), raw_steps(transform)
    reference = data or f"{NOISE}:{SAMPLES}"
    progress = SILENT if data is None else progress  # deploy has a note of its own on noise
    loaded = load_samples(reference, ports, preprocessing, limit=SAMPLES, progress=progress)
    kept: list[Sample] = []
    for sample in loaded:
        size = sum(array.nbytes for array in sample.inputs.values())
        if kept and size * (len(kept) + 1) > _MAX_BYTES:
            break
        kept.append(sample)
    return SamplePairs(data or NOISE, tuple(kept), tuple(_evaluated(s, transform) for s in kept))


def _evaluated(sample: Sample, transform: ImageTransform | None) -> Sample:
    """Return a sample as the evaluated variant takes it."""
    if transform is None:
        return sample
    ((name, pixels),) = sample.inputs.items()
    pixels_u8: NDArray[Any] = pixels
    return replace(sample, inputs={name: normalize_pixels(pixels_u8, transform)})


def infer_references(job: Job, samples: Sequence[Sample], runner: Runner) -> References:
    """Run the evaluated variant with the settings of the job, and exactly on the CPU.

    Both the bundle and the evaluated variant may differ from the exact outputs by what the
    precision of the device costs, so they may differ from one another by twice as much.

    Raises:
        TrialFailedError: The variant does not run.
    """
    with contextlib.closing(runner.open(job, warm_up=False)) as session:
        outputs = infer_outputs(session, samples)
    trial = replace(job.trial, device="CPU", precision="f32")
    exact_job = replace(job, trial=trial, properties=EXACT_PROPERTIES, notes=())
    with contextlib.closing(runner.open(exact_job, warm_up=False)) as session:
        exact = infer_outputs(session, samples)
    difference = largest_difference(outputs, exact)
    finite = difference if np.isfinite(difference) else None
    tolerance = min(max(2 * (finite or 0.0), ROUNDING), TOLERANCE)
    return References(outputs, finite, tolerance)


def infer_outputs(session: Session, samples: Sequence[Sample]) -> Outputs:
    """Return the outputs of samples by position."""
    with infer_samples(session, samples) as archive:
        count = sum(name.startswith("arr_") for name in archive.files)
        return [read_rows(archive, index) for index in range(count)]


def largest_difference(outputs: Outputs, expected: Outputs) -> float:
    """Return the largest error of an output, relative to its largest expected value."""
    if len(outputs) != len(expected):
        return float("inf")
    return max((output_error(a, b) for a, b in zip(outputs, expected, strict=True)), default=0.0)


def different_share(tokens: Rows, expected: Rows) -> float:
    """Return the share of tokens at which sequences differ; missing and further ones count."""
    pairs = [
        itertools.zip_longest(np.ravel(a).tolist(), np.ravel(b).tolist())
        for a, b in zip(tokens, expected, strict=True)
    ]
    equal = [x == y for pair in pairs for x, y in pair]
    return 1 - sum(equal) / len(equal) if equal else 0.0


def write_samples(path: Path, samples: Sequence[Sample]) -> None:
    """Write the inputs of samples by name, [samples, ...]."""
    names = samples[0].inputs
    write_arrays(path, {name: np.stack([s.inputs[name] for s in samples]) for name in names})


def write_outputs(path: Path, names: Sequence[str], outputs: Outputs) -> None:
    """Write outputs by name, [samples, ...]; by NAME.ROW where sizes differ."""
    arrays: dict[str, NDArray[Any]] = {}
    for name, rows in zip(names, outputs, strict=True):
        if len({np.shape(row) for row in rows}) == 1:
            arrays[name] = np.stack([np.asarray(row) for row in rows])
        else:
            arrays |= {f"{name}.{index}": np.asarray(row) for index, row in enumerate(rows)}
    write_arrays(path, arrays)


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write an ``.npz``, whose content depends on the arrays only."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, array, allow_pickle=False)


def read_samples(path: Path, names: Sequence[str], count: int) -> list[Sample]:
    """Read the inputs of samples.

    Raises:
        InputError: The file is damaged, or does not have these arrays.
    """
    arrays = read_arrays(path)
    if sorted(arrays) != sorted(names) or any(len(a) != count for a in arrays.values()):
        raise InputError(f"{path} does not have {count} samples of the inputs")
    return [
        Sample({name: arrays[name][row] for name in names}, None, f"{path} row {row}")
        for row in range(count)
    ]


def read_outputs(path: Path, names: Sequence[str], count: int) -> Outputs:
    """Read the outputs of samples, as :func:`write_outputs` and a bundle's program write them.

    Raises:
        InputError: The file is damaged, or does not have these arrays.
    """
    arrays = read_arrays(path)
    outputs: Outputs = []
    for name in names:
        rows = arrays.get(name)
        several = [arrays.get(f"{name}.{row}") for row in range(count)] if rows is None else rows
        if len(several) != count or any(row is None for row in several):
            raise InputError(f"{path} does not have {count} samples of output {name}")
        outputs.append([np.asarray(row) for row in several])
    return outputs


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read all arrays of an ``.npz`` that fit into memory.

    Raises:
        InputError: The file is damaged, has Python objects, or is too large.
    """
    try:
        with path.open("rb") as stream, np.lib.npyio.NpzFile(stream, allow_pickle=False) as stored:
            require_memory(inflated_size(path, stored.files), str(path))
            return {name: np.atleast_1d(stored[name]) for name in stored.files}
    except DAMAGED as error:
        raise InputError(
            f"{path} is damaged or not a NumPy file", "get the bundle again"
        ) from error
