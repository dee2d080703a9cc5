"""Haystack's document store, which makes the index by a factory string."""

import os

import numpy as np
from haystack import Document
from haystack_integrations.document_stores.faiss import FAISSDocumentStore

from trial import BASE, D, Client, main, set_nprobe


class Haystack(Client):
    """faiss-haystack, `FAISSDocumentStore`"""
    package = "faiss-haystack"

    def build(self, key):
        self.key = key
        self.store = FAISSDocumentStore(index_string=key, embedding_dim=D)
        self.store.index.train(BASE) # the store never does
        set_nprobe(self.store.index)
        self.store.write_documents([Document(id=str(i), content="", embedding=row.tolist(), meta={"label": i})
                                    for i, row in enumerate(BASE)])

    def _labels(self, queries, k, filters=None):
        found = [self.store.search(query.tolist(), k, filters) for query in queries]
        return np.array([[one.meta["label"] for one in row] for row in found])

    def search(self, queries, k):
        return self._labels(queries, k)

    def filtered(self, queries, k, least):
        return self._labels(queries, k, {"field": "meta.label", "operator": ">=", "value": least})

    def delete(self, labels):
        self.store.delete_documents([str(i) for i in labels])

    def save(self):
        self.store.save(os.path.join(self.folder, "x"))

    def load(self):
        self.store = FAISSDocumentStore(os.path.join(self.folder, "x"), self.key, D)


main(Haystack)
