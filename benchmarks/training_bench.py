#!/usr/bin/env python3
"""Anchors: training time and quality against faiss.Kmeans and faiss.SuperKMeans (FAISS 1.15.1, PyPI).

    benchmarks/training_bench.py build/datasets/sift --m 1024,4096 --iterations 10
    benchmarks/training_bench.py build/datasets/text --m 1024 --iterations 10,25,75 --sides VLC,Kmeans

Same sample (at most 256 rows an anchor), same number of iterations, all cores, processes taking turns,
median seconds of --rounds. VLC's early iterations see a part of the sample, as its training does
(first_share); those of the others see every row. VLC's seconds start with float vectors and end with
anchors: drawing the sample, int8 lattice, iterations, covariance; opening the device and its first
compilation (--cold measures it) are reported apart.

Measured the same way for all, in float: energy (mean squared distance of the sample to its nearest
anchor), variation of list sizes (standard deviation / mean, whole base), and vectors scanned until
.90/.95/.98 of the queries' 10 true neighbours' lists have been probed: lists ranked by their anchors'
distance, as FAISS does, and with SPREAD_SHARE of their own energy added, as IndexVLC does (it chooses
the share in training; here all sides get the same).
"""

import argparse
import json
import os
import pathlib
import statistics
import tempfile

import peers

LEVELS = (0.90, 0.95, 0.98)
SPREAD_SHARE = 0.375


def sample_file(data, m, folder):
    """Evenly spread rows as float32, kept beside the results."""
    import numpy as np
    base = np.load(data / "base.npy", mmap_mode="r")
    n = min(len(base), 256 * m)
    path = folder / f"sample-{data.name}-{n}.npy"
    if not peers.is_current(path, data / "base.npy"):
        np.save(path, base[np.arange(n) * len(base) // n].astype(np.float32))
    return path, n


def scanned(distances, lists, sizes, truth):
    """Vectors scanned for each of LEVELS, lists ranked by distances (queries x lists)."""
    import numpy as np
    order = np.argsort(distances, axis=1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.broadcast_to(np.arange(len(sizes)), order.shape), axis=1)
    positions = np.take_along_axis(rank, lists[truth], axis=1)
    reached = np.cumsum(np.bincount(positions.ravel(), minlength=len(sizes))) / truth.size
    so_far = np.cumsum(sizes[order], axis=1).mean(axis=0)
    return [float(np.interp(level, reached, so_far)) for level in LEVELS]


def quality(data, sample, anchors):
    import faiss
    import numpy as np
    index = faiss.IndexFlatL2(anchors.shape[1])
    index.add(anchors)
    energy = float(index.search(np.load(sample), 1)[0].mean())
    base = np.load(data / "base.npy").astype(np.float32)
    distances, lists = (found[:, 0] for found in index.search(base, 1))
    sizes = np.bincount(lists, minlength=len(anchors))
    spread = np.bincount(lists, distances, minlength=len(anchors)) / np.maximum(sizes, 1)
    queries = np.load(data / "query.npy").astype(np.float32)
    truth = np.load(data / "gt.npy")[:, :10]
    to_anchors = (anchors ** 2).sum(axis=1) - 2 * queries @ anchors.T
    return {"energy": energy, "cv": float(sizes.std() / sizes.mean()),
            "scanned": scanned(to_anchors, lists, sizes, truth),
            "scanned_by_spread": scanned(to_anchors + SPREAD_SHARE * spread, lists, sizes, truth)}


def commands(side, sample, m, iterations, out, options):
    if side.startswith("VLC"):
        return [peers.BUILD / "benchmarks" / "bench_worker", "train", "--emb", sample, "--m", m,
                "--iterations", iterations, "--out", out, *options]
    return [peers.VENV / "bin" / "python", peers.ROOT / "benchmarks" / "faiss_worker.py", "train", sample, side,
            "--lists", m, "--iterations", iterations, "--out", out]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--m", type=lambda text: [int(m) for m in text.split(",")], default=[1024])
    parser.add_argument("--iterations", type=lambda text: [int(i) for i in text.split(",")], default=[10])
    parser.add_argument("--sides", type=lambda text: text.split(","), default=["VLC", "Kmeans", "SuperKMeans"])
    parser.add_argument("--vlc", type=lambda text: text.split(), default=[],
                        help='of bench_worker train, such as "--size-bias 0.2"')
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cold", action="store_true", help="also once with an empty cache of compiled kernels")
    parser.add_argument("--only", choices=("time", "quality"),
                        help="the other half in a run of its own: quality looks at the anchors that are kept")
    arguments = parser.parse_args()
    peers.enter_venv()
    import numpy as np
    data = arguments.data.absolute()
    folder = peers.BENCH / "results"
    folder.mkdir(parents=True, exist_ok=True)
    kept = peers.BENCH / "anchors"
    kept.mkdir(exist_ok=True)
    env = {"OMP_NUM_THREADS": str(len(os.sched_getaffinity(0)))}
    for m in arguments.m:
        sample, n = sample_file(data, m, peers.BENCH)
        target = folder / f"training-{data.name}-{m}.json"
        before = json.loads(target.read_text()) if target.exists() else {"rows": {}, "command": ""}
        rows = before["rows"]
        commands_run = "\n    ".join(dict.fromkeys(before["command"].split("\n    ") + [peers.command_line()])).strip()
        for iterations in arguments.iterations:
            names = {side: " ".join([side, *(arguments.vlc if side == "VLC" else [])]) for side in arguments.sides}
            outs = {side: kept / f"{data.name}-{m}-{iterations}-{name.replace(' ', '_')}.npy"
                    for side, name in names.items()}
            runs = {side: [] for side in arguments.sides}
            load = peers.OtherLoad()
            for _ in range(arguments.rounds if arguments.only != "quality" else 0):
                for side in arguments.sides:
                    runs[side].append(peers.run_json(
                        *commands(side, sample, m, iterations, outs[side], arguments.vlc), env=env))
            others = load.cores()
            for side in arguments.sides:
                row = rows.setdefault(f"{names[side]}, {iterations} iterations", {"iterations": iterations})
                if runs[side]:
                    row["others"] = others
                    row["seconds"] = statistics.median(r["seconds"] for r in runs[side])
                    row.update({key: runs[side][-1][key] for key in ("device", "open_seconds", "sample_seconds")
                                if key in runs[side][-1]})
                if side == "VLC" and arguments.cold:
                    with tempfile.TemporaryDirectory() as empty:
                        row["cold_open_seconds"] = peers.run_json(
                            *commands(side, sample, m, 1, kept / "cold.npy", []),
                            env={**env, "POCL_CACHE_DIR": empty})["open_seconds"]
                if arguments.only != "time":
                    row.update(quality(data, sample, np.load(outs[side])))
                print(f"{data.name} m={m} {names[side]} {iterations} iterations: " + json.dumps(row), flush=True)
                target.write_text(json.dumps({
                    "kind": "training", "set": data.name, "n": n, "d": int(np.load(sample, mmap_mode="r").shape[1]),
                    "m": m, "machine": peers.machine(), "command": commands_run,
                    "rounds": arguments.rounds, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
