#!/usr/bin/python3
"""`make bench-check`: instructions that the hot stages take, by callgrind, against benchmarks/instructions.json.

    benchmarks/check_instructions.py              fails where a stage takes 5 % more than is committed
    benchmarks/check_instructions.py --update     writes the figures anew

Levels are portable and AVX2: Valgrind doesn't know AVX-512. The figures depend on the compiler (Debian 12's
g++), so with another one they are printed and nothing fails. A stage whose code has no instruction-set
levels is counted once, as portable.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
BUILD = pathlib.Path(os.environ.get("VLC_BUILD", ROOT / "build" / "release"))
FIGURES = ROOT / "benchmarks" / "instructions.json"
STAGES = {"assign": ["portable"], "reduce": ["portable"], "update": ["portable"],
          "encode": ["portable", "avx2"], "rank": ["portable", "avx2"], "scan": ["portable", "avx2"],
          "words": ["portable", "avx2"]}
MOST = 1.05


def compiler():
    """What CMake was told to compile with, and its version."""
    cache = (BUILD / "CMakeCache.txt").read_text()
    path = re.search(r"^CMAKE_CXX_COMPILER:\w+=(.*)$", cache, re.M).group(1)
    done = subprocess.run([path, "--version"], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[0].split(" ", 1)[1]  # without the name that it was called by


def total(text):
    """The instructions of a callgrind file."""
    found = re.search(r"^(?:summary|totals): (\d+)", text, re.M)
    if not found or int(found.group(1)) == 0:
        raise SystemExit("callgrind counted nothing: is counted_stage still a function of its own?")
    return int(found.group(1))


def count(stage, level):
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "out"
        done = subprocess.run(
            ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--toggle-collect=*counted_stage*",
             BUILD / "benchmarks" / f"{stage}_bench", f"--benchmark_filter=^count_{stage}"],
            capture_output=True, text=True, env={**os.environ, "VLC_SIMD": level, "OMP_NUM_THREADS": "1"})
        if done.returncode != 0:
            raise SystemExit(f"{stage}_bench under valgrind: {done.stderr[-2000:]}")
        return total(out.read_text())


def compare(known, found):
    """Lines to print, and whether nothing takes more than it may."""
    lines, fine = [], True
    for name, instructions in found.items():
        before = known.get(name)
        if before is None:
            lines.append(f"{name:16} {instructions:12,}  not in instructions.json: run --update")
            fine = False
            continue
        ratio = instructions / before
        verdict = "MORE" if ratio > MOST else "less: --update would hold on to it" if ratio < 2 - MOST else "as before"
        fine = fine and ratio <= MOST
        lines.append(f"{name:16} {instructions:12,} {100 * (ratio - 1):+6.1f} %  {verdict}")
    return lines, fine


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--update", action="store_true")
    arguments = parser.parse_args()
    flags = pathlib.Path("/proc/cpuinfo").read_text().split("flags", 1)[1].split("\n", 1)[0].split()
    found = {f"{stage} {level}": count(stage, level) for stage, levels in STAGES.items() for level in levels
             if level == "portable" or level in flags}
    if arguments.update:
        FIGURES.write_text(json.dumps({"compiler": compiler(), "instructions": found}, indent=1) + "\n")
        print(f"{FIGURES}: {len(found)} figures")
        return
    known = json.loads(FIGURES.read_text())
    lines, fine = compare(known["instructions"], found)
    print("\n".join(lines))
    if compiler() != known["compiler"]:
        print(f"The figures are {known['compiler']}'s, this is {compiler()}: nothing is decided.")
    elif not fine:
        sys.exit(f"Some stages take more than {100 * (MOST - 1):.0f} % more instructions than instructions.json says.")


if __name__ == "__main__":
    main()
