#!/usr/bin/env python3
"""Cuts a small sample out of a data set of uint8 vectors, with exact neighbours of its own.

Reads base.npy and query.npy (n x d, uint8) in --source; writes base.npy (every 6th row),
query.npy (every 2nd row) and gt.npy (int32, the 100 nearest base rows of each query by L2,
nearest first, ties by smaller index) into --out. The same source gives the same bytes.
"""

import argparse
import pathlib

import numpy as np

BASE_STEP = 6
QUERY_STEP = 2
NEIGHBOURS = 100


def load(path):
    vectors = np.load(path)
    if vectors.ndim != 2 or vectors.dtype != np.uint8:
        raise SystemExit(
            f"{path}: expected (n, d) uint8, got {vectors.shape} {vectors.dtype}")
    return vectors


def exact_neighbours(base, queries, k):
    # Products of bytes are integers that float64 holds exactly, so the order is exact.
    base = base.astype(np.float64)
    norms = (base * base).sum(axis=1)
    result = np.empty((len(queries), k), dtype=np.int32)
    for i, query in enumerate(queries.astype(np.float64)):
        distances = norms - 2 * (base @ query)  # the query's own norm changes no order
        result[i] = np.argsort(distances, kind="stable")[:k]
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", required=True, type=pathlib.Path)
    parser.add_argument("--out", required=True, type=pathlib.Path)
    arguments = parser.parse_args()

    base = load(arguments.source / "base.npy")[::BASE_STEP]
    queries = load(arguments.source / "query.npy")[::QUERY_STEP]
    if base.shape[1] != queries.shape[1]:
        raise SystemExit(
            f"expected one dimension, got {base.shape[1]} (base) and {queries.shape[1]} (query)")
    if len(base) < NEIGHBOURS:
        raise SystemExit(f"expected at least {NEIGHBOURS} base rows after the cut, got {len(base)}")

    arguments.out.mkdir(parents=True, exist_ok=True)
    neighbours = exact_neighbours(base, queries, NEIGHBOURS)
    for name, array in (("base", base), ("query", queries), ("gt", neighbours)):
        np.save(arguments.out / f"{name}.npy", np.ascontiguousarray(array))
        print(f"{name}.npy: {array.shape} {array.dtype}")


if __name__ == "__main__":
    main()
