#!/usr/bin/python3
"""Pictures of the results in a folder (default: benchmarks/results) and of gpu.json.

    benchmarks/plots.py [FOLDER] [--out benchmarks/plots]

recall-qps-SET.png, search.png, two-tiers.png, recall-bytes.png, kinds.png, cost.png,
training.png, gpu.png: each where there is something to show.
"""

import argparse
import json
import pathlib

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

import peers  # noqa: E402

COLOURS = ["#d62728", "#1f77b4", "#17a2b8", "#2ca02c", "#9467bd", "#8c564b", "#7f7f7f", "#e0a000", "#000000"]
MARKERS = "osD^vP*Xh"
KINDS_ORDER = ["IndexVLC", "IVFPQ", "OPQ", "RQ", "RaBitQ", "by queries"]


def style(axes, title, x, y):
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(True, which="major", alpha=0.3)


def save(figure, path):
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    plt.close(figure)
    print(path)


def machine_of(result):
    return f"{result['machine']['cores']} cores of {result['machine']['cpu'].split(' (')[0]}"


def recall_qps(result, out):
    """A panel a class: one thread, all queries in a batch."""
    classes = {size: found for size, found in result["classes"].items() if found["indexes"]}
    if not classes:
        return
    columns = min(2, len(classes))
    rows = (len(classes) + columns - 1) // columns
    figure, panels = plt.subplots(rows, columns, figsize=(5.6 * columns, 4 * rows), squeeze=False)
    for axes in panels.flat[len(classes):]:
        axes.set_visible(False)
    for axes, (size, found) in zip(panels.flat, classes.items()):
        for i, index in enumerate(found["indexes"]):
            curve = index["curves"]["one-batch-10"]
            axes.plot([p["recall"] for p in curve], [p["qps"] for p in curve], color=COLOURS[i % 8],
                      marker=MARKERS[i % 8], markersize=4, linewidth=2.2 if index["name"] == "IndexVLC" else 1.2,
                      label=f"{index['name'].rstrip(':')}, {index['file_bytes']:.0f} B")
        axes.set_yscale("log")
        style(axes, f"{size} class" if size[0].isdigit() else size, "recall@10", "queries per second, one thread")
        axes.legend(fontsize=7.5)
    figure.suptitle(f"{result['set']}: {result['n']:,} x {result['d']}, {result['lists']} lists; "
                    f"bytes a vector of the whole file; {machine_of(result)}", fontsize=9)
    save(figure, out / f"recall-qps-{result['set']}.png")


def search(results, out):
    """search_bench's curves: a panel a set and class; of a peer that was measured twice the later file."""
    groups = {}
    for r in results:
        if "one-batch" in r["modes"]:
            groups.setdefault((r["set"], r["class"]), {})[r["peer"]] = r
    if not groups:
        return
    figure, panels = plt.subplots(1, len(groups), figsize=(5.8 * len(groups), 4.2), squeeze=False)
    for axes, ((name, size), found) in zip(panels.flat, sorted(groups.items())):
        first = next(iter(found.values()))
        curves = [("IndexVLC", first["vlc"]["bytes"], first["modes"]["one-batch"]["vlc"])]
        curves += [(peer, r["faiss"]["bytes"], r["modes"]["one-batch"]["faiss"]) for peer, r in found.items()]
        for i, (label, size_bytes, curve) in enumerate(curves):
            axes.plot([p["recall"] for p in curve], [p["qps"] for p in curve], color=COLOURS[i % 8],
                      marker=MARKERS[i % 8], markersize=4, linewidth=1.2 if i else 2.2, label=f"{label}, {size_bytes:.0f} B")
        axes.set_yscale("log")
        style(axes, f"{name}: {first['n']:,} vectors, {first['lists']} lists\n{machine_of(first)}", "recall@10",
              "queries per second, one thread")
        axes.legend(fontsize=8)
    figure.suptitle(f"Whole file's bytes a vector; FAISS {first['faiss']['faiss']}", fontsize=9)
    save(figure, out / "search.png")


