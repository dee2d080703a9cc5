#!/usr/bin/env python3
"""Ranking of many lists: IndexVLC's regions against HNSW32 as FAISS's IndexIVF uses it, over the same centroids.

    PYTHONPATH=build/release/python benchmarks/ranking_bench.py --rows 500000 --lists 65536 --base base.npy --queries query.npy
    PYTHONPATH=build/release/python benchmarks/ranking_bench.py --rows 4000000 --lists 262144 --dims 96

Both give a query its nprobe nearest lists. What counts is the share of the lists that hold the true ten neighbours,
over all queries and neighbours, and the time of a query on one thread. Without --base rows are synthetic: 20,000
clusters, dimensions falling as i^-1/2. To be quick the centroids are rows of the set, drawn at random, not trained
ones: lists are less even than after training, for both alike. --train rows (at least twice the lists) teach IndexVLC
its regions. Runs alternate, and times are medians. HNSW is shown with the efSearch that comes nearest to IndexVLC's
share, and with the one that reaches it.
"""

import argparse
import json
import time

import numpy as np


def synthetic(rows, dims, seed, centres):
    """rows x dims around the given centres."""
    random = np.random.default_rng(seed)
    x = centres[random.integers(len(centres), size=rows)]
    x += 0.5 * random.standard_normal((rows, dims), dtype=np.float32) / np.sqrt(np.arange(1, dims + 1, dtype=np.float32))
    return x


def vectors(arguments):
    if arguments.base:
        base = np.load(arguments.base, mmap_mode="r")[:arguments.rows].astype(np.float32)
        return base, np.load(arguments.queries)[:arguments.query_count].astype(np.float32)
    spectrum = 1 / np.sqrt(np.arange(1, arguments.dims + 1, dtype=np.float32))
    centres = np.random.default_rng(1).standard_normal((20000, arguments.dims), dtype=np.float32) * spectrum
    return (synthetic(arguments.rows, arguments.dims, 2, centres),
            synthetic(arguments.query_count, arguments.dims, 3, centres))


def timed(search, queries):
    """Microseconds a query."""
    start = time.perf_counter()
    search(queries)
    return (time.perf_counter() - start) * 1e6 / len(queries)


def main():
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=500000)
    parser.add_argument("--dims", type=int, default=96, help="of synthetic rows")
    parser.add_argument("--lists", type=int, default=65536)
    parser.add_argument("--base", help=".npy, rows x dimensions")
    parser.add_argument("--queries", help=".npy, with --base")
    parser.add_argument("--query-count", type=int, default=1000)
    parser.add_argument("--train", type=int, default=0, help="rows that IndexVLC sees; 0: twice the lists")
    parser.add_argument("--regions", type=int, default=-1, help="as VLCParameters.regions; 0: all anchors are ranked")
    parser.add_argument("--nprobe", type=int, nargs="*", default=[8, 32, 128, 512, 1024])
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    import faiss
    import faiss_vlc
    base, queries = vectors(arguments)
    dims, lists = base.shape[1], arguments.lists
    drawn = np.random.default_rng(4).permutation(len(base))
    centroids = np.ascontiguousarray(base[drawn[:lists]])
    train = base[drawn[:min(len(base), arguments.train or 2 * lists)]]

    flat = faiss.IndexFlatL2(dims)
    flat.add(base)
    truth = flat.search(queries, 10)[1]
    del flat

    parameters = faiss_vlc.VLCParameters()
    parameters.m, parameters.bytes, parameters.codec = lists, dims // 4 + 2, faiss_vlc.Codec.lattice
    parameters.regions = arguments.regions
    index = faiss_vlc.IndexVLC(dims, parameters)
    index.quantizer.add(centroids)
    start = time.perf_counter()
    index.train(train)
    trained = time.perf_counter() - start
    start = time.perf_counter()
    graph = faiss.IndexHNSWFlat(dims, 32)
    graph.hnsw.efConstruction = 200
    graph.add(centroids)
    print(json.dumps({"rows": len(base), "dims": dims, "lists": lists, "queries": len(queries),
                      "trained_s": round(trained, 1), "hnsw_s": round(time.perf_counter() - start, 1)}), flush=True)

    wanted, inverse = np.unique(truth, return_inverse=True)
    wanted_lists = index.quantizer.search(base[wanted], 1)[1][:, 0][inverse].reshape(truth.shape)
    exact = faiss.IndexFlatL2(dims)
    exact.add(centroids)

    threads = faiss.omp_get_max_threads()

    def share(found):
        return float(np.mean([np.isin(own, some).mean() for own, some in zip(wanted_lists, found)]))

    print("| nprobe | share, exact | share, VLC | us, VLC | efSearch | share, HNSW32 | us, HNSW32 | times as fast |")
    print("|---|---|---|---|---|---|---|---|")
    for nprobe in (n for n in arguments.nprobe if n < lists):
        whole = share(exact.search(queries, nprobe)[1])
        faiss.omp_set_num_threads(1)

        def by_graph(x, nprobe=nprobe):
            return graph.search(x, nprobe)[1]

        def by_regions(x, nprobe=nprobe):
            return index.quantizer.search(x, nprobe)[1]

        own = share(by_regions(queries))
        shares = {}
        for effort in (nprobe, 3 * nprobe // 2, 2 * nprobe, 3 * nprobe, 4 * nprobe, 8 * nprobe, 16 * nprobe):
            if effort >= 16:
                graph.hnsw.efSearch = effort
                shares[effort] = share(by_graph(queries))
        reach = [effort for effort in shares if shares[effort] >= own]
        shown = {min(shares, key=lambda effort: abs(shares[effort] - own)), min(reach, default=max(shares))}
        for effort in sorted(shown):
            graph.hnsw.efSearch = effort
            times = [(timed(by_regions, queries), timed(by_graph, queries)) for _ in range(arguments.runs)]
            vlc, hnsw = np.median(times, axis=0)
            print(f"| {nprobe} | {whole:.4f} | {own:.4f} | {vlc:.1f} | {effort} | {shares[effort]:.4f} | {hnsw:.1f} "
                  f"| {hnsw / vlc:.2f} |", flush=True)
        faiss.omp_set_num_threads(threads)


if __name__ == "__main__":
    main()
