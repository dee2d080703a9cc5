"""Hugging Face datasets: an index over a column."""

import os

import datasets
import numpy as np

from trial import BASE, Client, at_least, main, set_nprobe


class Datasets(Client):
    """datasets, `add_faiss_index`"""
    package = "datasets"

    def build(self, key):
        self.data = datasets.Dataset.from_dict({"vector": list(BASE), "label": list(range(len(BASE)))})
        self.data.add_faiss_index("vector", string_factory=key, train_size=len(BASE))
        set_nprobe(self.data.get_index("vector").faiss_index)

    def search(self, queries, k):
        examples = self.data.get_nearest_examples_batch("vector", queries, k).total_examples
        return np.array([one["label"] for one in examples])

    def filtered(self, queries, k, least):
        return np.array(self.data.search_batch("vector", queries, k, params=at_least(least)).total_indices)

    def save(self):
        self.data.save_faiss_index("vector", os.path.join(self.folder, "x.faiss"))
        self.data.drop_index("vector")

    def load(self):
        self.data.load_faiss_index("vector", os.path.join(self.folder, "x.faiss"))


main(Datasets)
