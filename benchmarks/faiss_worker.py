#!/usr/bin/env python3
"""FAISS's side of the benchmarks, run in build/faiss-venv: one JSON object a measurement.

    faiss_worker.py build  DATA PEER --lists N    trains and fills the index unless it is kept already
    faiss_worker.py search DATA PEER --lists N    the protocol of bench_worker's search (answering.py)
    faiss_worker.py add    DATA PEER --lists N --block ROWS
    faiss_worker.py train  SAMPLE Kmeans|SuperKMeans --lists M --iterations N --out anchors.npy

PEER is a factory string without the lists, such as OPQ32,PQ32. Indexes are kept in build/benchmarks/faiss,
with the seconds that they took in a .json beside them.
All peers of a set share one trained coarse quantizer (FAISS's own k-means with its defaults, turned by
OPQ's rotation where there is one), which saves most of the training and makes lists equal.
"""

import argparse
import ctypes
import json
import os
import pathlib
import sys
import time

import peers

peers.enter_venv()
import faiss  # noqa: E402
import numpy as np  # noqa: E402

import answering  # noqa: E402
from answering import answer, memory  # noqa: E402


def load(path):
    return np.ascontiguousarray(np.load(path), dtype=np.float32)


def metric(arguments):
    return faiss.METRIC_INNER_PRODUCT if arguments.ip else faiss.METRIC_L2


def centroids(arguments, x):
    """The trained coarse quantizer's centroids, and the seconds that it took once."""
    folder = peers.BENCH / "faiss"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{arguments.data.name}-{arguments.lists}{'-ip' * arguments.ip}-centroids.npy"
    took = path.with_suffix(".json")
    if not peers.is_current(path, arguments.data / "base.npy") or not took.exists():
        index = faiss.index_factory(x.shape[1], f"IVF{arguments.lists},Flat", metric(arguments))
        start = time.perf_counter()
        index.train(x)
        took.write_text(json.dumps(time.perf_counter() - start))
        np.save(str(path) + ".part.npy", index.quantizer.reconstruct_n(0, arguments.lists))
        os.replace(str(path) + ".part.npy", path)
    return np.load(path), json.loads(took.read_text())


def index_path(arguments):
    name = f"{arguments.data.name}-{arguments.lists}{'-ip' * arguments.ip}-{arguments.peer}.faiss"
    return peers.BENCH / "faiss" / name.replace(",", "_")


def build(arguments):
    path = index_path(arguments)
    if peers.is_current(path, arguments.data / "base.npy"):
        return
    x = load(arguments.data / "base.npy")
    transform, _, codec = arguments.peer.rpartition(",")
    key = (transform + "," if transform else "") + f"IVF{arguments.lists},{codec}"
    index = faiss.index_factory(x.shape[1], key, metric(arguments))
    ivf = faiss.extract_index_ivf(index)
    if hasattr(ivf, "do_polysemous_training"):
        ivf.do_polysemous_training = False  # the factory's default: nothing here searches by it, yet it takes most of the time
    (found, coarse_seconds), rows = centroids(arguments, x), x
    start = time.perf_counter()
    if transform:
        rotation = index.chain.at(0)
        if not rotation.is_trained:
            # as many vectors as FAISS's OPQ itself would take
            rotation.train(x[np.random.default_rng(1).choice(len(x), min(len(x), 65536), replace=False)])
        found, rows = rotation.apply(found), rotation.apply(x)
    ivf.quantizer.train(found)
    ivf.quantizer.add(found)
    ivf.train(rows)
    index.is_trained = True
    took = {"peer": arguments.peer, "build_threads": faiss.omp_get_max_threads(), "train_seconds": coarse_seconds + time.perf_counter() - start}
    start = time.perf_counter()
    index.add(x)
    took["add_seconds"] = time.perf_counter() - start
    start = time.perf_counter()
    faiss.write_index(index, str(path) + ".part")
    took["save_seconds"] = time.perf_counter() - start
    path.with_suffix(".json").write_text(json.dumps(took))
    os.replace(str(path) + ".part", path)
    answer(**took)


def open_index(arguments):
    if not index_path(arguments).exists():
        sys.exit(f"faiss_worker.py: no {index_path(arguments)}: `build` makes it")
    return faiss.read_index(str(index_path(arguments)))


