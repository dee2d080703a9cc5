#!/usr/bin/env python3
"""Measures one index on one kind of vectors (datasets/kinds.py): one JSON object.

    kinds_worker.py NAME KEY [--seed N] [--by-queries]

KEY is a factory string. With a VLC in it the Python package of this build is imported, otherwise FAISS alone.
"""

import argparse
import json
import pathlib
import sys
import time

import faiss
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "datasets"))
import kinds  # noqa: E402

NPROBES = (1, 4, 16)
OPQ_ROUNDS = 10


def build(kind, key, by_queries=False, iterations=None):
    """The index, trained and filled, and the inverted file in it. iterations: of a product quantizer's k-means."""
    metric = faiss.METRIC_INNER_PRODUCT if kind.inner_product else faiss.METRIC_L2
    index = faiss.index_factory(kind.base.shape[1], key, metric)
    ivf = faiss.extract_index_ivf(index)
    if iterations and hasattr(ivf, "pq"):
        ivf.pq.cp.niter = iterations
        ivf.pq.cp.min_points_per_centroid = 1  # no warning of few
    if key.startswith("OPQ"):
        # FAISS's 50 rounds take ten times as long as all the rest
        rotation = faiss.downcast_VectorTransform(index.chain.at(0))
        rotation.niter, rotation.niter_pq_0, rotation.niter_pq = OPQ_ROUNDS, 10, 2
    if by_queries:
        import faiss_vlc
        faiss_vlc.train(index, kind.train, kind.train_queries)
    else:
        index.train(kind.train)
    index.add(kind.base)
    return index, ivf


def measure(kind, key, exact, by_queries=False, iterations=None):
    """Shares of neighbours found, a number a query: by nprobe, and `decoded` by brute force over the index's decoded
    vectors; with rows of their own, `own`: whether these come first. exact is what kinds.distances gave of the base."""
    begun = time.perf_counter()
    index, ivf = build(kind, key, by_queries, iterations)
    found = {"seconds": time.perf_counter() - begun, "bytes": ivf.code_size, "nprobe": {}}
    for nprobe in (*(n for n in NPROBES if n < ivf.nlist), ivf.nlist):
        ivf.nprobe = nprobe
        labels = index.search(kind.queries, kinds.K)[1]
        found["nprobe"][nprobe] = kinds.hits(labels, exact)
    found["all"] = found["nprobe"][ivf.nlist]
    decoded = kinds.distances(kind, index.reconstruct_n(0, index.ntotal))
    found["decoded"] = kinds.hits(np.argsort(decoded, axis=1, kind="stable")[:, :kinds.K], exact)
    if kind.own is not None:
        found["own"] = (index.search(kind.queries, 1)[1][:, 0] == kind.own).astype(float)
    return found


def fall(found):
    """How much recall a larger nprobe costs at most."""
    curve = [shares.mean() for shares in found["nprobe"].values()]
    return max(0.0, *(a - b for i, a in enumerate(curve) for b in curve[i + 1:]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=kinds.NAMES)
    parser.add_argument("key")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--by-queries", action="store_true")
    arguments = parser.parse_args()
    if "VLC" in arguments.key:
        import faiss_vlc  # noqa: F401
    kind = kinds.make(arguments.name, seed=arguments.seed)
    found = measure(kind, arguments.key, kinds.distances(kind, kind.base), arguments.by_queries)
    answer = {key: float(found[key].mean()) for key in ("all", "decoded", "own") if key in found}
    print(json.dumps({**answer, "4": float(found["nprobe"][4].mean()), "fall": fall(found), "bytes": found["bytes"],
                      "seconds": round(found["seconds"], 2), "faiss": faiss.__version__}))


if __name__ == "__main__":
    main()
