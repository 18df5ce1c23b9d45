"""Hashes of samples, and samples that serve two purposes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ovtool.core.notes import Note, make_note
from ovtool.core.variant import SampleHashes
from ovtool.datasets.samples import Boxes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ovtool.core.variant import VariantRecord
    from ovtool.datasets.samples import Label, Sample, Samples

MAX_HASHES = 4096
"""Maximum number of hashes that a record has of one data set: about 60 KB."""
_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Hashes of a data set.

    Args:
        sha256: Of the preprocessed inputs and labels of all samples, in hexadecimal.
        samples: Of the inputs of each sample.
    """

    sha256: str
    samples: SampleHashes


def fingerprint(samples: Iterable[Sample]) -> Fingerprint:
    """Return the hashes of samples; they depend on the content, not on the location of files."""
    total = hashlib.sha256()
    hashes = set()
    for sample in samples:
        total.update(_label_bytes(sample.label))
        own = hashlib.sha256()
        for name, array in sorted(sample.inputs.items()):
            for part in (
                f"{name} {array.dtype} {array.shape}".encode(),
                np.ascontiguousarray(array).tobytes(),
            ):
                total.update(part)
                own.update(part)
        hashes.add(own.hexdigest()[:_DIGITS])
    kept = tuple(sorted(hashes)[:MAX_HASHES])
    return Fingerprint(total.hexdigest(), SampleHashes(count=len(hashes), smallest=kept))


def _label_bytes(label: Label) -> bytes:
    if isinstance(label, Boxes):
        return b"".join(array.tobytes() for array in (label.boxes, label.classes, label.crowd))
    if isinstance(label, np.ndarray):
        return f"{label.dtype} {label.shape}".encode() + np.ascontiguousarray(label).tobytes()
    return repr(label).encode()


def count_shared(a: SampleHashes, b: SampleHashes) -> int:
    """Return the number of samples of ``b`` that ``a`` has too, an estimate for large sets.

    The smallest hashes of a set are a random sample of the set: the share of ``b`` below the
    largest hash that both sets keep estimates the share of all of ``b`` (Beyer et al. 2007, "On
    synopses for distinct-value estimation under multiset operations").
    """
    bounds = [h.smallest[-1] for h in (a, b) if h.count > len(h.smallest)]
    if not bounds:
        return len(set(a.smallest) & set(b.smallest))
    bound = min(bounds)
    compared = [h for h in b.smallest if h <= bound]
    shared = len(set(a.smallest).intersection(compared))
    return round(b.count * shared / len(compared)) if compared else 0


def used_samples(record: VariantRecord) -> Iterator[tuple[str, SampleHashes]]:
    """Yield the samples that the steps of a variant used, with the purpose and the step."""
    for step in record.steps:
        for purpose, hashes in step.samples.items():
            yield f"{purpose} of {step.method}", hashes


def shared_notes(
    used: Mapping[str, SampleHashes], other: SampleHashes, purpose: str
) -> tuple[Note, ...]:
    """Return a warning if samples for a purpose were used before; ``used`` is by purpose."""
    parts = [
        f"{shared} of {other.count} samples for {purpose} also for {before}"
        for before, hashes in used.items()
        if (shared := count_shared(hashes, other))
    ]
    return (make_note("samples-shared", "; ".join(parts)),) if parts else ()


def evaluation_notes(
    record: VariantRecord, samples: Samples, known: dict[int, SampleHashes] | None = None
) -> tuple[Note, ...]:
    """Return the warnings about evaluating a variant on samples.

    ``known`` keeps the hashes of samples by identity between calls.
    """
    notes = samples.notes
    used = dict(used_samples(record))
    if not used:
        return notes
    known = {} if known is None else known
    if id(samples) not in known:
        known[id(samples)] = fingerprint(samples).samples
    return notes + shared_notes(used, known[id(samples)], "evaluation")
