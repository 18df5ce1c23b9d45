"""Hashes of samples, and samples that serve two purposes."""

import numpy as np
import pytest

from ovtool.core.variant import SampleHashes
from ovtool.datasets import fingerprint as fingerprints
from ovtool.datasets.fingerprint import count_shared, fingerprint, shared_notes
from ovtool.datasets.registry import load_samples
from ovtool.datasets.samples import Sample
from tests.datasets.image_files import RAW, save


def numbered(numbers, label=None):
    return [Sample({"x": np.array([n], np.float32)}, label, str(n)) for n in numbers]


def test_hash_of_a_data_set_covers_labels_values_and_shapes():
    def of(label, values):
        return fingerprint([Sample({"x": np.array(values, np.float32)}, label, "")]).sha256

    assert len({of(1, [1, 2]), of(2, [1, 2]), of(1, [1, 3]), of(1, [[1, 2]])}) == 4


def test_hashes_follow_content_and_not_names(tmp_path, image_port):
    for folder, name, colour in (("a", "x", 1), ("b", "y", 1), ("c", "x", 2)):
        save(tmp_path / folder / f"{name}.png", (colour, 0, 0))
    a, b, c = (
        fingerprint(load_samples(str(tmp_path / folder), [image_port], RAW))
        for folder in ("a", "b", "c")
    )
    assert a == b
    assert count_shared(a.samples, b.samples) == 1
    assert count_shared(a.samples, c.samples) == 0


def test_samples_are_shared_whatever_their_labels_and_repetitions():
    calibration = fingerprint(numbered([*range(10), 3, 3])).samples
    held_out = fingerprint(numbered(range(7, 20), label=1)).samples
    assert (calibration.count, held_out.count) == (10, 13)
    assert count_shared(calibration, held_out) == 3
    (note,) = shared_notes({"calibration of int8": calibration}, held_out, "evaluation")
    assert note.id == "samples-shared"
    assert "3 of 13 " in note.evidence
    assert "calibration of int8" in note.evidence
    assert not shared_notes({"training of train": SampleHashes(count=0, smallest=())}, held_out, "")


@pytest.mark.slow
@pytest.mark.parametrize("shared", [0, 2000, 4000])
def test_shared_samples_of_large_sets_are_estimated(monkeypatch, shared):
    monkeypatch.setattr(fingerprints, "MAX_HASHES", 1000)
    large = fingerprint(numbered(range(20_000))).samples
    other = fingerprint(numbered(range(20_000 - shared, 24_000 - shared))).samples
    assert len(large.smallest) == len(other.smallest) == 1000
    # About 200 of 4000 lie below the bound: five standard deviations of their share are 0.18.
    assert abs(count_shared(large, other) - shared) <= (0.18 * 4000 if 0 < shared < 4000 else 0)
