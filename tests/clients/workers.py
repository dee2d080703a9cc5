"""What trials of programs share whose workers search: functions that are sent to them, and the rest here."""

import faiss
import numpy as np

from trial import BASE, NPROBE, Client, fresh_index


def search_part(index, queries, k, parameters=None):
    """Runs in a worker."""
    return index.search(queries, k, params=parameters)[1]


def search_from(index, queries, k, least):
    """Runs in a worker; a selector can't be sent to one."""
    kind = faiss.SearchParametersIVF
    return index.search(queries, k, params=kind(nprobe=NPROBE, sel=faiss.IDSelectorRange(least, len(BASE))))[1]


class Workers(Client):
    """An index that is sent to workers; map(function, parts, *rest) is the client's."""

    def build(self, key):
        self.index = fresh_index(key)
        self.index.add(BASE)

    def search(self, queries, k):
        return np.concatenate(self.map(search_part, np.array_split(queries, 3), k))

    def filtered(self, queries, k, least):
        return np.concatenate(self.map(search_from, np.array_split(queries, 3), k, least))

    def delete(self, labels):
        self.index.remove_ids(labels)
