#!/usr/bin/env python3
"""Peers on an NVIDIA GPU, for device_speed's sizes: torch, and faiss-gpu where it is installed.

    benchmarks/gpu_peers.py assign --d 128,384,768 --m 1024,4096,16384
    benchmarks/gpu_peers.py train --n 1000000 --d 128 --m 4096 --iterations 20

assign: the nearest anchor of 262144 rows that are on the device already, milliseconds, median of 9. torch
multiplies, adds norms and takes the least; faiss.knn_gpu does all of that itself, with a distance.
train: faiss.Kmeans from float32 rows in host memory to centroids there, seconds, each run's. One line of
JSON for each row. Needs a Python with torch; nothing here is installed by itself.
"""

import argparse
import json
import statistics
import time

import numpy as np
import torch

ROWS = 262144


def timed(body, rounds=9):
    """Median milliseconds of body() after two runs that warm up."""
    times = []
    for i in range(rounds + 2):
        torch.cuda.synchronize()
        start = time.perf_counter()
        body()
        torch.cuda.synchronize()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times[2:])


def assign(faiss, d, m):
    generator = torch.Generator("cuda").manual_seed(1)
    rows = torch.randn(ROWS, d, device="cuda", generator=generator)
    anchors = torch.randn(m, d, device="cuda", generator=generator)
    norms = (anchors ** 2).sum(1)
    found = {}
    for name, dtype, tf32 in (("torch fp16", torch.float16, False), ("torch tf32", torch.float32, True),
                              ("torch fp32", torch.float32, False)):
        torch.backends.cuda.matmul.allow_tf32 = tf32
        x, a, norm = rows.to(dtype), anchors.to(dtype), norms.to(dtype)
        found[name] = timed(lambda: torch.addmm(norm, x, a.T, alpha=-2).argmin(1))
    if faiss:
        resources = faiss.StandardGpuResources()
        for name, dtype in (("faiss fp16", torch.float16), ("faiss fp32", torch.float32)):
            x, a = rows.to(dtype), anchors.to(dtype)
            found[name] = timed(lambda: faiss.knn_gpu(resources, x, a, 1))
    operations = 2 * ROWS * d * m
    return {name: {"ms": round(ms, 3), "TOP/s": round(operations / ms / 1e9, 1)} for name, ms in found.items()}


def train(faiss, n, d, m, iterations, gpus):
    rows = np.random.default_rng(1).standard_normal((n, d), dtype=np.float32)
    seconds = []
    for _ in range(3):
        kmeans = faiss.Kmeans(d, m, niter=iterations, gpu=gpus, max_points_per_centroid=n)
        start = time.perf_counter()
        kmeans.train(rows)
        seconds.append(round(time.perf_counter() - start, 3))
    return {"faiss.Kmeans": seconds, "energy": float(kmeans.obj[-1]) / n}


def main():
    numbers = lambda text: [int(part) for part in text.split(",")]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("assign", "train"))
    parser.add_argument("--n", type=int, default=1_000_000)
    parser.add_argument("--d", type=numbers, default=[128])
    parser.add_argument("--m", type=numbers, default=[4096])
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--gpus", type=int, default=1)
    arguments = parser.parse_args()
    try:
        import faiss
        import faiss.contrib.torch_utils
    except ImportError as error:
        faiss = None
        print(f"faiss-gpu: {error}")
    versions = {"torch": torch.__version__, "faiss": getattr(faiss, "__version__", None),
                "device": torch.cuda.get_device_name()}
    for d in arguments.d:
        for m in arguments.m:
            if arguments.what == "assign":
                row = assign(faiss, d, m)
            elif faiss:
                row = train(faiss, arguments.n, d, m, arguments.iterations, arguments.gpus)
            else:
                raise SystemExit("train needs faiss-gpu")
            print(json.dumps({"what": arguments.what, "d": d, "m": m, **row, **versions}), flush=True)


if __name__ == "__main__":
    main()
