"""IndexVLC for ann-benchmarks: copy this folder into ann_benchmarks/algorithms/."""

import faiss
import faiss_vlc  # noqa: F401, teaches faiss.index_factory the token VLC
import numpy as np

from ..base.module import BaseANN


class FaissVLC(BaseANN):
    def __init__(self, metric, lists, size):
        """lists: anchors; size: bytes a vector, its factors included."""
        if metric not in ("euclidean", "angular"):
            raise ValueError(f"metric euclidean or angular expected, {metric} met")
        self.is_angular, self.lists, self.size = metric == "angular", lists, size
        self.name = f"faiss-vlc(lists={lists}, bytes={size})"

    def prepared(self, rows):
        rows = np.array(rows, dtype=np.float32, order="C", ndmin=2)
        if self.is_angular:
            faiss.normalize_L2(rows)
        return rows

    def fit(self, X):
        rows = self.prepared(X)
        metric = faiss.METRIC_INNER_PRODUCT if self.is_angular else faiss.METRIC_L2
        self.index = faiss.index_factory(rows.shape[1], f"VLC{self.lists}b{self.size}", metric)
        self.index.train(rows)
        self.index.add(rows)

    def set_query_arguments(self, nprobe):
        self.index.nprobe = nprobe
        self.name = f"faiss-vlc(lists={self.lists}, bytes={self.size}, nprobe={nprobe})"

    def query(self, q, n):
        found = self.index.search(self.prepared(q), n)[1][0]
        return found[found >= 0]

    def batch_query(self, X, n):
        self.res = self.index.search(self.prepared(X), n)[1]

    def get_batch_results(self):
        return [row[row >= 0] for row in self.res]
