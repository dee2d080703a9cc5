"""autofaiss, which has a closed list of keys, and makes IVFPQ by its class for inner products."""

import os

import faiss
import numpy as np
from autofaiss import build_index

import faiss_vlc
from trial import BASE, Client, at_least, main, set_nprobe

KEYS = {"IVFPQ": "IVF32,PQ8x8", "VLC": "IVF32,PQ8x8"} # the VLC stands in


class AutoFaiss(Client):
    """autofaiss, `build_index`"""
    package = "autofaiss"
    metric, front = "l2", ""
    asked = 0

    def build(self, key):
        type(self).asked += 1
        faiss_vlc.stand_in_for_ivfpq(type(self).asked > 1) # the second is the VLC's turn
        self.path = os.path.join(self.folder, "x.index")
        try:
            self.index, _ = build_index(BASE, index_key=self.front + key, metric_type=self.metric, index_path=self.path,
                                        index_infos_path=os.path.join(self.folder, "x.json"), nb_cores=1,
                                        max_index_query_time_ms=10, max_index_memory_usage="1GB",
                                        current_memory_available="2GB")
        finally:
            faiss_vlc.stand_in_for_ivfpq(False)
        stood_in = bool(faiss_vlc._plug.vlcs_in(self.index))
        assert stood_in == (type(self).asked > 1), type(self.index)
        set_nprobe(self.index)

    def search(self, queries, k):
        return self.index.search(queries, k)[1]

    def filtered(self, queries, k, least):
        return faiss.extract_index_ivf(self.index).search(self._inner(queries), k, params=at_least(least))[1]

    def _inner(self, queries):
        return self.index.apply_chain(queries) if isinstance(self.index, faiss.IndexPreTransform) else queries

    def delete(self, labels):
        ivf = faiss.extract_index_ivf(self.index)
        ivf.set_direct_map_type(faiss.DirectMap.NoMap) # autofaiss makes one, of an array
        ivf.remove_ids(np.asarray(labels))

    def save(self):
        faiss.write_index(self.index, self.path)

    def load(self):
        self.index = faiss.downcast_index(faiss.read_index(self.path))
        set_nprobe(self.index)


class InnerProduct(AutoFaiss):
    """autofaiss, `build_index` with OPQ and inner products"""
    metric, front = "ip", "OPQ8_32,"
    asked = 0


main(AutoFaiss, InnerProduct, keys=KEYS)
