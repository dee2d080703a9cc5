#!/usr/bin/env python3
"""Trains one IndexVLC by several MPI processes, each of which reads and keeps its own rows of the file.

    export PYTHONPATH=build/release/python
    mpiexec -n 4 /usr/bin/python3 -m mpi4py tests/examples/cluster/train_mpi.py \\
        tests/data/sift20k/base.npy VLC256b32 --out trained.vlc [--shards FOLDER]

It is the library's own training: each process assigns its share of the sample and adds up its rows, and MPI
adds up these sums. They are integers, so the file has the same bytes for any number of processes; they are
those that index.train() gives. With --shards each process then encodes its own rows into a file of its own.

mpi4py's -m ends all processes when one fails. Processes that share a machine should share its cores: set
OMP_NUM_THREADS.
"""

import argparse
import json
import os
import time

import faiss
import numpy as np
from mpi4py import MPI

import faiss_vlc  # noqa: F401, teaches faiss about VLC


def own_rows(path, rank, ranks):
    """(first, rows) of this process: the rest of the file stays unread."""
    rows = np.load(path, mmap_mode="r")
    first, end = (len(rows) * r // ranks for r in (rank, rank + 1))
    return first, np.ascontiguousarray(rows[first:end], dtype="float32")


class Network:
    """Adds up over all processes and remembers what that took."""

    def __init__(self, communicator):
        self.communicator = communicator
        self.values = 0
        self.seconds = self.cpu_seconds = 0.0

    def all_reduce(self, values):
        start, cpu_start = time.perf_counter(), time.process_time()
        self.communicator.Allreduce(MPI.IN_PLACE, values)
        self.seconds += time.perf_counter() - start  # with waiting for the slowest
        self.cpu_seconds += time.process_time() - cpu_start  # MPI asks again and again
        self.values += len(values)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vectors", help=".npy that every process can open")
    parser.add_argument("factory", help="VLC and what the README lists for it")
    parser.add_argument("--out", help="file of the trained, empty index")
    parser.add_argument("--shards", help="folder of the processes' filled indexes")
    arguments = parser.parse_args()
    world = MPI.COMM_WORLD
    first, rows = own_rows(arguments.vectors, world.rank, world.size)
    index = faiss.index_factory(rows.shape[1], arguments.factory)
    network = Network(world)
    world.Barrier()
    start, cpu_start = time.perf_counter(), time.process_time()
    index.train_distributed(rows, world.rank, world.size, network.all_reduce)
    own = time.process_time() - cpu_start - network.cpu_seconds
    seconds, cpu_seconds = (world.allreduce(value, op=MPI.MAX) for value in (time.perf_counter() - start, own))
    if arguments.out and world.rank == 0:
        faiss.write_index(index, arguments.out)
    if arguments.shards:
        index.add_with_ids(rows, np.arange(first, first + len(rows)))
        faiss.write_index(index, os.path.join(arguments.shards, f"shard{world.rank}.vlc"))
    waited = world.allreduce(network.seconds, op=MPI.MIN)
    if world.rank == 0:
        print(json.dumps({"processes": world.size, "threads": faiss.omp_get_max_threads(),
                          "device": index.trained_on, "lists": index.nlist, "seconds": round(seconds, 3),
                          "cpu_seconds": round(cpu_seconds, 3), "adding_up_seconds": round(waited, 3),
                          "sums_mb": round(network.values * 8 / 1e6, 1)}))


if __name__ == "__main__":
    main()
