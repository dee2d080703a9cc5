"""txtai's index, which its databases of texts search."""

import os

import numpy as np
from txtai.ann import ANNFactory

from trial import BASE, NPROBE, Client, main

SETTINGS = {"backend": "faiss", "dimensions": BASE.shape[1]}


class Ann(Client):
    """txtai, `ANNFactory`"""
    package = "txtai"

    def build(self, key):
        self.settings = {**SETTINGS, "faiss": {"components": key, "nprobe": NPROBE}}
        self.ann = ANNFactory.create(self.settings)
        self.ann.index(BASE)

    def search(self, queries, k):
        return np.array([[label for label, _ in row] for row in self.ann.search(queries, k)])

    def delete(self, labels):
        self.ann.delete([int(label) for label in labels])

    def save(self):
        self.ann.save(os.path.join(self.folder, "x"))

    def load(self):
        self.ann = ANNFactory.create(self.settings)
        self.ann.load(os.path.join(self.folder, "x"))


class IdMap(Ann):
    """txtai, `ANNFactory` with an IDMap"""

    def build(self, key):
        super().build("IDMap," + key)


main(Ann, IdMap)
