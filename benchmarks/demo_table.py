"""Prints the demo's table from the JSON files in a folder: demo_table.py FOLDER BYTES..."""

import glob
import json
import os
import statistics
import sys


def load(folder, stem):
    files = sorted(glob.glob(os.path.join(folder, stem + "-*.json")))
    if not files:
        sys.exit(f"demo_table.py: no {stem}-*.json in {folder}")
    result = []
    for name in files:
        with open(name, encoding="utf-8") as f:
            result.append(json.load(f))
    return result


def median(runs, *keys):
    values = []
    for run in runs:
        for key in keys:
            run = run[key]
        values.append(run)
    return statistics.median(values)


def main(folder, sizes):
    head = ["", "B/vector", "% of f32", "train s", "add s"]
    rows = []
    for size in sizes:
        index = load(folder, f"index-{size}")
        evals = load(folder, f"eval-{size}")
        ivfpq = load(folder, f"ivfpq-{size}")
        probes = [r["nprobe"] for r in ivfpq[0]["results"]]
        rows.append(
            [f"IndexVLC {size} B"]
            + [f"{median(index, 'bytes_per_vector'):.1f}", f"{median(index, 'percent_of_float32'):.2f}"]
            + [f"{median(index, 'train_seconds'):.2f}", f"{median(index, 'add_seconds'):.2f}"]
            + [
                f"{median(evals, 'results', i, 'recall', '10'):.3f} ({median(evals, 'results', i, 'qps'):,.0f})"
                for i in range(len(probes))
            ]
        )
        rows.append(
            [f"IVFPQ {ivfpq[0]['code_size']} B"]
            + [f"{median(ivfpq, 'bytes_per_vector'):.1f}", f"{median(ivfpq, 'percent_of_float32'):.2f}"]
            + [f"{median(ivfpq, 'train_seconds'):.2f}", f"{median(ivfpq, 'add_seconds'):.2f}"]
            + [
                f"{median(ivfpq, 'results', i, 'recall@10'):.3f} ({median(ivfpq, 'results', i, 'qps'):,.0f})"
                for i in range(len(probes))
            ]
        )
    head += [f"nprobe {p}" for p in probes]
    widths = [max(len(row[i]) for row in [head] + rows) for i in range(len(head))]
    print("recall@10 (queries per second) at each nprobe; means of two alternating runs")
    print()
    for row in [head] + rows:
        print("  ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths))))
    print()
    print(f"IndexVLC was trained on {index[0]['device']}, and searched with {evals[0]['simd']}.")
    print(f"FAISS is {ivfpq[0]['faiss']} ({ivfpq[0]['faiss_compile_options'].strip()}), as installed on this machine;")
    print("its BLAS is OpenBLAS. Both use all cores. B/vector is the size of the file / 20,000.")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
