#!/usr/bin/python3
"""Recall on kinds of vectors that are not ordinary (datasets/kinds.py): IndexVLC and FAISS's indexes of its bytes.

    benchmarks/kinds_bench.py                          every kind, IndexVLC, IVFPQ, RaBitQ and OPQ
    benchmarks/kinds_bench.py ratings places --indexes IVFPQ,RQ --seeds 3

A kind has 20,000 rows and 500 queries. Each index is measured with every list probed and with 4, by a brute force
over its decoded vectors, and where queries are rows of the base, by how often these come first. Peers are of
build/faiss-venv, IndexVLC is of this build's Python package; --seeds makes more sets of each kind and shows means.
What is measured already stays, IndexVLC's as long as the commit is the same. RQ takes about a minute a set.
"""

import argparse
import concurrent.futures
import json
import os
import subprocess
import sys

import peers

sys.path.insert(0, str(peers.ROOT / "benchmarks" / "datasets"))
import kinds  # noqa: E402

INDEXES = ("IndexVLC", "by queries", "IVFPQ", "RaBitQ", "OPQ", "RQ")


def key_of(index, kind):
    """The factory string, or None where there is no such index of the kind."""
    lists, size, d = kind.lists, kind.bytes, kind.base.shape[1]
    if index == "by queries" and kind.train_queries is None:
        return None
    vlc = f"VLC{lists}b{size}"
    return {"IndexVLC": vlc, "by queries": vlc, "IVFPQ": f"IVF{lists},PQ{size}np", "OPQ": f"OPQ{size},IVF{lists},PQ{size}np",
            "RQ": f"IVF{lists},RQ{size}x8", "RaBitQ": f"RR{d},IVF{lists},RaBitQ"}[index]


def is_ours(index):
    return index in ("IndexVLC", "by queries")


def measure(index, name, key, seed):
    """What the worker answers, or {"left_out": why}."""
    python = sys.executable if is_ours(index) else peers.make_venv()
    command = [python, peers.ROOT / "benchmarks" / "kinds_worker.py", name, key, "--seed", seed]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    if is_ours(index):
        env["PYTHONPATH"] = os.pathsep.join([str(peers.BUILD / "python"), env.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    else:
        env.pop("PYTHONPATH", None)
    done = subprocess.run([*map(str, command), *["--by-queries"] * (index == "by queries")], capture_output=True,
                          text=True, env=env)
    if done.returncode:
        return {"left_out": done.stderr.strip().splitlines()[-1]}
    return json.loads(done.stdout)


def jobs_of(arguments, rows, commit):
    """(index, kind's name, factory string, seed) of what isn't kept; the facts of each kind go into rows."""
    made = {name: kinds.make(name) for name in arguments.names}
    for name, kind in made.items():
        rows.setdefault(name, {"indexes": {}}).update(
            d=kind.base.shape[1], lists=kind.lists, bytes=kind.bytes, metric="inner product" if kind.inner_product else "L2")
    for index in arguments.indexes:
        for name, kind in made.items():
            key, kept = key_of(index, kind), rows[name]["indexes"].get(index, {})
            for seed in range(arguments.seeds):
                old = kept.get(str(seed))
                if key and (old is None or "left_out" in old or is_ours(index) and old["commit"] != commit):
                    yield index, name, key, seed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="KIND", help=f"default: all of {', '.join(kinds.NAMES)}")
    parser.add_argument("--indexes", type=lambda text: text.split(","), default=[i for i in INDEXES if i != "RQ"],
                        help=f"of {', '.join(INDEXES)}; default: all but RQ")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="indexes at a time, a thread each")
    arguments = parser.parse_args()
    for given, known in ((arguments.names, kinds.NAMES), (arguments.indexes, INDEXES)):
        if not set(given) <= set(known):
            parser.error(f"expected some of {', '.join(known)}, met {', '.join(set(given) - set(known))}")
    arguments.names = arguments.names or kinds.NAMES
    target = peers.BENCH / "results" / "kinds.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    kept = json.loads(target.read_text()) if target.exists() else {}
    rows, commands = kept.get("rows", {}), kept.get("command", "").split("\n    ")
    machine = peers.machine()
    if any(not is_ours(index) for index in arguments.indexes):
        peers.make_venv()
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        running = {pool.submit(measure, *job): job for job in list(jobs_of(arguments, rows, machine["commit"]))}
        for done in concurrent.futures.as_completed(running):
            index, name, _, seed = running[done]
            found = {**done.result(), "commit": machine["commit"]}
            rows[name]["indexes"].setdefault(index, {})[str(seed)] = found
            print(name, index, seed, json.dumps(found), flush=True)
            target.write_text(json.dumps({
                "kind": "kinds", "n": 20000, "queries": 500, "machine": machine,
                "command": "\n    ".join(dict.fromkeys([*commands, peers.command_line()])).strip(), "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
