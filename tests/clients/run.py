#!/usr/bin/env python3
"""Runs the trials that are named, each in a process of its own with a time limit, and prints one table.

    python tests/clients/run.py [joblib dask ...]
"""

import importlib.metadata
import json
import os
import pathlib
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
STEPS = ("build", "filter", "delete", "save")
LIMIT_S = 240


def run(name):
    """What a trial printed (a list of results), its messages, and whether it held."""
    path = os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH"))))
    try:
        done = subprocess.run([sys.executable, "-W", "ignore", str(HERE / f"try_{name}.py")], capture_output=True,
                              text=True, timeout=LIMIT_S, cwd=HERE,
                              env={**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"})
    except subprocess.TimeoutExpired:
        return [], f"not done after {LIMIT_S} s", False
    results = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"client"')]
    return results, done.stdout[-2000:] + done.stderr[-4000:], done.returncode == 0 and bool(results)


def cell(result, step):
    """Of IVFPQ and of the VLC; one word where they agree."""
    short = [{"yes": "yes", "-": "-"}.get(result["done"][name].get(step), "fails") for name in ("IVFPQ", "VLC")]
    return short[0] if short[0] == short[1] else "IVFPQ {}, VLC {}".format(*short)


def row(result):
    recalls = ["{:.3f}".format(result["done"][name].get("recall", 0)).lstrip("0") for name in ("IVFPQ", "VLC")]
    return [result["name"], result["version"], *recalls, *(cell(result, step) for step in STEPS)]


def main(names):
    rows, notes, failed = [], [], []
    for name in names:
        begun = time.monotonic()
        results, said, held = run(name)
        print(f"{name}: {'holds' if held else 'FAILED'}, {time.monotonic() - begun:.0f} s", flush=True)
        rows += [row(result) for result in results]
        for result in results:
            notes += [f"{result['name']}: {step} fails: {why}" for step, why in result["known"].items()]
            for fault in result["wrong"]:
                print(f"    {result['name']}: {fault}")
        if not held:
            failed.append(name)
            print(said)
    print(f"\nFAISS {importlib.metadata.version('faiss-cpu')}\n")
    print("| client | version | IVFPQ's recall@10 | VLC's | build, search | filter | delete | save, load |")
    print("|---|---|---|---|---|---|---|---|")
    for one in rows:
        print("| " + " | ".join(one) + " |")
    print("".join(f"\n{note}" for note in notes))
    print(f"\n{len(names) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed or not names else 0


if __name__ == "__main__":
    every = sorted(path.stem[len("try_"):] for path in HERE.glob("try_*.py"))
    wanted = sys.argv[1:] or every
    if unknown := set(wanted) - set(every):
        sys.exit(f"run.py: expected some of {', '.join(every)}, got {', '.join(sorted(unknown))}")
    sys.exit(main(wanted))