class Index:
    """The C++ function itself is called: checks and allocations of Python's search() don't count."""

    def __init__(self, index, queries):
        self.index, self.queries, self.labels = index, queries, None

    def prepare(self, effort, threads, k, bits):
        faiss.omp_set_num_threads(threads)
        faiss.extract_index_ivf(self.index).nprobe = effort
        self.distances = distances = np.empty((len(self.queries), k), dtype=np.float32)
        search, pointer, labels, params = self.index.search_c, faiss.swig_ptr, self.labels, None
        if bits is not None:
            params = faiss.SearchParametersIVF(nprobe=effort, sel=faiss.IDSelectorBitmap(bits))
            if isinstance(self.index, faiss.IndexPreTransform):
                params = faiss.SearchParametersPreTransform(index_params=params)
        pointers = [(pointer(self.queries[i:]), pointer(distances[i:]), pointer(labels[i:]))
                    for i in range(len(self.queries))]

        def run(first, count):
            query, distance, label = pointers[first]
            search(count, query, k, distance, label, params)
        return run


def search(arguments):
    index, facts = answering.opened(lambda: open_index(arguments))
    path, ivf = index_path(arguments), faiss.extract_index_ivf(index)
    took = path.with_suffix(".json")
    answer(n=index.ntotal, file_bytes=path.stat().st_size, code_size=ivf.code_size, lists=ivf.nlist,
           faiss=faiss.__version__, options=faiss.get_compile_options().strip(), **facts,
           **(json.loads(took.read_text()) if took.exists() else {}))
    queries = load(arguments.data / "query.npy")
    answering.serve(Index(index, queries), queries,
                    answering.read_filters(arguments.gt or arguments.data / "gt.npy", arguments.filter))


def read_rows(path, first, x):
    """Fills x from a row of a .npy on; mapped pages would count as memory."""
    base = np.load(path, mmap_mode="r")
    count = min(len(x), len(base) - first)
    with open(path, "rb") as file:
        file.seek(base.offset + first * base.strides[0])
        x[:count] = np.fromfile(file, base.dtype, count * base.shape[1]).reshape(count, -1)
    return count


def add(arguments):
    index = open_index(arguments)
    index.reset()
    shape = np.load(arguments.data / "base.npy", mmap_mode="r").shape
    x = np.zeros((arguments.block, shape[1]), dtype=np.float32)
    index.add(x[:1000])
    index.reset()
    ctypes.CDLL(None).malloc_trim(0)  # as bench_worker does
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    seconds = 0
    for first in range(0, shape[0], arguments.block):
        count = read_rows(arguments.data / "base.npy", first, x)
        start = time.perf_counter()
        index.add(x[:count])
        seconds += time.perf_counter() - start
    ctypes.CDLL(None).malloc_trim(0)
    grown = memory("VmRSS") - before
    peak = memory("VmHWM") - before
    answer(n=index.ntotal, seconds=seconds, block=arguments.block, block_bytes=x.nbytes, peak=peak,
           grown=grown)


def train(arguments):
    x = load(arguments.data)
    start = time.perf_counter()
    options = {"niter": arguments.iterations, "max_points_per_centroid": len(x), "min_points_per_centroid": 1}
    if arguments.peer == "Kmeans":
        made = faiss.Kmeans(x.shape[1], arguments.lists, **options)
        made.train(x)
        anchors = made.centroids
    else:
        parameters = faiss.SuperKMeansParameters()
        for name, value in options.items():
            setattr(parameters, name, value)
        made = faiss.SuperKMeans(x.shape[1], arguments.lists, parameters)
        made.train(x)
        anchors = faiss.vector_to_array(made.centroids).reshape(arguments.lists, -1)
    seconds = time.perf_counter() - start
    np.save(arguments.out, anchors)
    answer(seconds=seconds, iterations=arguments.iterations)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("build", "search", "add", "train"))
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("peer")
    parser.add_argument("--lists", type=int, required=True)
    parser.add_argument("--ip", action="store_true")
    parser.add_argument("--gt", type=pathlib.Path)
    parser.add_argument("--filter", action="append", default=[], help="NAME,BITS,GT, as bench_worker's")
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--block", type=int, default=65536)
    arguments = parser.parse_args()
    {"build": build, "search": search, "add": add, "train": train}[arguments.command](arguments)


if __name__ == "__main__":
    main()