def two_tiers(results, out):
    """A panel a set: recall@10 from .8 on, one thread, one batch. An IndexVLC of two tiers has a thick line. Of a set
    that was measured twice the result with more vectors, then with more indexes: others' speeds are not beside them."""
    most = {}
    for r in sorted(results, key=lambda r: (r["n"], len(r["indexes"]))):
        if not r["single"]:
            most[r["set"]] = r
    results = sorted(most.values(), key=lambda r: r["d"])
    if not results:
        return
    figure, panels = plt.subplots(1, len(results), figsize=(5.8 * len(results), 5.4), squeeze=False)
    for axes, r in zip(panels.flat, results):
        for i, (name, made) in enumerate(r["indexes"].items()):
            curve = [p for p in made["curve"] if p["recall"] >= 0.8]
            width = 1.2 if not name.startswith("VLC") else 2.4 if "+" in name else 1.6
            axes.plot([p["recall"] for p in curve], [p["qps"] for p in curve], color=COLOURS[i % len(COLOURS)],
                      marker=MARKERS[i % len(MARKERS)], markersize=3.5, linewidth=width, label=f"{name}, {made['file_bytes'] / r['n']:.0f} B")
        axes.set_yscale("log")
        style(axes, f"{r['set']}: {r['n']:,} x {r['d']}", "recall@10", "queries per second, one thread")
        axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.15), ncol=2)
    figure.suptitle(f"Bytes a vector of the whole file; {machine_of(results[0])}", fontsize=9)
    save(figure, out / "two-tiers.png")


def recall_bytes(benches, out):
    """The highest recall of each index against what its file takes."""
    if not benches:
        return
    figure, panels = plt.subplots(1, len(benches), figsize=(5.8 * len(benches), 4), squeeze=False)
    for axes, result in zip(panels.flat, benches):
        points = {}
        for size, found in result["classes"].items():
            for index in found["indexes"]:
                family = index["name"].rstrip("0123456789") if index["name"] != "IndexVLC" else "IndexVLC"
                family = "OPQ" if family.startswith("OPQ") else "PQ x4fs" if "x4fs" in index["name"] else family
                best = max(p["recall"] for p in index["curves"]["one-batch-10"])
                points.setdefault(family.rstrip(":"), []).append((index["file_bytes"], best))
        for i, (family, found) in enumerate(points.items()):
            found.sort()
            axes.plot(*zip(*found), color=COLOURS[i % 8], marker=MARKERS[i % 8], linewidth=1.5, label=family)
        axes.set_xscale("log")
        style(axes, f"{result['set']}: highest recall@10 measured", "bytes a vector, the whole file", "recall@10")
        axes.legend(fontsize=7.5)
    save(figure, out / "recall-bytes.png")


def kinds(results, out):
    """A row a kind of vectors, a point an index: with every list probed, and with 4."""
    for result in results:
        rows = list(result["rows"].items())[::-1]
        figure, panels = plt.subplots(1, 2, figsize=(11, 1 + 0.3 * len(rows)), sharey=True)
        names = list(dict.fromkeys(index for _, row in rows for index in row["indexes"]))
        names.sort(key=KINDS_ORDER.index)
        for axes, key, title in zip(panels, ("all", "4"), ("every list probed", "4 lists probed")):
            for i, index in reversed(list(enumerate(names))):
                points = [(sum(answer[key] for answer in found) / len(found), y) for y, (_, row) in enumerate(rows)
                          if (found := [a for a in row["indexes"].get(index, {}).values() if "left_out" not in a])]
                axes.plot(*zip(*points), linestyle="", color=COLOURS[i % 8], marker=MARKERS[i % 8],
                          markersize=8 if index == "IndexVLC" else 6,
                          label="IndexVLC, by queries" if index == "by queries" else index)
            axes.set_yticks(range(len(rows)), [f"{name}, {row['bytes']} B" for name, row in rows], fontsize=8)
            axes.set_xlim(0, 1)
            style(axes, title, "recall@10", "")
        handles, labels = panels[0].get_legend_handles_labels()
        panels[1].legend(handles[::-1], labels[::-1], fontsize=8)
        figure.suptitle(f"{result['n']:,} rows a kind; RaBitQ has codes of other sizes", fontsize=9)
        save(figure, out / "kinds.png")


