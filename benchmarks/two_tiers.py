#!/usr/bin/env python3
"""Codes in two tiers beside codes in one, and beside other indexes that reach recalls near 1: speed by recall@10.

    benchmarks/two_tiers.py build/datasets/sift --rows 120000
    benchmarks/two_tiers.py base.fvecs --queries query.fvecs --keys "VLC{lists}b16+80;VLC{lists}b96"
    benchmarks/two_tiers.py --generate 500000,128

Each index is a process of its own that trains and adds with all cores, then searches with one thread, which
is pinned to a core. First each index tries its settings once: nprobe, and how many results are ordered anew
(refine_k, k_factor, reorder), or the search window of a graph. Those on the edge of recall and speed are
measured again, --rounds times, all indexes taking turns; medians count. The table has the best speed at a
recall, between two measured points on a log scale.

No network is needed. --vlc-python is a Python whose faiss_vlc can be imported, --peer-python one for the
peers; both are this Python by default. A peer is FAISS's factory string, or hnswlib:, scann: or svs: with
settings as library_worker.py has them. One that cannot be imported or made is left out, and the table says so.
In keys {lists} is the number of lists, {half} half the dimension. Results go into build/benchmarks/results.
"""

import argparse
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time

import numpy as np

import data_files
import peers
from search_bench import speed_at

HERE = pathlib.Path(__file__).resolve().parent
TARGETS = (0.9, 0.95, 0.965, 0.97, 0.98, 0.99)
PEERS = ("IVF{lists},PQ{half}x4fs,Refine(SQ8);IVF{lists},PQ{half}x4fs,RFlat;svs:primary=4,residual=8;"
         "hnswlib:M=16;scann:leaves={lists},reorder=100")
PROBES = [4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512]
WINDOWS = [10, 12, 16, 20, 24, 32, 40, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024]
REFINED = [20, 30, 40, 60, 80, 120, 160, 240, 320, 640, 1280]
ENOUGH, SAME = 0.997, 0.001  # a recall beyond which nothing is tried; a gain that is none


# The worker's side: one index.


