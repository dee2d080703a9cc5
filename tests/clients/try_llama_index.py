"""LlamaIndex's two stores."""

import os

import faiss
import numpy as np
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import VectorStoreQuery
from llama_index.vector_stores.faiss import FaissMapVectorStore, FaissVectorStore

from trial import BASE, Client, fresh_index, main


class Store(Client):
    """llama-index, `FaissVectorStore`"""
    package = "llama-index-vector-stores-faiss"
    kind = FaissVectorStore

    def make(self, index):
        return self.kind(faiss_index=index)

    def build(self, key):
        self.store = self.make(fresh_index(key))
        self.store.add([TextNode(id_=str(i), text="", embedding=row.tolist()) for i, row in enumerate(BASE)])

    def search(self, queries, k):
        found = [self.store.query(VectorStoreQuery(query_embedding=query.tolist(), similarity_top_k=k)).ids
                 for query in queries]
        return np.array([[int(label) for label in row] for row in found])

    def _path(self):
        return os.path.join(self.folder, "store", "x.faiss")

    def save(self):
        self.store.persist(self._path())

    def load(self):
        self.store = self.kind.from_persist_path(self._path())


class MapStore(Store):
    """llama-index, `FaissMapVectorStore`"""
    kind = FaissMapVectorStore

    def make(self, index):
        return self.kind(faiss_index=faiss.IndexIDMap2(index))

    def delete(self, labels):
        self.store.delete_nodes([str(i) for i in labels])


main(Store, MapStore)