def cost(scales, out):
    """Training, adding and a query against the number of vectors."""
    if len(scales) < 2:
        return
    figure, panels = plt.subplots(1, 3, figsize=(12, 3.6))
    scales.sort(key=lambda r: r["n"])
    n = [r["n"] for r in scales]
    shown = {"training, s": [r["made"]["train_seconds"] for r in scales],
             "adding, s": [r["made"]["add_seconds"] for r in scales],
             f"a query at recall {scales[0]['recall']}, us": [1e6 / r["qps"] if r["qps"] else None for r in scales]}
    for axes, (title, values) in zip(panels, shown.items()):
        known = [(a, b) for a, b in zip(n, values) if b]
        if known:
            axes.plot(*zip(*known), color=COLOURS[0], marker="o")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks(n, [f"{count:,}" for count in n], fontsize=8)
        axes.minorticks_off()
        style(axes, title, "vectors", title)
    save(figure, out / "cost.png")


def training(results, out):
    """Energy of the anchors (mean squared distance to the nearest one) against the time that they took; a point is a
    training of so many iterations."""
    results = [r for r in results if sum("energy" in row and "seconds" in row for row in r["rows"].values()) > 1]
    if not results:
        return
    columns = min(4, len(results))
    rows = -(-len(results) // columns)
    figure, panels = plt.subplots(rows, columns, figsize=(4.2 * columns, 3.4 * rows), squeeze=False)
    for axes in panels.flat[len(results):]:
        axes.remove()
    for axes, r in zip(panels.flat, results):
        sides = {}
        for name, row in r["rows"].items():
            if "energy" in row and "seconds" in row:
                sides.setdefault(name.rsplit(",", 1)[0], []).append((row["seconds"], row["energy"], row["iterations"]))
        for i, (side, found) in enumerate(sides.items()):
            found.sort(key=lambda point: point[2])
            axes.plot([p[0] for p in found], [p[1] for p in found], color=COLOURS[i % 8], marker=MARKERS[i % 8], label=side)
            for seconds, energy, iterations in found:
                axes.annotate(iterations, (seconds, energy), fontsize=7, xytext=(3, 3), textcoords="offset points")
        axes.set_xscale("log")
        axes.ticklabel_format(axis="y", useOffset=False)
        style(axes, f"{r['set'].split('-')[0]} {r['n']:,} x {r['d']}, {r['m']} anchors", "seconds", "energy")
        axes.legend(fontsize=8)
    save(figure, out / "training.png")


def gpu(out):
    facts = json.loads((pathlib.Path(__file__).resolve().parent / "gpu.json").read_text())
    figure, panels = plt.subplots(1, 3, figsize=(12, 3.8), sharey=True)
    ways = [name.removesuffix(" ms") for name in facts["columns"][2:]]
    for axes, d in zip(panels, sorted({row[0] for row in facts["rows"]})):
        rows = [row for row in facts["rows"] if row[0] == d]
        for i, way in enumerate(ways):
            tops = [2e-9 * facts["n"] * row[1] * d / row[2 + i] for row in rows]
            axes.bar([r + 0.14 * i for r in range(len(rows))], tops, 0.14, color=COLOURS[i], label=way)
        axes.set_xticks([r + 0.35 for r in range(len(rows))], [f"{row[1]:,}" for row in rows])
        style(axes, f"d = {d}", "anchors", "")
    panels[0].set_ylabel("10^12 operations per second")
    panels[0].legend(fontsize=8)
    figure.suptitle(f"Nearest anchors of {facts['n']:,} vectors, {facts['device']}; wgmma, mma: this library's kernels",
                    fontsize=9)
    save(figure, out / "gpu.png")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, nargs="?", default=peers.ROOT / "benchmarks" / "results")
    parser.add_argument("--out", type=pathlib.Path, default=peers.ROOT / "benchmarks" / "plots")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    results = [json.loads(path.read_text()) for path in sorted(arguments.folder.glob("*.json"))]
    of_kind = {kind: [r for r in results if r["kind"] == kind] for kind in ("bench", "kinds", "search", "two-tiers", "scale", "training")}
    for result in of_kind["bench"]:
        recall_qps(result, arguments.out)
    search(of_kind["search"], arguments.out)
    two_tiers(of_kind["two-tiers"], arguments.out)
    recall_bytes(of_kind["bench"], arguments.out)
    kinds(of_kind["kinds"], arguments.out)
    cost(of_kind["scale"], arguments.out)
    training(of_kind["training"], arguments.out)
    gpu(arguments.out)


if __name__ == "__main__":
    main()
