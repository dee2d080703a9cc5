"""sentence-transformers' search by an index, without a model."""

import os

import faiss
import numpy as np
from sentence_transformers.util.quantization import semantic_search_faiss

from trial import BASE, Client, fresh_index, main


class SentenceTransformers(Client):
    """sentence-transformers, `semantic_search_faiss`"""
    package = "sentence-transformers"

    def build(self, key):
        self.index = fresh_index(key, faiss.METRIC_INNER_PRODUCT)
        self.index.add(BASE)

    def search(self, queries, k):
        found, _ = semantic_search_faiss(queries, corpus_index=self.index, top_k=k, rescore=False)
        return np.array([[one["corpus_id"] for one in row] for row in found])

    def delete(self, labels):
        self.index.remove_ids(labels)

    def save(self):
        faiss.write_index(self.index, os.path.join(self.folder, "x"))

    def load(self):
        self.index = faiss.read_index(os.path.join(self.folder, "x"))


main(SentenceTransformers)
