"""Files of vectors, read as the command reads them."""

from __future__ import annotations

from typing import Any, Iterator

import faiss
import numpy as np

from faiss_vlc import swigvlc

BLOCK_VALUES = 1 << 22 # of vectors that are held at once


class VectorFile:
    """A file of n vectors of d dimensions: .npy, .fvecs, .bvecs, HDF5, or raw rows of a dtype."""

    def __init__(self, path: str, d: int, dtype: str = "", dataset: str = "") -> None:
        """d and dtype are those of a raw file; dataset is one of HDF5."""
        self.path = path
        self._file = swigvlc.VectorFile(path, d if dtype else 0, dtype, dataset)
        self.n, self.d = self._file.n(), self._file.d()
        self._first = 0

    def read(self, count: int) -> Any:
        """The next vectors, count at most: float32, shape (n, d). NaN and infinity are refused."""
        rows = np.empty((min(count, self.n - self._first), self.d), dtype="float32")
        self._file.read(len(rows), faiss.swig_ptr(rows))
        bad = np.argwhere(~np.isfinite(rows))
        if len(bad):
            row, column = bad[0]
            raise ValueError(f"{self.path}: expected finite values, row {self._first + row}, column {column} is "
                             f"{rows[row, column]:g}")
        self._first += len(rows)
        return rows

    def blocks(self) -> Iterator[tuple[Any, Any]]:
        """(numbers of rows, rows), a block at a time."""
        while self._first < self.n:
            first = self._first
            rows = self.read(max(1, BLOCK_VALUES // self.d))
            yield np.arange(first, first + len(rows)), rows


def read_labels(path: str, dataset: str = "") -> Any:
    """Labels, such as exact neighbours: int64, shape (n, k)."""
    file = swigvlc.LabelFile(path, dataset)
    labels = np.empty((file.n(), file.d()), dtype="int64")
    file.copy(faiss.swig_ptr(labels))
    return labels
