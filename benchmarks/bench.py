#!/usr/bin/python3
"""`make bench`: IndexVLC and its peers on one set, everything a user of either pays and gets.

    benchmarks/bench.py                                  the sample that comes with the project
    benchmarks/bench.py build/datasets/sift              a folder with base.npy, query.npy, gt.npy
    benchmarks/bench.py glove-100-angular.hdf5           ann-benchmarks, VIBE
    benchmarks/bench.py base.fvecs --queries query.fvecs

Classes compare at equal bytes: IndexVLC is the largest whose file is no larger than IVFPQ's of that class;
every peer is shown with its own bytes. Graphs and what keeps raw vectors beside its codes stand in a class
of their own. Each index is a process; within a class they take turns at every point, --rounds times, and
medians count. One thread is pinned to a core. FAISS, hnswlib, ScaNN and SVS come from PyPI into
build/faiss-venv; a library that can't be had or refuses this machine is left out, with its reason.

The result is one JSON in build/benchmarks/results; tables and plots are made of it (--no-report: not).
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

import data_files
import peers

EFFORTS = {"graph": [10, 16, 32, 64, 128, 256], "lists": peers.NPROBES}
RAW = ["hnswlib:M=16", "svs:", "svs:primary=4,residual=8", "scann:leaves={lists},reorder=100"]


def lists_for(n):
    """The power of two nearest below 2 sqrt(n)."""
    return 1 << max(4, int(2 * n ** 0.5).bit_length() - 1)


def classes_of(data):
    """{class: peers}: FAISS's by bytes, ScaNN's codes where they fit, then what isn't at equal bytes."""
    d = peers.shape(data)[1]
    known = peers.CLASSES.get(data.name)
    if known is None:
        known = {f"{d // step} B": [f"PQ{d // step}", f"OPQ{d // step},PQ{d // step}", f"PQ{2 * d // step}x4fs"]
                 for step in (8, 4, 2) if d % step == 0}
        for names in [known[size] for size in known if size == f"{d // 4} B"]:
            names.append("RaBitQfs")
    found = {size: list(names) for size, names in known.items()}
    if f"{d // 4} B" in found and d % 2 == 0:
        found[f"{d // 4} B"].append("scann:leaves={lists}")
    return {**found, "graphs and raw vectors": RAW}


def build(peer, data, lists, ip):
    """None, or why there is no such index."""
    library = peer.split(":")[0] if ":" in peer else None
    if library and not peers.install(peers.LIBRARIES[library]):
        return f"{peers.LIBRARIES[library]} could not be installed"
    command = ([peers.ROOT / "benchmarks" / "library_worker.py", "build", data, peer] if library else
               [peers.ROOT / "benchmarks" / "faiss_worker.py", "build", data, peer, "--lists", str(lists)])
    done = subprocess.run([peers.make_venv(), *command, *["--ip"] * ip], capture_output=True, text=True)
    print(done.stdout, end="", flush=True)
    if done.returncode == 0:
        return None
    return next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "no reason given").strip()


class Side:
    """One index in its process."""

    def __init__(self, name, kind, worker, facts):
        self.name, self.kind, self.worker = name, kind, worker
        n = worker.facts["n"]
        self.result = {"name": name, "file_bytes": facts["file_bytes"] / n,
                       "resident_bytes": worker.facts["grown"] / n, "curves": {},
                       **{key: value for key, value in {**facts, **worker.facts}.items()
                          if key.endswith(("_seconds", "build_threads"))}}
        self.efforts = EFFORTS["graph" if kind in ("hnswlib", "svs") else "lists"]

    def can_filter(self):
        return self.kind in ("vlc", "faiss")


def vlc_side(size, limit, data, lists, ip, filters):
    path, made = peers.vlc_of_size(data, lists, limit, ("--metric", "ip") if ip else ())
    worker = peers.vlc_worker(path, data, *filters, "--save", peers.BENCH / "saved.vlc")
    facts = {"file_bytes": path.stat().st_size, "train_seconds": made["train_seconds"],
             "add_seconds": made["add_seconds"]}
    side = Side("IndexVLC", "vlc", worker, facts)
    side.result["code_bytes"] = made["code_bytes"]
    side.result["device"] = made["device"]
    side.result["simd"] = worker.facts["simd"]
    return side


def peer_side(peer, data, lists, ip, filters):
    options = ["--ip"] * ip
    if ":" in peer:
        worker = peers.library_worker(peer, data, *options)
        kind = peer.split(":")[0]
    else:
        worker, kind = peers.faiss_worker(peer, data, lists, *options, *filters), "faiss"
    return Side(peer, kind, worker, worker.facts)


def measure(sides, rounds, seconds, threads, batch, k=10, name="all"):
    """A curve for each side, in turns: point by point, round by round."""
    curves = {side.name: [] for side in sides}
    for step in range(max(len(side.efforts) for side in sides)):
        turn = [side for side in sides if step < len(side.efforts)]
        runs = {side.name: [] for side in turn}
        for _ in range(rounds):
            for side in turn:
                runs[side.name].append(side.worker.search(side.efforts[step], threads, batch, seconds, k, name))
        for side in turn:
            found = runs[side.name]
            point = {"effort": side.efforts[step], "recall": found[0]["recall"]}
            for key in ("qps", "p50_us", "p99_us"):
                if key in found[0]:
                    point[key] = statistics.median(run[key] for run in found)
            curves[side.name].append(point)
    return curves


