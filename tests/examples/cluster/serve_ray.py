#!/usr/bin/env python3
"""Trains once, splits the lists among shards and serves these with Ray, an actor for each.

    PYTHONPATH=build/release/python build/ray-venv/bin/python tests/examples/cluster/serve_ray.py \\
        tests/data/sift20k --factory VLC256b32 --shards 2

All shards have the same anchors; each owns some of the lists and maps a file that holds those. The router
ranks the anchors once for a batch of queries, asks of each shard only what is in its lists, and merges. What
comes out is what one index over everything gives: its distances, and its labels, which equal distances can
put in another order.

The folder has base.npy and query.npy. This prints queries a second, and microseconds of CPU a query, of one
index on one thread (actors: 0) and of 1 to --shards actors.
"""

import argparse
import json
import os
import pathlib
import secrets
import tempfile
import time

import faiss
import numpy as np
import ray
from faiss.contrib import ivf_tools

import faiss_vlc  # noqa: F401, teaches faiss about VLC

ANCHORS, OWNERS = "anchors.vlc", "owners.npy"


def split_lists(anchors, sizes, shards):
    """The shard of each list. Anchors are halved along their principal axis until there are enough parts of
    equal size: lists that a query needs lie together, and it has few shards to ask."""
    owner = np.zeros(len(anchors), dtype="int64")

    def split(lists, first, count):
        if count == 1 or len(lists) < 2:
            owner[lists] = first
            return
        centred = anchors[lists] - anchors[lists].mean(axis=0)
        axis = np.linalg.svd(centred, full_matrices=False)[2][0]
        ordered = lists[np.argsort(centred @ axis, kind="stable")]
        left = count // 2
        filled = np.cumsum(sizes[ordered])
        cut = np.searchsorted(filled, filled[-1] * left / count)
        split(ordered[:cut], first, left)
        split(ordered[cut:], first + left, count - left)

    split(np.arange(len(anchors)), 0, shards)
    return owner


def build(trained, vectors, shards, folder):
    """Writes the shards of a trained, empty index: files of their own, with the ids of one index."""
    folder = pathlib.Path(folder)
    lists = trained.assign_lists(vectors)
    owner = split_lists(trained.quantizer.reconstruct_n(0, trained.nlist),
                        np.bincount(lists, minlength=trained.nlist), shards)
    faiss.write_index(trained, folder / ANCHORS)
    np.save(folder / OWNERS, owner)
    for shard in range(shards):
        index = faiss.clone_index(trained)
        mine = np.flatnonzero(owner[lists] == shard)
        ivf_tools.add_preassigned(index, np.ascontiguousarray(vectors[mine]), lists[mine], mine)
        faiss.write_index(index, shard_file(folder, shard))


def shard_file(folder, shard):
    return str(pathlib.Path(folder) / f"shard{shard}.vlc")


@ray.remote(num_cpus=1)
class Shard:
    """Searches the lists of one shard."""

    def __init__(self, path, threads):
        import faiss_vlc  # noqa: F401, this is another process
        faiss.omp_set_num_threads(threads)
        self.path = path
        self.index = faiss.read_index(path, faiss.IO_FLAG_MMAP)

    def search(self, queries, k, lists, distances):
        self.index.nprobe = lists.shape[1]
        return ivf_tools.search_preassigned(self.index, queries, k, lists, distances)

    def facts(self):
        """(vectors, whether the file is mapped, seconds of CPU so far)"""
        maps = pathlib.Path("/proc/self/maps").read_text(encoding="utf-8")
        return self.index.ntotal, os.path.realpath(self.path) in maps, time.process_time()


