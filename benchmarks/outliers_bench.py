#!/usr/bin/env python3
"""Anchors from a sample with gross outliers: energy (mean squared distance, float) of the inliers alone.

    benchmarks/outliers_bench.py build/datasets/sift --m 256 --share 0.02

Outliers are Gaussian with ten times the spread of the set, away from everything and from each
other. IndexVLC's robust modes against faiss.Kmeans, 10 iterations each; and Kmeans on the inliers alone, the best to hope for.
"""

import argparse
import json
import pathlib
import tempfile

import peers

MODES = ("none", "huber", "trim")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--m", type=int, default=256)
    parser.add_argument("--share", type=float, default=0.02)
    parser.add_argument("--iterations", type=int, default=10)
    arguments = parser.parse_args()
    peers.enter_venv()
    import faiss
    import numpy as np
    base = np.load(arguments.data.absolute() / "base.npy", mmap_mode="r")
    n = min(len(base), 256 * arguments.m)
    x = base[np.arange(n) * len(base) // n].astype(np.float32)
    random = np.random.default_rng(1)
    out = random.random(n) < arguments.share
    inliers = x[~out]
    x[out] = x.mean(axis=0) + 10 * x.std() * random.standard_normal((int(out.sum()), x.shape[1]), dtype=np.float32)

    def report(name, anchors):
        index = faiss.IndexFlatL2(x.shape[1])
        index.add(np.ascontiguousarray(anchors))
        print(f"{name:24} {index.search(inliers, 1)[0].mean():.6g}", flush=True)

    print(json.dumps({"set": arguments.data.name, "n": n, "m": arguments.m, "outliers": int(out.sum())}))
    for name, rows in (("Kmeans, inliers alone", inliers), ("Kmeans", x)):
        made = faiss.Kmeans(x.shape[1], arguments.m, niter=arguments.iterations, max_points_per_centroid=n)
        made.train(rows)
        report(name, made.centroids)
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/x.npy", x)
        for mode, name in enumerate(MODES):
            peers.run_json(peers.BUILD / "benchmarks" / "bench_worker", "train", "--emb", f"{folder}/x.npy", "--m",
                           arguments.m, "--iterations", arguments.iterations, "--robust", mode, "--out",
                           f"{folder}/anchors.npy")
            report(f"VLC, robust {name}", np.load(f"{folder}/anchors.npy"))


if __name__ == "__main__":
    main()
