"""Samples in files, of which tests see what is read."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from chainrule.arrays import CHUNK_BYTES, Samples, row_bytes
from chainrule.errors import DataError
from chainrule.rows import Stored


@dataclass
class OnDisk:
    """Samples in files of NumPy. `most` is how many rows were read at once, `count` how many in
    all; reading row `broken` fails, and once `changed` is set, `verify` does.
    """

    folder: Path
    names: tuple[str, ...]
    broken: int | None = None
    changed: bool = False
    most: int = 0
    count: int = 0
    on_disk: bool = field(default=True, init=False)

    def __getattr__(self, name):
        if name not in ("x", "y", "weight"):
            raise AttributeError(name)
        if name not in self.names:
            return None
        array = self._map(name)
        return Stored(self, name, array.shape, array.dtype)

    def _map(self, name):
        return np.load(self.folder / f"{name}.npy", mmap_mode="r")

    @property
    def shape(self):
        return self.x.shape

    def take(self, rows):
        rows = np.asarray(rows)
        self.most, self.count = max(self.most, len(rows)), self.count + len(rows)
        if self.broken is not None and self.broken in rows:
            raise DataError(f"{self.folder}: row {self.broken} can't be read; restore it")
        return Samples(
            *(np.array(self._map(name)[rows]) if name in self.names else None for name in ["x", "y", "weight"])
        )

    def empty(self, rows):
        return self.take(np.zeros(0, int)).empty(rows)

    def read(self, start, stop, out=None):
        found = self.take(np.arange(start, stop))
        return found if out is None else found.read(0, stop - start, out)

    def chunks(self):
        size = CHUNK_BYTES // row_bytes(self)
        return (self.read(k, min(k + size, len(self.x))) for k in range(0, len(self.x), size))

    def verify(self):
        if self.changed:
            raise DataError(f"{self.folder}: it has changed; restore it")

    def thinned(self, most):
        count = len(self.x)
        return self.take(np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.intp)))


def stored(samples, folder):
    """These samples in files."""
    if samples is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    parts = {name: array for name, array in samples._asdict().items() if array is not None}
    for name, array in parts.items():
        np.save(folder / f"{name}.npy", np.asarray(array))
    return OnDisk(folder, tuple(parts))


def on_disk(data, folder, memory=10**9):
    """The same data with its samples in files, of which so many bytes may be in memory."""
    sets = {name: stored(getattr(data, name), folder / name) for name in ("training", "validation", "test")}
    return replace(data, **sets, memory=memory)
