#!/usr/bin/python3
"""IndexVLC's results as ann-benchmarks and VIBE keep theirs, to be plotted beside them.

    PYTHONPATH=build/release/python benchmarks/hdf5_results.py tests/data/sift20k --lists 256 --bytes 32

It runs the algorithm modules under ann_benchmarks/ and vibe/ query by query, one thread, as those projects'
runners do, and writes OUT/ann_benchmarks/results/SET/K/faiss-vlc/*.hdf5 (a file an nprobe) and
OUT/vibe/results/SET/K/faiss-vlc/*.hdf5 (a file an index, a group an nprobe).
"""

import argparse
import importlib.util
import json
import os
import pathlib
import re
import sys
import time
import types

import faiss
import h5py
import numpy as np

import data_files

HERE = pathlib.Path(__file__).resolve().parent


def algorithm(project):
    """The class FaissVLC of a project's module, without the project."""
    package = f"{project}_algorithms"
    for name in (package, f"{package}.base", f"{package}.base.module", f"{package}.faiss_vlc"):
        sys.modules.setdefault(name, types.ModuleType(name))
    sys.modules[f"{package}.base.module"].BaseANN = object
    name = f"{package}.faiss_vlc.module"
    spec = importlib.util.spec_from_file_location(name, HERE / project / "faiss_vlc" / "module.py")
    module = importlib.util.module_from_spec(spec)
    module.__package__ = f"{package}.faiss_vlc"
    spec.loader.exec_module(module)
    return module.FaissVLC


def slug(arguments):
    return re.sub(r"\W+", "_", json.dumps(arguments, sort_keys=True)).strip("_")


def distances_of(base, query, ids, metric):
    rows, query = np.asarray(base[ids], dtype=np.float64), np.asarray(query, dtype=np.float64)
    if metric == "L2":
        return np.sqrt(((rows - query) ** 2).sum(axis=1))
    return 1 - rows @ query


def run(made, base, queries, k, metric):
    """(attributes, times, neighbours, distances) of one setting."""
    n = len(queries)
    times = np.empty(n, dtype=np.float32)
    neighbours = np.full((n, k), -1, dtype=np.int32)
    distances = np.full((n, k), np.inf, dtype=np.float32)
    for i, query in enumerate(queries):
        start = time.perf_counter()
        found = made.query(query, k)
        times[i] = time.perf_counter() - start
        neighbours[i, :len(found)] = found
        distances[i, :len(found)] = distances_of(base, query, found, metric)
    attributes = {"best_search_time": float(times.mean()), "candidates": float((neighbours >= 0).sum(axis=1).mean()),
                  "expect_extra": False, "name": made.name, "run_count": 1, "count": k, "algo": "faiss-vlc"}
    return attributes, times, neighbours, distances


def write(group, attributes, arrays):
    group.attrs.update(attributes)
    for name, values in zip(("times", "neighbors", "distances"), arrays):
        group.create_dataset(name, data=values)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path, help="as bench.py's")
    parser.add_argument("--lists", type=int, required=True)
    parser.add_argument("--bytes", type=int, required=True)
    parser.add_argument("--nprobe", type=lambda text: [int(p) for p in text.split(",")], default=[1, 2, 4, 8, 16, 32, 64])
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--out", type=pathlib.Path, default=HERE.parent / "build" / "benchmarks" / "hdf5")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    data = data_files.folder_of(arguments.data.absolute(), arguments.out / "data")
    base, queries = np.load(data / "base.npy"), np.load(data / "query.npy")
    metric = data_files.metric_of(data)
    distance = {"ann_benchmarks": "euclidean" if metric == "L2" else "angular",
                "vibe": "euclidean" if metric == "L2" else "normalized"}
    for project in distance:
        made = algorithm(project)(distance[project], arguments.lists, arguments.bytes)
        start = time.perf_counter()
        made.fit(base)
        common = {"build_time": time.perf_counter() - start, "index_size": len(faiss.serialize_index(made.index)) / 1024,
                  "dataset": data.name, "distance": distance[project]}
        folder = arguments.out / project / "results" / data.name / str(arguments.k) / "faiss-vlc"
        folder.mkdir(parents=True, exist_ok=True)
        fixed = [distance[project], arguments.lists, arguments.bytes]
        whole = folder / (slug(fixed) + ".hdf5")
        if project == "vibe":
            whole.unlink(missing_ok=True)
        for nprobe in arguments.nprobe:
            made.set_query_arguments(nprobe)
            attributes, *arrays = run(made, base, queries, arguments.k, metric)
            attributes.update(common)
            if project == "vibe":
                with h5py.File(whole, "a") as file:
                    write(file.create_group(slug([nprobe])), {**attributes, "gpu_mode": False,
                          "best_qps": 1 / attributes["best_search_time"]}, arrays)
            else:
                with h5py.File(folder / (slug(fixed + [nprobe]) + ".hdf5"), "w") as file:
                    write(file, {**attributes, "batch_mode": False}, arrays)
        print(folder)


if __name__ == "__main__":
    main()
