"""autofaiss, which has a closed list of keys, and makes IVFPQ by its class for inner products."""

import os

import faiss
import numpy as np
from autofaiss import build_index

import faiss_vlc
from trial import BASE, Client, at_least, main, set_nprobe

KEYS = {name: "OPQ16_32,IVF64,PQ16x4" for name in ("IVFPQ", "VLC")} # a VLC of 8 bytes stands in


class AutoFaiss(Client):
    """autofaiss, `build_index`"""
    package = "autofaiss"
    metric = "l2"

    def build(self, key):
        stands_in = self.index_name == "VLC"
        faiss_vlc.stand_in_for_ivfpq(stands_in)
        try:
            self.index, _ = build_index(BASE, index_key=key, metric_type=self.metric, save_on_disk=False, nb_cores=2,
                                        max_index_query_time_ms=10, max_index_memory_usage="1GB",
                                        current_memory_available="2GB")
        finally:
            faiss_vlc.stand_in_for_ivfpq(False)
        assert bool(faiss_vlc._plug.vlcs_in(self.index)) == stands_in, type(self.index)
        set_nprobe(self.index)

    def search(self, queries, k):
        return self.index.search(queries, k)[1]

    def filtered(self, queries, k, least):
        return faiss.extract_index_ivf(self.index).search(self._inner(queries), k, params=at_least(least))[1]

    def _inner(self, queries):
        return self.index.chain.at(0).apply(queries) if isinstance(self.index, faiss.IndexPreTransform) else queries

    def delete(self, labels):
        ivf = faiss.extract_index_ivf(self.index)
        ivf.set_direct_map_type(faiss.DirectMap.NoMap) # autofaiss makes one, of an array
        ivf.remove_ids(np.asarray(labels))

    def save(self):
        faiss.write_index(self.index, os.path.join(self.folder, "x"))

    def load(self):
        self.index = faiss.downcast_index(faiss.read_index(os.path.join(self.folder, "x")))
        set_nprobe(self.index)


class InnerProduct(AutoFaiss):
    """autofaiss, `build_index` for inner products"""
    metric = "ip"


main(AutoFaiss, InnerProduct, keys=KEYS)
