"""LangChain's vector store, with embeddings that are made elsewhere."""

import numpy as np
from langchain_community.docstore.in_memory import InMemoryDocstore
from langchain_community.vectorstores import FAISS
from langchain_core.embeddings import Embeddings

from trial import BASE, Client, fresh_index, main


class NoModel(Embeddings):
    def embed_documents(self, texts):
        return [BASE[int(text)].tolist() for text in texts]

    def embed_query(self, text):
        return self.embed_documents([text])[0]


class LangChain(Client):
    """langchain-community, `FAISS`"""
    package = "langchain-community"
    known = {"delete": "it numbers the rest anew, as a flat index does; in an IndexIVF ids stay"}

    def build(self, key):
        self.store = FAISS(NoModel(), fresh_index(key), InMemoryDocstore(), {})
        labels = range(len(BASE))
        self.store.add_embeddings([(str(i), BASE[i]) for i in labels], metadatas=[{"label": i} for i in labels],
                                  ids=[f"id {i}" for i in labels])

    def _labels(self, queries, k, **options):
        found = [self.store.similarity_search_by_vector(query.tolist(), k, **options) for query in queries]
        return np.array([[one.metadata["label"] for one in row] for row in found])

    def search(self, queries, k):
        return self._labels(queries, k)

    def filtered(self, queries, k, least):
        return self._labels(queries, k, filter=lambda data: data["label"] >= least, fetch_k=10 * k)

    def delete(self, labels):
        self.store.delete([f"id {i}" for i in labels])

    def save(self):
        self.store.save_local(self.folder)

    def load(self):
        self.store = FAISS.load_local(self.folder, NoModel(), allow_dangerous_deserialization=True)


main(LangChain)
