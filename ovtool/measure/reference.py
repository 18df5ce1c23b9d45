"""The speed of the processor itself, where a virtual machine hides the clock."""

from __future__ import annotations

import time
from functools import cache
from typing import Any

import numpy as np

_SIDE = 48
"""Small enough to stay in the first cache and on one thread of any BLAS."""
_PRODUCTS = 4
_RUNS = 5


def reference_us() -> float:
    """Return how long a fixed small piece of arithmetic takes now, on this processor.

    It is the least of five runs of four products of 48 x 48 matrices in f32: about 50 us in all.
    The least, so that being taken off the processor does not count.

    It stands for the clock, and for what another thread on the same core takes of the units that
    networks compute with, one of the same process included.  It says nothing of memory bandwidth
    or of the shared caches, and only compares with itself, on one machine and in one process.
    """
    matrix, product = _operands()
    least_ns = min(_run_ns(matrix, product) for _ in range(_RUNS))
    return least_ns / 1000


def _run_ns(matrix: Any, product: Any) -> int:
    started = time.perf_counter_ns()
    for _ in range(_PRODUCTS):
        np.dot(matrix, matrix, product)
    return time.perf_counter_ns() - started


@cache
def _operands() -> tuple[Any, Any]:
    """Return a matrix and where its square goes, [48, 48] each: nothing is allocated later."""
    values = np.random.default_rng(0).standard_normal((_SIDE, _SIDE))
    matrix = values.astype(np.float32)
    return matrix, np.empty_like(matrix)
