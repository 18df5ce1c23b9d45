import math

import numpy as np

from ovtool.measure import reference
from ovtool.measure.reference import reference_us


def test_it_is_a_time_that_passes():
    assert 0 < reference_us() < math.inf


def test_it_is_the_least_of_its_runs_in_microseconds(monkeypatch):
    taken = iter([9_000, 4_000, 7_000, 4_500, 30_000])
    monkeypatch.setattr(reference, "_run_ns", lambda *_: next(taken))
    assert reference_us() == 4


def test_its_work_is_the_same_every_time_and_is_really_done():
    matrix, product = reference._operands()
    kept = matrix.copy()
    product[:] = 0
    reference_us()
    np.testing.assert_array_equal(matrix, kept)
    np.testing.assert_allclose(product, kept.astype(np.float64) @ kept, rtol=1e-4, atol=1e-4)
    assert reference._operands()[1] is product
