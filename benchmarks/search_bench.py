#!/usr/bin/env python3
"""IndexVLC against FAISS's indexes at equal bytes: recall@10 and queries per second over nprobe.

    benchmarks/search_bench.py build/datasets/sift
    benchmarks/search_bench.py build/datasets/text --peers "48 B" --modes one-batch

Both sides get the same vectors, queries and number of lists; each peer's IndexVLC is the largest whose
file is not larger than the peer's (file size / n: codes, ids, anchors and all). Each side is a process
of its own; they take turns, --rounds times at every nprobe, and medians count. FAISS 1.15.1 comes from
PyPI into build/faiss-venv. Modes: one thread or all, all queries in one batch or one by one.

Results go into build/benchmarks/results; README.md beside this file says how they are published.
"""

import argparse
import json
import math
import os
import pathlib
import statistics
import subprocess

import peers

MODES = {"one-batch": (1, 0), "all-batch": (0, 0), "one-single": (1, 1), "all-single": (0, 1)}
SHARE = 0.98  # of the lower of the two highest recalls: where speeds are compared


def speed_at(curve, recall):
    """Queries per second at a recall, between the measured points on a log scale; None if not reached."""
    previous = None
    for point in curve:
        if point["recall"] >= recall:
            if previous is None or point["recall"] == previous["recall"]:
                return point["qps"]
            share = (recall - previous["recall"]) / (point["recall"] - previous["recall"])
            return math.exp(math.log(previous["qps"]) * (1 - share) + math.log(point["qps"]) * share)
        previous = point
    return None


def compare(ours, theirs):
    target = SHARE * min(max(p["recall"] for p in ours), max(p["recall"] for p in theirs))
    mine, other = speed_at(ours, target), speed_at(theirs, target)
    return {"recall": target, "vlc_qps": mine, "peer_qps": other, "ratio": mine / other}


def measure(workers, mode, rounds, seconds):
    """A curve for each worker, taken in turns."""
    threads, batch = MODES[mode]
    threads = threads or len(os.sched_getaffinity(0))
    curves = [[] for _ in workers]
    for nprobe in peers.NPROBES:
        runs = [[] for _ in workers]
        for _ in range(rounds):
            for worker, found in zip(workers, runs):
                found.append(worker.search(nprobe, threads, batch, seconds))
        for curve, found in zip(curves, runs):
            curve.append({"nprobe": nprobe, "recall": found[0]["recall"],
                          "qps": statistics.median(run["qps"] for run in found)})
    return curves


def bench(data, size, peer, lists, arguments):
    done = subprocess.run([peers.VENV / "bin" / "python", peers.ROOT / "benchmarks" / "faiss_worker.py",
                           "build", data, peer, "--lists", str(lists)], check=True,
                          capture_output=True, text=True)
    print(done.stdout, end="", flush=True)
    theirs = peers.faiss_worker(peer, data, lists)
    n = theirs.facts["n"]
    theirs.facts["bytes"] = theirs.facts["file_bytes"] / n
    path, made = peers.vlc_of_size(data, lists, theirs.facts["bytes"])
    if arguments.build_only:
        theirs.close()
        return
    ours = peers.vlc_worker(path, data)
    ours.facts.update(bytes=made["bytes_per_vector"], memory_bytes=ours.facts["memory"] / n,
                      train_seconds=made["train_seconds"], device=made["device"])
    folder = peers.BENCH / "results"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"search-{data.name}-{size.split()[0]}-{peer.replace(',', '_')}.json"
    result = {"kind": "search", "set": data.name, "n": n, "class": size, "peer": peer, "lists": lists,
              "machine": peers.machine(), "command": peers.command_line(), "rounds": arguments.rounds,
              "vlc": ours.facts, "faiss": theirs.facts, "modes": {}}
    for mode in arguments.modes:
        load = peers.OtherLoad(ours, theirs)
        mine, other = measure((ours, theirs), mode, arguments.rounds, arguments.seconds)
        found = {**compare(mine, other), "others": load.cores()}
        result["modes"][mode] = {"vlc": mine, "faiss": other, **found}
        print(f"{data.name} {size} {peer} ({theirs.facts['bytes']:.1f} B, IndexVLC "
              f"{ours.facts['bytes']:.1f} B) {mode}: at recall {found['recall']:.3f} "
              f"{found['vlc_qps']:,.0f} against {found['peer_qps']:,.0f}: {found['ratio']:.2f}; "
              f"others took {found['others']:.2f} cores", flush=True)
    ours.close()
    theirs.close()
    target.write_text(json.dumps(result, indent=1))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path, help="folder with base.npy, query.npy, gt.npy")
    parser.add_argument("--lists", type=int, help="default: 2048 for sift, 1024 for others")
    parser.add_argument("--peers", type=lambda text: [p.strip() for p in text.split(";")],
                        help="classes (16 B) or factory strings without the lists, with ; between them")
    parser.add_argument("--modes", type=lambda text: text.split(","), default=list(MODES),
                        help=",".join(MODES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.2, help="a measurement takes at least")
    parser.add_argument("--build-only", action="store_true", help="make the indexes, measure nothing")
    arguments = parser.parse_args()
    peers.enter_venv()
    data = arguments.data.absolute()
    lists = arguments.lists or peers.LISTS.get(data.name, 1024)
    for size, peer in peers.peers_of(data, arguments.peers):
        bench(data, size, peer, lists, arguments)


if __name__ == "__main__":
    main()
