#!/usr/bin/env python3
"""recall@10 with every list probed, per bytes of code, for IndexVLC and FAISS's indexes.

    benchmarks/recall_table.py build/datasets/sift-120000x128 --lists 1024 --bytes 16,32,64
    benchmarks/recall_table.py build/datasets/text-24000x384-ip --lists 256 --bytes 24,48 --ip --peers PQ,OPQ

Bytes are codes and factors, without ids. A peer that has no code of exactly those bytes (RaBitQ, SQ)
stands in the column of the next larger size and shows its own. --vlc adds variants of IndexVLC by the
options of `vlc index`, separated by ';'. Sets with other dimensions, fewer rows or inner products come
from `datasets/make_datasets.py derive`.
"""

import argparse
import json
import os
import pathlib
import subprocess

import peers


def peer_codes(d, size):
    """(column's label, factory strings) that take size bytes, or near it."""
    found = {"PQ": f"PQ{size}", "OPQ": f"OPQ{size},PQ{size}", "PQfs": f"PQ{2 * size}x4fs"}
    if d % size:
        found.pop("PQ"), found.pop("OPQ")
    if d % (2 * size):
        found.pop("PQfs")
    return found


def odd_codes(d):
    """Codes whose size d dictates: (name, factory string, bytes)."""
    found = [(f"RaBitQ{bits}", f"RaBitQ{bits if bits > 1 else ''}", d * bits // 8 + (8 if bits == 1 else 20))
             for bits in (1, 2, 4)]
    found += [("RaBitQ1 turned", f"RR{d},RaBitQ", d // 8 + 8), ("SQ4", "SQ4", d // 2)]
    return found


def recall_of(worker, lists):
    try:
        return worker.search(lists, len(os.sched_getaffinity(0)), 0, 0)["recall"]
    finally:
        worker.close()


def peer_recall(data, peer, arguments):
    """(recall, bytes of code), of an index that is built first if it isn't kept."""
    options = ["--ip"] * arguments.ip
    subprocess.run([peers.VENV / "bin" / "python", peers.ROOT / "benchmarks" / "faiss_worker.py", "build",
                    data, peer, "--lists", str(arguments.lists), *options], check=True,
                   stdout=subprocess.DEVNULL)
    worker = peers.faiss_worker(peer, data, arguments.lists, *options)
    return recall_of(worker, arguments.lists), worker.facts["code_size"]


def vlc_recall(data, size, options, arguments):
    metric = ["--metric", "ip"] if arguments.ip else []
    path, facts = peers.vlc_index(data, arguments.lists, size, (*metric, *options))
    return recall_of(peers.vlc_worker(path, data), arguments.lists), facts["code_bytes"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--lists", type=int, required=True)
    parser.add_argument("--bytes", type=lambda text: [int(b) for b in text.split(",")], required=True)
    parser.add_argument("--ip", action="store_true", help="inner product, also in the set's gt.npy")
    parser.add_argument("--peers", type=lambda text: text.split(","), default=["PQ", "OPQ", "PQfs", "RaBitQ", "SQ"],
                        help="PQ,OPQ,PQfs,RaBitQ,SQ or none")
    parser.add_argument("--vlc", type=lambda text: [v.split() for v in text.split(";")], default=[],
                        help='variants, such as "--frame identity;--robust none"')
    arguments = parser.parse_args()
    peers.enter_venv()
    import numpy as np
    data = arguments.data.absolute()
    n, d = np.load(data / "base.npy", mmap_mode="r").shape
    folder = peers.BENCH / "results"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"recall-{data.name}-{arguments.lists}{'-ip' * arguments.ip}.json"
    rows = json.loads(target.read_text())["rows"] if target.exists() else {}

    def note(name, size, recall, code_size):
        rows.setdefault(name, {})[str(size)] = {"recall": recall, "bytes": code_size}
        print(f"{data.name} {name} {size} B ({code_size} B): {recall:.3f}", flush=True)
        target.write_text(json.dumps({
            "kind": "recall", "set": data.name, "n": n, "d": d, "lists": arguments.lists,
            "metric": "inner product" if arguments.ip else "L2", "machine": peers.machine(),
            "command": peers.command_line(), "rows": rows}, indent=1))

    for size in arguments.bytes:
        for options in [[], *arguments.vlc]:
            note(" ".join(["IndexVLC", *options]), size, *vlc_recall(data, size, options, arguments))
        for name, peer in peer_codes(d, size).items():
            if name in arguments.peers:
                note(name, size, *peer_recall(data, peer, arguments))
    for name, peer, size in odd_codes(d):
        column = min((b for b in arguments.bytes if b >= 0.75 * size), default=None)
        if name.rstrip("0123456789 turned") in arguments.peers and column and column <= 1.4 * size:
            note(name, column, *peer_recall(data, peer, arguments))


if __name__ == "__main__":
    main()
