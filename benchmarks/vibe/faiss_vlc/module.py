"""IndexVLC for VIBE: copy this folder into vibe/algorithms/."""

import faiss
import faiss_vlc  # noqa: F401, teaches faiss.index_factory the token VLC
import numpy as np

from ..base.module import BaseANN

METRICS = {"euclidean": faiss.METRIC_L2, "cosine": faiss.METRIC_INNER_PRODUCT, "ip": faiss.METRIC_INNER_PRODUCT,
           "normalized": faiss.METRIC_INNER_PRODUCT}


class FaissVLC(BaseANN):
    def __init__(self, metric, n_list, size):
        """n_list: anchors; size: bytes a vector, its factors included."""
        if metric not in METRICS:
            raise ValueError(f"metric {', '.join(METRICS)} expected, {metric} met")
        self.metric, self.lists, self.size = metric, n_list, size
        self.name = f"faiss-vlc(n_list={self.lists}, size={self.size})"

    def prepared(self, rows):
        rows = np.array(rows, dtype=np.float32, order="C", ndmin=2)
        if self.metric == "cosine":
            faiss.normalize_L2(rows)
        return rows

    def fit(self, X):
        rows = self.prepared(X)
        self.index = faiss.index_factory(rows.shape[1], f"VLC{self.lists}b{self.size}", METRICS[self.metric])
        self.index.train(rows)
        self.index.add(rows)

    def set_query_arguments(self, n_probe):
        self.index.nprobe = n_probe
        self.name = f"faiss-vlc(n_list={self.lists}, size={self.size}, n_probe={n_probe})"

    def query(self, q, n):
        found = self.index.search(self.prepared(q), n)[1][0]
        return found[found >= 0]

    def batch_query(self, X, n):
        self.res = self.index.search(self.prepared(X), n)[1]

    def get_batch_results(self):
        return [row[row >= 0] for row in self.res]
