#!/usr/bin/env python3
"""The side of libraries other than FAISS, run in build/faiss-venv: one JSON object a measurement.

    library_worker.py build  DATA PEER     makes the index unless it is kept already
    library_worker.py search DATA PEER     the protocol of bench_worker's search (answering.py)

PEER is LIBRARY:SETTINGS, such as hnswlib:M=16 or scann:leaves=256,reorder=100. What stands for nprobe is
hnswlib's ef, ScaNN's leaves_to_search and SVS's search window. Indexes are kept in build/benchmarks/library.
"""

import argparse
import json
import math
import os
import pathlib
import shutil
import sys
import time

import peers

peers.enter_venv()
import numpy as np  # noqa: E402

import answering  # noqa: E402

CORES = len(os.sched_getaffinity(0))


class Hnswlib:
    """Graph over raw float32 vectors."""

    def __init__(self, settings, ip):
        import hnswlib
        self.library, self.space, self.m = hnswlib, "ip" if ip else "l2", int(settings.get("M", 16))

    def build(self, x, folder):
        index = self.library.Index(space=self.space, dim=x.shape[1])
        start = time.perf_counter()
        index.init_index(max_elements=len(x), M=self.m, ef_construction=200, random_seed=1)
        index.add_items(x, num_threads=CORES)
        seconds = time.perf_counter() - start
        index.save_index(str(folder / "index"))
        return {"add_seconds": seconds}

    def open(self, folder, queries):
        self.index, self.queries = self.library.Index(space=self.space, dim=queries.shape[1]), queries
        self.index.load_index(str(folder / "index"))

    def prepare(self, effort, threads, k, bits):
        self.index.set_ef(max(effort, k))
        # The library can only call back to Python, which would be what is measured.
        assert bits is None, "filters are not measured"

        def run(first, count):
            self.labels[first:first + count] = self.index.knn_query(
                self.queries[first:first + count], k=k, num_threads=threads)[0]
        return run


class Scann:
    """4-bit codes for two dimensions each in a tree; reorder keeps the raw vectors, too."""

    def __init__(self, settings, ip):
        import scann
        self.library, self.distance = scann.scann_ops_pybind, "dot_product" if ip else "squared_l2"
        self.leaves, self.reorder = int(settings["leaves"]), int(settings.get("reorder", 0))

    def build(self, x, folder):
        start = time.perf_counter()
        builder = self.library.builder(x, 10, self.distance).tree(
            num_leaves=self.leaves, num_leaves_to_search=8, training_sample_size=min(len(x), 256 * self.leaves))
        builder = builder.score_ah(2, anisotropic_quantization_threshold=0.2 if self.distance != "squared_l2"
                                   else math.nan)
        index = (builder.reorder(self.reorder) if self.reorder else builder).build()
        seconds = time.perf_counter() - start
        index.serialize(str(folder), relative_path=True)
        return {"train_seconds": seconds}

    def open(self, folder, queries):
        self.queries = queries
        self.index = self.library.load_searcher(str(folder))

    def prepare(self, effort, threads, k, bits):
        assert bits is None, "ScaNN has no filter by id"
        index, options = self.index, {"final_num_neighbors": k, "leaves_to_search": effort}
        options["pre_reorder_num_neighbors"] = max(self.reorder, 3 * k) if self.reorder else k
        index.set_num_threads(threads)
        batched = index.search_batched if threads == 1 else index.search_batched_parallel

        def run(first, count):
            if count == 1:
                found = index.search(self.queries[first], **options)[0]
                self.labels[first, :len(found)] = found
            else:
                found = batched(self.queries[first:first + count], **options)[0]
                self.labels[first:first + count, :found.shape[1]] = found
        return run


class Svs:
    """Vamana graph over float16 vectors, or, which Intel allows on its own processors alone, over LVQ codes."""

    def __init__(self, settings, ip):
        import svs
        self.library = svs
        self.distance = svs.DistanceType.MIP if ip else svs.DistanceType.L2
        self.codes = {name: int(settings[name]) for name in ("primary", "residual") if name in settings}
        self.degree = int(settings.get("degree", 32))

    def build(self, x, folder):
        svs = self.library
        parameters = svs.VamanaBuildParameters(graph_max_degree=self.degree, window_size=128,
                                               alpha=0.95 if self.distance == svs.DistanceType.MIP else 1.2)
        if self.codes:
            raw = str(folder / "raw.fvecs")
            rows = np.empty((len(x), x.shape[1] + 1), dtype=np.float32)
            rows[:, 0] = np.array([x.shape[1]], dtype=np.int32).view(np.float32)
            rows[:, 1:] = x
            rows.tofile(raw)
            source = svs.LVQLoader(svs.VectorDataLoader(raw, svs.DataType.float32, dims=x.shape[1]), **self.codes)
        else:
            source = x.astype(np.float16)
        start = time.perf_counter()
        index = svs.Vamana.build(parameters, source, self.distance, num_threads=CORES)
        seconds = time.perf_counter() - start
        if self.codes:
            os.remove(raw)
        index.save(str(folder / "config"), str(folder / "graph"), str(folder / "data"))
        return {"add_seconds": seconds}

    def open(self, folder, queries):
        svs, self.queries, data = self.library, queries, str(folder / "data")
        loader = (svs.LVQLoader(data) if self.codes else  # it knows its bits and dimensions
                  svs.VectorDataLoader(data, svs.DataType.float16, dims=queries.shape[1]))
        self.index = svs.Vamana(str(folder / "config"), svs.GraphLoader(str(folder / "graph")), loader,
                                self.distance, num_threads=1)

    def prepare(self, effort, threads, k, bits):
        assert bits is None, "SVS has no filter by id"
        self.index.num_threads = threads
        self.index.search_window_size = max(effort, k)

        def run(first, count):
            self.labels[first:first + count] = self.index.search(self.queries[first:first + count], k)[0]
        return run


KINDS = {"hnswlib": Hnswlib, "scann": Scann, "svs": Svs}


def load(path):
    return np.ascontiguousarray(np.load(path), dtype=np.float32)


def size_of(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.name != "took.json")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("build", "search"))
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("peer")
    parser.add_argument("--ip", action="store_true")
    arguments = parser.parse_args()
    kind, _, settings = arguments.peer.partition(":")
    peer = KINDS[kind](dict(pair.split("=") for pair in settings.split(",") if pair), arguments.ip)
    folder = peers.BENCH / "library" / f"{arguments.data.name}{'-ip' * arguments.ip}-{arguments.peer}".replace(":", "-")
    if arguments.command == "build":
        if not peers.is_current(folder / "took.json", arguments.data / "base.npy"):
            shutil.rmtree(folder, ignore_errors=True)
            part = folder.with_name(folder.name + ".part")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            took = peer.build(load(arguments.data / "base.npy"), part)
            (part / "took.json").write_text(json.dumps(took))
            part.rename(folder)
            answering.answer(peer=arguments.peer, **took)
        return
    if not folder.exists():
        sys.exit(f"library_worker.py: no {folder}: `build` makes it")
    queries = load(arguments.data / "query.npy")
    _, facts = answering.opened(lambda: peer.open(folder, queries))
    answering.answer(n=peers.shape(arguments.data)[0], file_bytes=size_of(folder), **facts,
                     **json.loads((folder / "took.json").read_text()))
    answering.serve(peer, queries, answering.read_filters(arguments.data / "gt.npy", []))


if __name__ == "__main__":
    main()
