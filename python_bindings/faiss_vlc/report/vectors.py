"""Files of vectors and of labels, of the formats that the command reads."""

from __future__ import annotations

import os
from typing import Any, Iterator

import numpy as np

BLOCK_VALUES = 1 << 22 # of vectors that are held at once
_VECS = {".fvecs": "<f4", ".ivecs": "<i4", ".bvecs": "u1"}


def _vecs(path: str, dtype: str) -> Any:
    """Rows that begin with their dimension, an int32 each."""
    data = np.memmap(path, "u1", mode="r") if os.path.getsize(path) else np.zeros(0, "u1")
    d = int(data[:4].view("<i4")[0]) if len(data) >= 4 else 0
    row = 4 + d * np.dtype(dtype).itemsize
    if d < 1 or len(data) % row:
        raise ValueError(f"{path}: expected rows of an int32 dimension and as many values, the first says {d} and the file "
                         f"has {len(data)} bytes")
    rows = data.reshape(-1, row)
    others = np.flatnonzero((rows[:, :4] != rows[0, :4]).any(axis=1))
    if len(others):
        raise ValueError(f"{path}: expected rows of {d} dimensions as the first, row {others[0]} says otherwise")
    return np.ndarray((len(rows), d), dtype, data, 4, (row, np.dtype(dtype).itemsize))


def _hdf5(path: str, dataset: str) -> Any:
    try:
        import h5py
    except ModuleNotFoundError:
        raise ValueError(f"{path}: HDF5 needs the package h5py, which is not installed") from None
    file = h5py.File(path, "r")
    if dataset not in file:
        raise ValueError(f"{path}: expected a dataset {dataset!r}, there are {', '.join(map(repr, file))}")
    return file[dataset]


def _rows(path: str, d: int, dtype: str, dataset: str) -> Any:
    """Something that slices like an array of n x d."""
    extension = os.path.splitext(path)[1].lower()
    if extension == ".npy":
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
    elif extension in _VECS:
        rows = _vecs(path, _VECS[extension])
    elif extension in (".hdf5", ".h5"):
        rows = _hdf5(path, dataset)
    elif dtype:
        width = d * np.dtype(dtype).itemsize
        if os.path.getsize(path) == 0 or os.path.getsize(path) % width:
            raise ValueError(f"{path}: expected rows of {width} bytes, {d} values of {dtype}, the file has "
                             f"{os.path.getsize(path)} bytes")
        rows = np.memmap(path, dtype, mode="r").reshape(-1, d)
    else:
        raise ValueError(f"{path}: expected .npy, .fvecs, .bvecs, .ivecs, .hdf5 or, with --dtype, raw rows")
    if len(rows.shape) != 2 or 0 in rows.shape or rows.dtype.kind not in "fiub":
        raise ValueError(f"{path}: expected numbers in rows and columns, got shape {tuple(rows.shape)} of {rows.dtype}")
    return rows


class VectorFile:
    """A file of n vectors of d dimensions: .npy, .fvecs, .bvecs, HDF5, or raw rows of a dtype."""

    def __init__(self, path: str, d: int, dtype: str = "", dataset: str = "") -> None:
        """d and dtype are those of a raw file; dataset is one of HDF5, `train` if it isn't named."""
        self.path = path
        self._rows = _rows(path, d, dtype, dataset or "train")
        self.n, self.d = self._rows.shape
        self._first = 0

    def read(self, count: int) -> Any:
        """The next vectors, count at most: float32, shape (n, d). NaN and infinity are refused."""
        with np.errstate(over="ignore"):
            rows = np.ascontiguousarray(self._rows[self._first:self._first + count], dtype="float32")
        bad = np.argwhere(~np.isfinite(rows))
        if len(bad):
            row, column = bad[0]
            raise ValueError(f"{self.path}: expected finite values of float32, row {self._first + row}, column {column} is "
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
    """Labels, such as exact neighbours: int64, shape (n, k). dataset is one of HDF5, `neighbors` if it isn't named."""
    rows = _rows(path, 0, "", dataset or "neighbors")
    if rows.dtype.kind not in "iu":
        raise ValueError(f"{path}: expected labels that are integers, got {rows.dtype}")
    return np.ascontiguousarray(rows[:], dtype="int64")
