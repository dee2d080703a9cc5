"""The loop of a Python worker: the protocol of bench_worker's search, for any library.

A library's index is an object with
    prepare(effort, threads, k, bits) -> run(first, count)
where run searches queries [first, first + count) and leaves (count, k) labels in `labels` from `first` on;
bits are those of an id filter, or None for all.
"""

import json
import pathlib
import sys
import time

import numpy as np


def answer(**values):
    print(json.dumps(values), flush=True)


def memory(field="VmRSS"):
    """A line of /proc/self/status in bytes."""
    for line in pathlib.Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return 0


def opened(open_index):
    """(what open_index returns, seconds and growth of memory that it took)."""
    before, start = memory(), time.perf_counter()
    index = open_index()
    return index, {"open_seconds": time.perf_counter() - start, "grown": memory() - before}


def read_filters(gt, texts):
    """{name: (bits or None, truth)}: a text is NAME,BITS,GT."""
    filters = {"all": (None, np.load(gt))}
    for text in texts:
        name, bits, truth = text.split(",")
        filters[name] = np.load(bits).ravel(), np.load(truth)
    return filters


def recall(labels, truth, k):
    """|found k and true k| / k, the mean over the queries."""
    hits = sum(len(np.intersect1d(found, true)) for found, true in zip(labels[:, :k], truth[:, :k]))
    return hits / (len(truth) * k)


def serve(index, queries, filters, lines=sys.stdin):
    n, reached = len(queries), {}
    for line in lines:
        words = line.split()
        effort = int(words[0]) if words[0].isdigit() else words[0]
        threads, batch = (int(word) for word in words[1:3])
        limit = float(words[3])
        k = int(words[4]) if len(words) > 4 else 10
        name = words[5] if len(words) > 5 else "all"
        bits, truth = filters[name]
        index.labels = np.empty((n, k), dtype=np.int64)
        run = index.prepare(effort, threads, k, bits)
        key = effort, k, name
        if key not in reached:
            run(0, n)
            reached[key] = recall(index.labels, truth, k)
        else:
            run(0, min(n, 100))  # warms up
        step = batch or n
        starts = range(0, n - step + 1, step)
        clock, times, i = time.perf_counter, [], 0
        start = now = clock()
        while now - start < limit or not times:
            run(starts[i], step)
            i = (i + 1) % len(starts)
            end = clock()
            times.append(end - now)
            now = end
        found = {"nprobe": effort, "recall": reached[key], "qps": step * len(times) / sum(times)}
        if batch == 1:
            found["p50_us"], found["p99_us"] = (1e6 * float(q) for q in np.quantile(times, (0.5, 0.99)))
        answer(**found)