class Router:
    """Asks the shards that build() left in a folder."""

    def __init__(self, folder, threads=1):
        folder = pathlib.Path(folder)
        self.anchors = faiss.read_index(folder / ANCHORS)
        self.owner = np.load(folder / OWNERS)
        self.shards = [Shard.remote(shard_file(folder, shard), threads) # type: ignore[attr-defined]
                       for shard in range(self.owner.max() + 1)]
        self.asked = self.answered = 0

    def facts(self):
        return ray.get([shard.facts.remote() for shard in self.shards])

    def search(self, queries, k, nprobe):
        """Distances and labels, as faiss's search."""
        # one list alone would be the one to add to
        anchor_distances, lists = (found[:, :nprobe] for found in self.anchors.quantizer.search(queries, max(nprobe, 2)))
        owner = np.where(lists >= 0, self.owner[lists], -1)
        pending = []
        for number, shard in enumerate(self.shards):
            mine = owner == number
            rows = np.flatnonzero(mine.any(axis=1))
            if len(rows):
                mine = mine[rows]
                # its lists to the front, the nearest first; -1 in what is left of the longest row
                order = np.argsort(~mine, axis=1, kind="stable")[:, :mine.sum(axis=1).max()]
                own = np.take_along_axis(np.where(mine, lists[rows], -1), order, axis=1)
                distances = np.take_along_axis(anchor_distances[rows], order, axis=1)
                pending.append((rows, shard.search.remote(queries[rows], k, own, distances)))
        self.asked += sum(len(rows) for rows, _ in pending)
        self.answered += len(queries)
        return self.merge(len(queries), k, pending)

    def merge(self, n, k, pending):
        """The k best of what the shards found, equal distances by label."""
        sign = -1 if self.anchors.metric_type == faiss.METRIC_INNER_PRODUCT else 1
        distances = np.full((n, len(pending) * k), sign * np.finfo("float32").max, dtype="float32")
        labels = np.full(distances.shape, -1, dtype="int64")
        found = ray.get([answer for _, answer in pending])
        for at, ((rows, _), (part, part_labels)) in enumerate(zip(pending, found)):
            distances[rows, at * k:(at + 1) * k] = part
            labels[rows, at * k:(at + 1) * k] = part_labels
        best = np.lexsort((labels, sign * distances), axis=1)[:, :k]
        return np.take_along_axis(distances, best, axis=1), np.take_along_axis(labels, best, axis=1)

    def close(self):
        for shard in self.shards:
            ray.kill(shard)


def start(cpus, folder):
    """Ray on this machine alone, and no larger than the example needs."""
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(16))  # or Ray leaves one in the user's home
    ray.init(num_cpus=cpus, object_store_memory=128 << 20, include_dashboard=False, log_to_driver=False,
             logging_level="error", _node_ip_address="127.0.0.1", _temp_dir=folder)


def measure(search, queries, seconds):
    """(queries, seconds, seconds of this process's CPU) of searching again and again."""
    search(queries)
    done, begun, cpu_begun = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - begun < seconds:
        search(queries)
        done += len(queries)
    return done, time.perf_counter() - begun, time.process_time() - cpu_begun


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path, help="folder with base.npy and query.npy")
    parser.add_argument("--factory", default="VLC256b32")
    parser.add_argument("--shards", type=int, default=2, help="at most")
    parser.add_argument("--nprobe", type=int, default=16)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=3, help="of each measurement")
    arguments = parser.parse_args()
    base = np.load(arguments.data / "base.npy").astype("float32")
    queries = np.load(arguments.data / "query.npy").astype("float32")
    k, nprobe = arguments.k, arguments.nprobe
    index = faiss.index_factory(base.shape[1], arguments.factory)
    index.train(base)
    trained = faiss.clone_index(index)
    index.add(base)
    params = faiss.SearchParametersIVF(nprobe=nprobe)
    faiss.omp_set_num_threads(1)

    done, seconds, cpu = measure(lambda x: index.search(x, k, params=params), queries, arguments.seconds)
    print(json.dumps({"actors": 0, "queries_per_second": round(done / seconds), "cpu_us": round(cpu / done * 1e6, 1)}))
    with tempfile.TemporaryDirectory() as scratch:
        try:
            start(arguments.shards, os.path.join(scratch, "ray"))
            for shards in range(1, arguments.shards + 1):
                folder = os.path.join(scratch, str(shards))
                os.mkdir(folder)
                build(trained, base, shards, folder)
                router = Router(folder)
                before = router.facts()
                done, seconds, cpu = measure(lambda x: router.search(x, k, nprobe), queries, arguments.seconds)
                facts = router.facts()
                busiest = max(now[2] - then[2] for now, then in zip(facts, before))
                print(json.dumps({
                    "actors": shards, "queries_per_second": round(done / seconds),
                    "router_cpu_us": round(cpu / done * 1e6, 1),
                    "busiest_actor_cpu_us": round(busiest / router.answered * 1e6, 1),
                    "shards_a_query": round(router.asked / router.answered, 2),
                    "vectors": [vectors for vectors, _, _ in facts]}), flush=True)
                router.close()
        finally:
            ray.shutdown()


if __name__ == "__main__":
    main()
