#!/usr/bin/env python3
"""A small search engine: embed texts, index them, search with a filter, save, go on tomorrow.

    PYTHONPATH=build/release/python python3 tests/examples/pipeline.py [folder]
"""

import os
import sys
import tempfile
import zlib

import faiss
import numpy as np

import faiss_vlc  # the only line that a pipeline for IVFPQ lacks, beside the factory string

DIMENSIONS = 64
SUBJECTS = "river mountain harbour orchard library engine violin bakery lighthouse glacier".split()
VERBS = "sings sleeps grows melts opens turns waits shines echoes hides".split()
PLACES = "at dawn|in winter|by the sea|under snow|after rain|near the bridge|at noon|in the valley".split("|")
SIDES = "old new quiet loud small large golden broken distant gentle".split()


def documents(n):
    """n sentences with an id and a year each."""
    random = np.random.RandomState(1)
    texts = [f"the {SIDES[a]} {SUBJECTS[b]} {VERBS[c]} {PLACES[e]}"
             for a, b, c, e in zip(*(random.randint(k, size=n) for k in (10, 10, 10, 8)))]
    return texts, np.arange(n) * 10 + 7, random.randint(1990, 2025, size=n)


def embed(texts):
    """Each text as the normalized sum of its words' random vectors: put a real model here."""
    known = {}

    def vector(word):
        if word not in known:
            known[word] = np.random.RandomState(zlib.crc32(word.encode())).randn(DIMENSIONS)
        return known[word]
    vectors = np.array([sum(vector(word) for word in text.split()) for text in texts], dtype="float32")
    faiss.normalize_L2(vectors)
    return vectors


def main(folder):
    texts, ids, years = documents(5000)
    by_id = dict(zip(ids.tolist(), zip(texts, years.tolist())))
    vectors = embed(texts)

    # Index: 64 anchors, 24 bytes a vector. An IVFPQ would be "IVF64,PQ24".
    index = faiss.index_factory(DIMENSIONS, "VLC64b24", faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add_with_ids(vectors, ids)
    print(f"{index.ntotal} texts, {index.code_size} bytes each, {index.nprobe} of {index.nlist} lists probed")

    # Search, among recent texts only.
    query = "a golden violin sings near the bridge"
    recent = faiss.IDSelectorBatch(ids[years >= 2015])
    params = faiss.SearchParametersIVF(nprobe=index.nprobe, sel=recent)
    scores, found = index.search(embed([query]), 5, params=params)
    print(f"like {query!r}, from 2015 on:")
    for score, i in zip(scores[0], found[0]):
        print(f"  {score:.3f}  {by_id[int(i)][1]}  {by_id[int(i)][0]}")
    assert all(by_id[int(i)][1] >= 2015 for i in found[0])
    assert "violin" in by_id[int(found[0][0])][0]

    # Save; another process, or the same one tomorrow, goes on.
    path = os.path.join(folder, "texts.vlc")
    faiss.write_index(index, path)
    index = faiss.read_index(path)
    index.remove_ids(ids[years < 2000])
    index.add_with_ids(embed([query]), np.array([1]))
    best = index.search(embed([query]), 1)[1][0, 0]
    print(f"{os.path.getsize(path)} bytes on disk; after an update the best is number {best}")
    assert best == 1 and index.ntotal == (years >= 2000).sum() + 1


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(temporary)