def bench_class(size, wanted, data, lists, arguments, result):
    ip = result["metric"] != "L2"
    filters = [word for share, files in data_files.filters_of(data, peers.BENCH / "data").items()
               for word in ("--filter", ",".join([str(share), *map(str, files)]))]
    names = [peer.format(lists=lists) for peer in wanted]
    if arguments.peers:
        names = [peer for peer in names if peer in arguments.peers]
    reasons = {peer: build(peer, data, lists, ip) for peer in names}
    result["left_out"].update({peer: reason for peer, reason in reasons.items() if reason})
    sides = [peer_side(peer, data, lists, ip, filters) for peer, reason in reasons.items() if not reason]
    try:
        plain = next((side for side in sides if side.name.startswith("PQ")), None)
        if plain:
            sides.insert(0, vlc_side(size, plain.result["file_bytes"], data, lists, ip, filters))
        if arguments.build_only or not sides:
            return
        every = len(os.sched_getaffinity(0))
        plans = {f"one-batch-{k}": (sides, 1, 0, k, "all") for k in (10, 1, 100)}
        plans["all-batch-10"] = sides, every, 0, 10, "all"
        plans["one-single-10"] = sides, 1, 1, 10, "all"
        able = [side for side in sides if side.can_filter()]
        if able:
            plans.update({f"filter-{share}": (able, 1, 0, 10, str(share)) for share in data_files.FILTERS})
        load = peers.OtherLoad(*(side.worker for side in sides))
        for plan, (some, threads, batch, k, name) in plans.items():
            for side, curve in measure(some, arguments.rounds, arguments.seconds, threads, batch, k, name).items():
                next(s for s in some if s.name == side).result["curves"][plan] = curve
        result["classes"][size] = {"others": load.cores(), "indexes": [side.result for side in sides]}
    finally:
        for side in sides:
            side.worker.close()


def growth_and_training(data, lists):
    """What it costs as n grows, by cuts of the set, and energy against time: the programs for that."""
    n, d = peers.shape(data)
    cuts = [data_files.folder_of(data, peers.BENCH / "data", most=n // part) for part in (8, 4, 2)] + [data]
    folder = peers.ROOT / "benchmarks"
    subprocess.run([sys.executable, folder / "scale_bench.py", *cuts, "--bytes", str(d // 4 + 2)], check=True)
    subprocess.run([sys.executable, folder / "training_bench.py", data, "--m", str(lists), "--iterations", "2,5,10,20",
                    "--rounds", "1", "--sides", "VLC,Kmeans"], check=True)


def versions():
    done = subprocess.run([peers.make_venv(), "-m", "pip", "list", "--format", "json", "--disable-pip-version-check"],
                          capture_output=True, text=True, check=True)
    wanted = {package.split("==")[0] for package in [peers.FAISS, *peers.LIBRARIES.values()]}
    return {package["name"]: package["version"] for package in json.loads(done.stdout) if package["name"] in wanted}


def target_of(data):
    folder = peers.BENCH / "results"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"bench-{data.name}.json"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path, nargs="?", default=peers.ROOT / "tests/data/sift20k")
    parser.add_argument("--queries", type=pathlib.Path, help="of .fvecs, .bvecs and .npy")
    parser.add_argument("--metric", choices=("L2", "inner product", "cosine"), default="L2", help="of the same")
    parser.add_argument("--lists", type=int, help="default: about 2 sqrt(n); 2048 for sift, 1024 for text")
    parser.add_argument("--classes", type=lambda text: text.split(";"), help='such as "32 B;64 B", and nothing else')
    parser.add_argument("--peers", type=lambda text: text.split(";"), help='of those classes, such as "PQ32;PQ64x4fs"')
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=0.05, help="a measurement takes at least")
    parser.add_argument("--build-only", action="store_true", help="make the indexes, measure nothing")
    parser.add_argument("--no-report", action="store_true", help="no tables and plots afterwards")
    arguments = parser.parse_args()
    data = data_files.folder_of(arguments.data.absolute(), peers.BENCH / "data", arguments.queries, arguments.metric)
    n, d = peers.shape(data)
    lists = arguments.lists or peers.LISTS.get(data.name) or lists_for(n)
    classes = classes_of(data)
    wanted = arguments.classes or list(classes)
    target = target_of(data)
    kept = json.loads(target.read_text()) if target.exists() else {}
    if kept.get("lists") != lists:  # classes measured before stay with those measured now
        kept = {}
    machine = peers.machine()
    result = {"kind": "bench", "set": data.name, "n": n, "d": d, "metric": data_files.metric_of(data), "lists": lists,
              "rounds": arguments.rounds, "seconds": arguments.seconds,
              "left_out": kept.get("left_out", {}), "classes": kept.get("classes", {}),
              "machine": machine, "command": peers.command_line()}
    for size in wanted:
        if size not in classes:
            raise SystemExit(f"--classes: expected some of {'; '.join(classes)}, met {size}")
        result["left_out"] = {peer: reason for peer, reason in result["left_out"].items()
                              if peer not in [p.format(lists=lists) for p in classes[size]]}
        bench_class(size, classes[size], data, lists, arguments, result)
        if size in result["classes"]:
            result["classes"][size].update(commit=machine["commit"], date=machine["date"])
        result["versions"] = versions()  # a library is there once its class was made
        target.write_text(json.dumps(result, indent=1))
        print(f"{data.name}, {size}: done", flush=True)
    if not (arguments.classes or arguments.build_only or result["metric"] != "L2"):
        growth_and_training(data, lists)
    if not (arguments.no_report or arguments.build_only):
        for script, made in (("report.py", "RESULTS.md"), ("plots.py", "plots")):
            subprocess.run([sys.executable, peers.ROOT / "benchmarks" / script, target.parent, "--out", peers.BENCH / made],
                           check=True)
        print(f"{peers.BENCH / 'RESULTS.md'}")


if __name__ == "__main__":
    main()
