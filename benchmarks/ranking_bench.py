#!/usr/bin/env python3
"""Ranking of many lists: IndexVLC's quantizer against HNSW32 as FAISS's IndexIVF uses it, over the same centroids.

    PYTHONPATH=build/release/python benchmarks/ranking_bench.py --rows 500000 --lists 65536 --base base.npy --queries query.npy
    PYTHONPATH=build/release/python benchmarks/ranking_bench.py --rows 500000 --lists 16384 --dims 96 --hnsw-python venv/bin/python

Both give a query its nprobe nearest lists. What counts is the share of the lists that hold the true ten neighbours,
over all queries and neighbours, and the time of a query on one thread, in a batch and alone. Without --base rows are
synthetic: 20,000 clusters, dimensions falling as i^-1/2. To be quick the centroids are rows of the set, drawn at
random, not trained ones: lists are less even than after training, for both alike. --train rows (at least twice the
lists) teach IndexVLC its regions. Runs alternate. Times are medians of what the thread was busy for. HNSW has the least
efSearch of a few that reaches IndexVLC's share, or what the nprobe nearest centroids hold if that is less: IndexVLC
ranks by how wide lists are, too. --hnsw-python names an interpreter whose FAISS runs HNSW: Debian's is
built without AVX2. --index names a trained IndexVLC whose anchors are taken for both, in place of rows.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

import peers


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


def timed(search, queries, alone):
    """Microseconds a query."""
    start = time.thread_time()
    if alone:
        for query in queries:
            search(query[None])
    else:
        search(queries)
    return (time.thread_time() - start) * 1e6 / len(queries)


def serve(folder):
    """HNSW over folder/centroids.npy: for each line "nprobe efSearch alone" its time, and the lists in found.npy."""
    import faiss
    centroids, queries = np.load(f"{folder}/centroids.npy"), np.load(f"{folder}/queries.npy")
    graph = faiss.IndexHNSWFlat(centroids.shape[1], 32)
    graph.hnsw.efConstruction = 200
    graph.add(centroids)
    faiss.omp_set_num_threads(1)
    print(faiss.__version__, flush=True)
    for line in sys.stdin:
        nprobe, graph.hnsw.efSearch, alone = map(int, line.split())
        took = timed(lambda x: graph.search(x, nprobe), queries, alone)
        np.save(f"{folder}/found.npy", graph.search(queries, nprobe)[1])
        print(took, flush=True)


class Graph:
    """serve() in another process."""

    def __init__(self, python, folder, centroids, queries):
        np.save(f"{folder}/centroids.npy", centroids)
        np.save(f"{folder}/queries.npy", queries)
        self.folder, self.centroids, self.queries = folder, centroids, queries
        own = None if python == sys.executable else {name: value for name, value in os.environ.items()
                                                     if name != "PYTHONPATH"}
        self.process = subprocess.Popen([python, __file__, "--serve", folder], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, env=own)
        self.version = self.process.stdout.readline().strip()

    def search(self, nprobe, effort, alone=False):
        """The time and the lists."""
        print(nprobe, effort, int(alone), file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline()), np.load(f"{self.folder}/found.npy")

    def nearest(self, nprobe):
        """The lists of the nearest centroids, which the graph looks for."""
        import faiss
        flat = faiss.IndexFlatL2(self.centroids.shape[1])
        flat.add(self.centroids)
        return flat.search(self.queries, nprobe)[1]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def trained(faiss_vlc, arguments, centroids, train):
    """An IndexVLC with these centroids."""
    lists, dims = centroids.shape
    parameters = faiss_vlc.VLCParameters()
    parameters.m, parameters.bytes, parameters.codec = lists, dims // 4 + 2, faiss_vlc.Codec.lattice
    parameters.regions = arguments.regions
    index = faiss_vlc.IndexVLC(dims, parameters)
    index.quantizer.add(centroids)
    index.train(train)
    return index


def measure(arguments, index, graph, queries, nprobe, share):
    """Prints one row of the table, and returns it."""
    def ranked(x):
        return index.quantizer.search(x, nprobe)[1]

    own = share(ranked(queries))
    least = max(16, nprobe)
    wanted = min(own, share(graph.nearest(nprobe))) - 0.0005
    for effort in (least, 3 * least // 2, 2 * least, 3 * least, 4 * least, 6 * least, 8 * least):
        reached = share(graph.search(nprobe, effort)[1])
        if reached >= wanted:
            break
    times = [(timed(ranked, queries, False), graph.search(nprobe, effort)[0],
              timed(ranked, queries, True), graph.search(nprobe, effort, True)[0]) for _ in range(arguments.runs)]
    batch, graph_batch, alone, graph_alone = np.median(times, axis=0)
    row = {"nprobe": nprobe, "share": own, "effort": effort, "graph_share": reached, "us": batch,
           "graph_us": graph_batch, "us_alone": alone, "graph_us_alone": graph_alone}
    print(f"| {nprobe} | {own:.4f} | {effort} | {reached:.4f} | {batch:.1f} | {graph_batch:.1f} "
          f"| {graph_batch / batch:.2f} | {alone:.1f} | {graph_alone:.1f} | {graph_alone / alone:.2f} |", flush=True)
    return row


def main():
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=500000)
    parser.add_argument("--dims", type=int, default=96, help="of synthetic rows")
    parser.add_argument("--lists", type=int, default=65536)
    parser.add_argument("--index", help="file of a trained IndexVLC, for --base")
    parser.add_argument("--base", help=".npy, rows x dimensions")
    parser.add_argument("--queries", help=".npy, with --base")
    parser.add_argument("--query-count", type=int, default=1000)
    parser.add_argument("--train", type=int, default=0, help="rows that IndexVLC sees; 0: twice the lists")
    parser.add_argument("--regions", type=int, default=-1, help="as VLCParameters.regions; 0: all anchors are ranked")
    parser.add_argument("--nprobe", type=int, nargs="*", default=[8, 32, 128, 512, 1024])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--hnsw-python", default=sys.executable)
    parser.add_argument("--set", default="synthetic", help="the rows' name, for --out")
    parser.add_argument("--out", type=pathlib.Path, help="a .json for benchmarks/results, which report.py makes tables of")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve)
        return
    import faiss
    import faiss_vlc
    base, queries = vectors(arguments)
    flat = faiss.IndexFlatL2(base.shape[1])
    flat.add(base)
    truth = flat.search(queries, 10)[1]
    del flat
    start = time.perf_counter()
    if arguments.index:
        index = faiss.read_index(arguments.index)
        centroids = index.quantizer.reconstruct_n(0, index.nlist)
    else:
        drawn = np.random.default_rng(4).permutation(len(base))
        centroids = np.ascontiguousarray(base[drawn[:arguments.lists]])
        index = trained(faiss_vlc, arguments, centroids, base[drawn[:arguments.train or 2 * arguments.lists]])
    took = time.perf_counter() - start
    wanted, inverse = np.unique(truth, return_inverse=True)
    wanted_lists = index.quantizer.search(base[wanted], 1)[1][:, 0][inverse].reshape(truth.shape)

    def share(found):
        return float(np.mean([np.isin(own, some).mean() for own, some in zip(wanted_lists, found)]))

    with tempfile.TemporaryDirectory() as folder:
        graph = Graph(arguments.hnsw_python, folder, centroids, queries)
        facts = {"kind": "ranking", "set": arguments.set, "n": len(base), "d": base.shape[1], "lists": index.nlist,
                 "queries": len(queries), "trained_s": round(took, 1), "nprobe": index.nprobe, "faiss": graph.version,
                 "machine": peers.machine(), "command": peers.command_line(), "rows": []}
        print(json.dumps(facts), flush=True)
        print("| nprobe | share, VLC | efSearch | share, HNSW32 | us, VLC | us, HNSW32 | times | us alone, VLC "
              "| us alone, HNSW32 | times |")
        print("|---|---|---|---|---|---|---|---|---|---|")
        faiss.omp_set_num_threads(1)
        for nprobe in (n for n in arguments.nprobe if n < index.nlist):
            facts["rows"].append(measure(arguments, index, graph, queries, nprobe, share))
        graph.close()
    if arguments.out:
        arguments.out.write_text(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
