#!/usr/bin/env python3
"""From IVFPQ to IndexVLC on real descriptors, step by step. Cells (# %%) open as a notebook in Jupyter's editors.

    PYTHONPATH=build/release/python python3 tests/examples/tour.py
"""

# %% The data: 20,000 SIFT descriptors, 500 queries, their exact neighbours.
import os
import pathlib
import tempfile
import time

import faiss
import numpy as np

import faiss_vlc  # noqa: F401, the only line that IVFPQ would not need

data = pathlib.Path(os.environ.get("VLC_TEST_DATA", pathlib.Path(__file__).resolve().parents[1] / "data")) / "sift20k"
base = np.load(data / "base.npy").astype("float32")
queries = np.load(data / "query.npy").astype("float32")
truth = np.load(data / "gt.npy")[:, :10]


def recall(found):
    return np.mean([len(np.intersect1d(a, b)) / 10 for a, b in zip(found, truth)])


# %% Training takes a factory string, as for any index: 256 anchors, 34 bytes a vector.
index = faiss.index_factory(128, "VLC256b34")
start = time.perf_counter()
index.train(base)
print(f"trained in {time.perf_counter() - start:.2f} s on {index.trained_on}")
index.add(base)
print(f"{index.ntotal} vectors, {index.code_size} bytes each; training chose nprobe {index.nprobe}")

# %% Recall and speed go by nprobe.
reached = {}
for nprobe in (1, 4, 16, 64, 256):
    params = faiss.SearchParametersIVF(nprobe=nprobe)
    start = time.perf_counter()
    found = index.search(queries, 10, params=params)[1]
    seconds = time.perf_counter() - start
    reached[nprobe] = recall(found)
    print(f"nprobe {nprobe:3}: recall@10 {reached[nprobe]:.3f}, {len(queries) / seconds:,.0f} queries a second")
assert reached[1] < reached[16] <= reached[256] + 0.01
assert reached[256] > 0.8

# %% More bytes, more recall: the ceiling with every list probed.
for size in (18, 34, 66):
    other = faiss.index_factory(128, f"VLC256b{size}")
    other.train(base)
    other.add(base)
    other.nprobe = 256
    print(f"{size} bytes: recall@10 {recall(other.search(queries, 10)[1]):.3f}")

# %% Only some ids may be found.
even = faiss.IDSelectorBatch(np.arange(0, len(base), 2))
found = index.search(queries, 10, params=faiss.SearchParametersIVF(nprobe=16, sel=even))[1]
assert (found % 2 == 0).all()

# %% Save, read again, remove, add.
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "tour.vlc")
    faiss.write_index(index, path)
    print(f"the file takes {os.path.getsize(path) / index.ntotal:.1f} bytes a vector, ids and anchors and all")
    again = faiss.read_index(path)
again.nprobe = 16
np.testing.assert_array_equal(again.search(queries, 10)[1],
                              index.search(queries, 10, params=faiss.SearchParametersIVF(nprobe=16))[1])
again.remove_ids(even)
again.add_with_ids(base[:1], np.array([77_777_777]))
assert again.ntotal == len(base) // 2 + 1
assert again.search(base[:1], 1)[1][0, 0] == 77_777_777
