"""Vectors for the native engine: aligned to cache lines, and padded, so that kernels may read whole
vectors beyond their ends.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from chainrule.arrays import Array, Vector

PADDING = 64
"""Numbers past the end of every vector that kernels may read, but never use."""
CACHE_LINE = 64
"""Bytes of a cache line."""


def padded(vector: Array, dtype: Any) -> Vector:
    """A copy that is aligned to a cache line and padded."""
    return _copy_into(np.empty(vector.size + 2 * PADDING, dtype=dtype), vector)


def zeros(size: int, dtype: Any) -> Vector:
    """Aligned, padded zeros; the system gives the memory when they are first written."""
    buffer = np.zeros(size + 2 * PADDING, dtype=dtype)
    return buffer[aligned(buffer) :][:size]


def aligned(buffer: Array) -> int:
    """The first index that is aligned to a cache line."""
    return -buffer.__array_interface__["data"][0] % CACHE_LINE // buffer.itemsize  # faster than buffer.ctypes


def _copy_into(buffer: Array, vector: Array) -> Vector:
    start = aligned(buffer)
    out = buffer[start : start + vector.size]
    out = out if vector.ndim == 1 else out.reshape(vector.shape)
    out[...] = vector
    return out


def _references(buffers: list[Array], k: int) -> int:
    return sys.getrefcount(buffers[k])


class BufferPool:
    """Copies large vectors into memory that it reuses once nothing refers to it: getting memory
    from the system takes longer than filling it.
    """

    MIN_SIZE, MAX_BUFFERS = 100_000, 12
    """The smallest vectors for which this pays, in numbers; and how many buffers to hold."""

    def __init__(self) -> None:
        self.buffers: list[Array] = []

    def copy(self, vector: Array, dtype: Any) -> Vector:
        """A copy, aligned and padded."""
        if vector.size < self.MIN_SIZE:
            return padded(vector, dtype)
        size = vector.size + 2 * PADDING
        unused = _references([np.empty(0)], 0)  # this count depends on Python's version
        for k in range(len(self.buffers)):
            fits = self.buffers[k].size == size and self.buffers[k].dtype == dtype
            if fits and _references(self.buffers, k) == unused:
                return _copy_into(self.buffers[k], vector)
        buffer = np.empty(size, dtype=dtype)
        self.buffers = [*self.buffers[-self.MAX_BUFFERS + 1 :], buffer]
        return _copy_into(buffer, vector)