def made_by_faiss(key, base, ip):
    """An index of a factory string: (a side of answering.serve, its facts). `seconds` of the facts are the values of
    what is set beside nprobe, in rising order, `chosen` those that training chose."""
    peers.VENV = pathlib.Path(sys.prefix)  # this Python is what faiss_worker shall run in
    if "VLC" in key:
        import faiss_vlc  # noqa: F401
    import faiss
    import faiss_worker
    index = faiss.index_factory(base.shape[1], key, faiss.METRIC_INNER_PRODUCT if ip else faiss.METRIC_L2)
    ivf = faiss.extract_index_ivf(index)
    if hasattr(ivf, "do_polysemous_training"):
        ivf.do_polysemous_training = False  # nothing here searches by it
    start = time.perf_counter()
    index.train(base)
    trained = time.perf_counter()
    index.add(base)
    refines = hasattr(index, "refine_index")
    facts = {"train_seconds": trained - start, "add_seconds": time.perf_counter() - trained, "faiss": faiss.__version__,
             "code_bytes": ivf.code_size, "efforts": [p for p in PROBES if p <= ivf.nlist], "seconds": [], "chosen": []}
    if refines:
        facts["code_bytes"] += faiss.downcast_index(index.refine_index).sa_code_size()
        facts["seconds"] = [count // 10 for count in REFINED]
    elif "VLC" in key and "+" in key:
        facts.update(seconds=REFINED, chosen=[0])
    with tempfile.TemporaryDirectory() as folder:
        faiss.write_index(index, f"{folder}/index")
        facts["file_bytes"] = os.path.getsize(f"{folder}/index")

    class Side(faiss_worker.Index):
        def prepare(self, effort, threads, k, bits):
            probes, _, second = str(effort).partition(":")
            if refines:
                index.k_factor = int(second)
            elif second:
                index.refine_k = int(second)
            return super().prepare(int(probes), threads, k, bits)

    return (lambda queries: Side(index, queries)), facts


def made_by_library(name, base, ip):
    """The same of an index of library_worker."""
    peers.VENV = pathlib.Path(sys.prefix)
    import library_worker
    kind, _, settings = name.partition(":")
    side = library_worker.KINDS[kind](dict(pair.split("=") for pair in settings.split(",") if pair), ip)
    folder = pathlib.Path(tempfile.mkdtemp())
    facts = {"train_seconds": 0, "add_seconds": 0, "code_bytes": None, "efforts": WINDOWS, "seconds": [], "chosen": []}
    if kind == "scann":
        facts.update(efforts=[p for p in PROBES if p <= side.leaves],
                     seconds=REFINED[1:] if side.reorder else [])  # library_worker takes 30 at least
    facts.update(side.build(base, folder), file_bytes=library_worker.size_of(folder))
    plain = side.prepare

    def prepare(effort, threads, k, bits):
        first, _, second = str(effort).partition(":")
        if second:
            side.reorder = int(second)
        return plain(int(first), threads, k, bits)

    def open_with(queries):
        side.open(folder, queries)
        side.prepare = prepare
        return side

    return open_with, facts


def work(name, folder):
    import answering
    base = np.ascontiguousarray(np.load(folder / "base.npy"), dtype=np.float32)
    queries = np.ascontiguousarray(np.load(folder / "query.npy"), dtype=np.float32)
    ip = data_files.metric_of(folder) != "L2"
    make = made_by_library if name.partition(":")[0] in peers.LIBRARIES else made_by_faiss
    try:
        open_with, facts = make(name, base, ip)
        side = open_with(queries)
    except Exception as error:  # whatever a library says
        answering.answer(error=f"{type(error).__name__}: {error}".splitlines()[0])
        return
    del base
    answering.answer(**facts)
    answering.serve(side, queries, answering.read_filters(folder / "gt.npy", []))


# The other side: what is tried and measured.


def frontier(points, slack=1.0):
    """Points, by rising recall, than which none of as much recall is more than `slack` times as fast."""
    kept = [p for p in points
            if not any(q["recall"] >= p["recall"] and q["qps"] > slack * p["qps"] for q in points)]
    return sorted(kept, key=lambda p: (p["recall"], p["qps"]))


def explore(search, facts):
    """One measurement of each setting that may matter. Larger ones are left out where recall no longer grows."""
    points = []

    def series(second):
        """The highest recall with one value of what is set beside nprobe."""
        best = 0
        for effort in facts["efforts"]:
            name = str(effort) if second is None else f"{effort}:{second}"
            found = {**search(name), "effort": name}
            points.append(found)
            gain, best = found["recall"] - best, max(best, found["recall"])
            if gain < SAME or best > ENOUGH:
                break
        return best

    for second in facts["chosen"]:
        series(second)
    reached = 0
    for second in facts["seconds"] or [None] * (not facts["chosen"]):
        best = series(second)
        if best < reached + SAME:
            break
        reached = best
    return points


def measure(workers, arguments):
    """{name: curve}: what is on the edge, measured in turns."""
    batch = 1 if arguments.single else 0
    todo = {}
    for name, worker in workers.items():
        tried = explore(lambda effort, w=worker: w.search(effort, 1, batch, arguments.seconds / 2), worker.facts)
        near = frontier(tried, slack=1.2)
        todo[name] = [p["effort"] for p in near if p["recall"] >= arguments.least] or [near[-1]["effort"]]
        print(f"{name}: {len(tried)} settings tried, {len(todo[name])} to measure", file=sys.stderr, flush=True)
    runs = {(name, effort): [] for name, efforts in todo.items() for effort in efforts}
    for _ in range(arguments.rounds):
        for i in range(max(len(efforts) for efforts in todo.values())):
            for name, efforts in todo.items():
                if i < len(efforts):
                    runs[name, efforts[i]].append(workers[name].search(efforts[i], 1, batch, arguments.seconds))
    return {name: frontier([{"effort": effort, "recall": runs[name, effort][0]["recall"],
                             "qps": statistics.median(run["qps"] for run in runs[name, effort])} for effort in efforts])
            for name, efforts in todo.items()}


def table(result):
    """Markdown: the best speed of each index at each recall, in queries a second."""
    rows = [["index", "code, B", "file, B/vector", "built, s", *(f"{target:.3f}".strip("0") for target in TARGETS), "highest"]]
    for name, made in result["indexes"].items():
        speeds = (speed_at(made["curve"], target) for target in TARGETS)
        rows.append([name, "" if made["code_bytes"] is None else str(made["code_bytes"]),
                     f"{made['file_bytes'] / result['n']:.1f}", f"{made['train_seconds'] + made['add_seconds']:.0f}",
                     *("" if speed is None else f"{speed:,.0f}" for speed in speeds),
                     f"{made['curve'][-1]['recall']:.4f}"[1:]])
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|---" * len(rows[0]) + "|")
    return "\n".join(lines + [f"\nLeft out: {name} ({why})." for name, why in result["left_out"].items()])


def generated(n, d, out):
    """A folder of vectors of the synthetic mixture, made once."""
    import synthetic
    folder = out / f"generated-{n}x{d}"
    if not (folder / "query.npy").exists():
        folder.mkdir(parents=True, exist_ok=True)
        mixture = synthetic.Mixture(d, max(16, n // 500), 1)
        data_files.save(folder / "base.npy", np.concatenate(
            [mixture.sample(min(synthetic.BLOCK, n - i), [1, 1, i]) for i in range(0, n, synthetic.BLOCK)]))
        data_files.save(folder / "query.npy", mixture.sample(1000, [1, 0]))
    return folder


def start_workers(names, pythons, folder):
    """({name: worker that has built its index}, {name: why there is none})."""
    workers, left_out = {}, {}
    for name in names:
        print(f"{name}: building", file=sys.stderr, flush=True)
        try:
            worker = peers.Worker(pythons["VLC" in name], __file__, "--worker", name, folder)
        except SystemExit as error:  # it ended without a word
            left_out[name] = str(error)
            continue
        if "error" in worker.facts:
            left_out[name] = worker.facts["error"]
            worker.close()
        else:
            workers[name] = worker
    return workers, left_out


def arguments_of(words):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path, nargs="?",
                        help="folder with base.npy and query.npy, .npy, .fvecs, .bvecs or .hdf5")
    parser.add_argument("--queries", type=pathlib.Path, help="file of queries, of a base in .npy, .fvecs or .bvecs")
    parser.add_argument("--generate", metavar="N,D", help="in place of data: a mixture of clusters")
    parser.add_argument("--rows", type=int, default=0, help="rows of the base at most; default: all")
    parser.add_argument("--most-queries", type=int, default=1000, help="default: %(default)s")
    parser.add_argument("--lists", type=int, help="default: a power of 2 near the root of the rows")
    split = dict(type=lambda text: [part.strip() for part in text.split(";") if part.strip()])
    parser.add_argument("--keys", **split, help="of IndexVLC, with ; between them; default: by the dimension")
    parser.add_argument("--peers", **split, default=PEERS, help="default: %(default)s")
    parser.add_argument("--vlc-python", default=sys.executable)
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--single", action="store_true", help="queries one by one, in place of one batch")
    parser.add_argument("--least", type=float, default=0.85, help="recalls below are not measured; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=0.2, help="a measurement takes at least; default: %(default)s")
    arguments = parser.parse_args(words)
    if (arguments.data is None) == (arguments.generate is None):
        parser.error("expected either data or --generate")
    return arguments


def main():
    if sys.argv[1:2] == ["--worker"]:
        work(sys.argv[2], pathlib.Path(sys.argv[3]))
        return
    arguments = arguments_of(sys.argv[1:])
    sets = peers.BENCH / "sets"
    data = arguments.data or generated(*(int(part) for part in arguments.generate.split(",")), sets)
    folder = data_files.folder_of(data, sets, arguments.queries, most=arguments.rows, most_queries=arguments.most_queries)
    n, d = peers.shape(folder)
    lists = arguments.lists or 2 ** max(4, round(np.log2(n) / 2 + 0.5))
    keys = arguments.keys or [f"VLC{{lists}}b{d // 8}+{d * 5 // 8}", f"VLC{{lists}}b{d // 8}+{d * 7 // 8}",
                              f"VLC{{lists}}b{d * 3 // 4}", f"VLC{{lists}}b{d}"]
    names = [name.format(lists=lists, half=d // 2, d=d) for name in [*keys, *arguments.peers]]
    workers, left_out = start_workers(names, {True: arguments.vlc_python, False: arguments.peer_python}, folder)
    if not workers:
        raise SystemExit("no index could be made: " + "; ".join(f"{name}: {why}" for name, why in left_out.items()))
    load = peers.OtherLoad(*workers.values())
    curves = measure(workers, arguments)
    result = {"kind": "two-tiers", "set": folder.name, "n": n, "d": d, "lists": lists, "k": 10, "single": arguments.single,
              "rounds": arguments.rounds, "machine": peers.machine(), "command": peers.command_line(),
              "others": load.cores(), "left_out": left_out,
              "indexes": {name: {**worker.facts, "curve": curves[name]} for name, worker in workers.items()}}
    for worker in workers.values():
        worker.close()
    target = peers.BENCH / "results" / f"two-tiers-{folder.name}{'-single' * arguments.single}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(result, indent=1))
    print(f"{folder.name}, {n:,} x {d}, {lists} lists, recall@10, queries a second with one thread:\n\n{table(result)}\n\n"
          f"Others took {result['others']:.2f} cores. {target}")


if __name__ == "__main__":
    main()
