#!/usr/bin/env python3
"""Makes benchmarks/RESULTS.md of the results in a folder (default: benchmarks/results).

    benchmarks/report.py [FOLDER] [--out benchmarks/RESULTS.md]
"""

import argparse
import json
import pathlib

import peers
import two_tiers

HEAD = """# Measured

First the answers, then the tables behind them. Codes changed on 2026-11-30. Tables of earlier days, which are
those of adding, of growing sets and of all peers on `sift20k`, are of the codes before. Anchors did not change.
"""

BEHIND = """## How to read the tables

Every table was made by the command above it, on the machine and at the commit named there. `report.py` put them
together. `datasets/make_datasets.py` makes the data sets, and data folders are written as if they were in
build/datasets. FAISS is 1.15.1 from PyPI unless a table says otherwise. A `+` behind a commit means that the
library had changes that were not committed.
"""


def heading(results):
    lines = []
    for command in dict.fromkeys(r["command"] for r in results):
        lines.append(f"    {command}")
    machines = {}
    for r in results:
        machines.setdefault(json.dumps({k: v for k, v in r["machine"].items() if k not in ("commit", "date")}),
                            []).append(f"{r['machine']['commit']} ({r['machine']['date']})")
    lines.append("")
    for facts, commits in machines.items():
        facts = json.loads(facts)
        of = facts.get("machine_cores", facts["cores"])
        lines.append(f"{facts['cores']}{f' of {of}' * (of != facts['cores'])} cores of {facts['cpu']}, {', '.join(facts['flags'])}, "
                     f"{facts['memory_gib']} GiB; commit {', '.join(dict.fromkeys(commits))}.")
    return lines


def table(head, rows):
    lines = ["| " + " | ".join(str(cell) for cell in head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]


def count(value):
    """Three significant digits, as people write them."""
    return f"{value / 1000:.3g}k" if value >= 1000 else f"{value:.3g}"


def share(value):
    return f"{value:.3f}".lstrip("0") if value < 1 else f"{value:.3f}"


def group(results, *keys):
    groups = {}
    for r in results:
        groups.setdefault(tuple(r[key] for key in keys), []).append(r)
    return groups


def recall_section(results):
    lines = ["## Recall per byte", "", "recall@10 with every list probed; bytes are codes and factors. A number in",
             "brackets is the size where it isn't the column's.", ""]
    for r in results:
        sizes = sorted({size for row in r["rows"].values() for size in row}, key=int)
        rows = []
        for name, row in r["rows"].items():
            cells = []
            for size in sizes:
                cell = row.get(size)
                text = "" if cell is None else share(cell["recall"])
                if cell and cell["bytes"] != int(size):
                    text += f" ({cell['bytes']} B)"
                cells.append(text)
            rows.append([name, *cells])
        lines += [f"### {r['set']}: {r['n']:,} x {r['d']}, {r['lists']} lists, {r['metric']}", "",
                  *heading([r]), "", *table(["", *(f"{size} B" for size in sizes)], rows), ""]
    return lines


def sort_class(item):
    (name, size), _ = item
    return name, int(size.split()[0])


def curve(points):
    return [f"{share(p['recall'])} ({count(p['qps'])})" for p in points]


def search_section(results):
    lines = ["## Search", "",
             "Equal bytes: each peer's IndexVLC is the largest whose file is no larger. Queries per second are",
             "compared at 98 % of the lower of the two curves' highest recall@10, interpolated in log QPS.", ""]
    for (name, size), found in sorted(group(results, "set", "class").items(), key=sort_class):
        first = found[0]
        lines += [f"### {name}: {first['n']:,} vectors, {first['lists']} lists, {size} class", "", *heading(found), ""]
        modes = list(dict.fromkeys(mode for r in found for mode in r["modes"]))
        rows = []
        for r in found:
            cells = []
            for mode in modes:
                m = r["modes"].get(mode)
                cells.append("" if m is None else
                             f"{m['ratio']:.1f} ({count(m['vlc_qps'])} / {count(m['peer_qps'])})"
                             + " *" * disturbed(r, mode))
            some = next(iter(r["modes"].values()))
            rows.append([r["peer"], r["machine"]["commit"], f"{r['faiss']['bytes']:.1f}", f"{r['vlc']['bytes']:.1f}",
                         share(some["recall"]), *cells])
        lines += table(["peer", "commit", "B/vector", "IndexVLC B", "at recall", *(f"{mode}" for mode in modes)], rows)
        marked = any(disturbed(r, mode) for r in found for mode in r["modes"])
        lines += ["", "Ratio (IndexVLC's / the peer's queries per second)." + (
            " *: disturbed, other processes took more than the cores that were free." if marked else ""), ""]
        lines += fastest(found)
        mode = modes[0]
        rows, seen = [], set()
        for r in found:
            m = r["modes"].get(mode)
            if m is None:
                continue
            for side in ("vlc", "faiss"):
                label = "IndexVLC" if side == "vlc" else r["peer"]
                key = (label, round(r[side]["bytes"], 1))
                if key not in seen:
                    seen.add(key)
                    rows.append([f"{label}, {key[1]} B", *curve(m[side])])
        probes = [p["nprobe"] for p in found[0]["modes"][mode]["vlc"]]
        lines += [f"recall@10 (queries per second) by nprobe, {mode}:", "", *table(["", *probes], rows), ""]
    return lines


def disturbed(result, mode):
    """Whether other processes took more cores than the measurement left free."""
    machine = result["machine"]
    used = 1 if mode.startswith("one") else machine["cores"]
    free = machine.get("machine_cores", machine["cores"]) - used
    return result["modes"][mode].get("others", 0) > free + 0.25


def fastest(found):
    """Against whatever FAISS has that reaches the recall compared with IVFPQ at all."""
    from search_bench import speed_at
    plain = [r for r in found if r["peer"].startswith("PQ") and "x4" not in r["peer"]]
    if not plain or len(found) < 2:
        return []
    lines = []
    beside = [r for r in found if r["machine"]["commit"] == plain[0]["machine"]["commit"]]
    for mode, m in plain[0]["modes"].items():
        if disturbed(plain[0], mode):
            continue
        speeds = {r["peer"]: speed_at(r["modes"][mode]["faiss"], m["recall"])
                  for r in beside if mode in r["modes"] and not disturbed(r, mode)}
        reached = {peer: speed for peer, speed in speeds.items() if speed}
        best = max(reached, key=reached.get)
        lines.append(f"- {mode}: of FAISS's indexes here that reach {share(m['recall'])} the fastest is {best}; "
                     f"IndexVLC is {m['vlc_qps'] / reached[best]:.1f} times as fast.")
    return lines + [""]


def add_section(results):
    rows = [[r["set"], r["peer"], f"{r['bytes']['faiss']:.1f} / {r['bytes']['vlc']:.1f}",
             f"{r['faiss']['seconds']:.2f}", f"{r['vlc']['seconds']:.2f}", f"{r['ratio']:.1f}" + " *" * (r.get("others", 0) > 0.25),
             f"{r['vlc']['grown'] / r['n']:.1f} / {r['vlc']['peak'] / r['n']:.1f}",
             f"{r['faiss']['grown'] / r['n']:.1f} / {r['faiss']['peak'] / r['n']:.1f}"] for r in results]
    return ["## Adding", "", *heading(results), "",
            *table(["set", "peer", "B/vector, peer / IndexVLC", "peer s", "IndexVLC s", "times as fast",
                    "IndexVLC: memory / peak, B/vector", "peer: memory / peak"], rows), "",
            "All threads, in blocks of 65,536 vectors. Memory is the growth of the process (the block itself was",
            "there before); peak / memory has to stay below 1.2 plus a block.",
            "*: disturbed by other processes.", ""]


def scale_section(results):
    rows = []
    for r in sorted(results, key=lambda r: r["n"]):
        made = r["made"]
        rows.append([r["set"], r["lists"], f"{made['train_seconds']:.1f}", f"{made['add_seconds']:.1f}",
                     f"{made['bytes_per_vector']:.1f}", f"{r['memory']:.1f}",
                     share(max(p["recall"] for p in r["curve"])), count(r["qps"]) if r["qps"] else "not reached"])
    return ["## Scale", "", *heading(results), "",
            *table(["set", "lists", "training s", "adding s", "file, B/vector", "memory, B/vector", "highest recall@10",
                    f"queries per second at {share(results[0]['recall'])}"], rows), "",
            "One thread, batch of 1000.", ""]


def training_section(results):
    lines = ["## Training and anchors", "", "*: disturbed by other processes.", ""]
    for r in results:
        rows = []
        for name, row in r["rows"].items():
            rows.append([name, f"{row['seconds']:.2f}" + " *" * (row.get("others", 0) > 0.25), f"{row['energy']:.6g}" if "energy" in row else "",
                         f"{row['cv']:.2f}" if "cv" in row else "",
                         *(" / ".join(f"{s:,.0f}" for s in row.get(key, [])) for key in ("scanned", "scanned_by_spread"))])
        cold = [row for row in r["rows"].values() if "cold_open_seconds" in row]
        lines += [f"### {r['set']}: {r['n']:,} x {r['d']}, {r['m']} anchors", "", *heading([r]), "",
                  *table(["", "s", "energy", "CV of list sizes", "scanned for .90 / .95 / .98", "ranked as IndexVLC does"], rows), ""]
        devices = {row["device"] for row in r["rows"].values() if "device" in row}
        if devices:
            lines += [f"VLC trained on {', '.join(sorted(devices))}" + (
                f"; opening it took {cold[0]['open_seconds']:.2f} s, "
                f"{cold[0]['cold_open_seconds']:.2f} s with nothing compiled yet." if cold else "."), ""]
    return lines


def at_recall(curve, recall):
    from search_bench import speed_at
    speed = speed_at(curve, recall)
    return count(speed) if speed else "not reached"


def facts_row(index):
    seconds = [f"{index[key]:.3g}" if key in index else "" for key in
               ("train_seconds", "add_seconds", "open_seconds", "save_seconds")]
    if index.get("build_threads") == 1:
        seconds[:2] = [f"{text} (1 thread)" for text in seconds[:2]]
    curves = index["curves"]
    best = [share(max(p["recall"] for p in curves[f"one-batch-{k}"])) for k in (1, 10, 100)]
    return [index["name"].rstrip(":"), f"{index['file_bytes']:.1f}", f"{index['resident_bytes']:.1f}", *seconds, *best]


def speed_row(index, recall):
    curves = index["curves"]
    single = curves["one-single-10"]
    point = next((p for p in single if p["recall"] >= recall), None)
    latency = f"{point['p50_us']:.0f} / {point['p99_us']:.0f}" if point else "not reached"
    filtered = [at_recall(curves[f"filter-{f}"], recall) if f"filter-{f}" in curves else "no filter" for f in (1, 10, 50)]
    return [index["name"].rstrip(":"), f"{index['file_bytes']:.1f}", at_recall(curves["one-batch-10"], recall),
            at_recall(curves["all-batch-10"], recall), latency, *filtered]


def bench_section(results):
    lines = ["## Everything side by side", "",
             "`bench.py`. IndexVLC's file is the largest that is no larger than IVFPQ's of the class, which counts ids,",
             "coarse centroids and codebooks: on small sets these weigh more than the codes. Resident bytes are the growth",
             "of the process when it opens the file. Training is with all threads (ScaNN's includes adding, graphs' is all",
             "adding); IndexVLC's saving waits for the disk, the others' doesn't. Where a filter is set, hnswlib, SVS and",
             "ScaNN have none that is not Python's.", ""]
    for r in results:
        lines += [f"### {r['set']}: {r['n']:,} x {r['d']}, {r['lists']} lists, {r['metric']}", "", *heading([r]),
                  "Versions: " + ", ".join(f"{name} {version}" for name, version in r["versions"].items()) + ".", ""]
        for size, found in r["classes"].items():
            indexes = found["indexes"]
            highest = [max(p["recall"] for p in index["curves"]["one-batch-10"]) for index in indexes]
            # What IVFPQ reaches, or where there is none, all do
            plain = [h for h, index in zip(highest, indexes) if index["name"].startswith("PQ") and "x4" not in index["name"]]
            recall = 0.98 * (plain[0] if plain else min(highest))
            mark = ": disturbed, times don't count" if found["others"] > 0.25 else ""
            lines += [f"**{size}**, commit {found['commit']}; other processes took {found['others']:.2f} cores{mark}", "",
                      *table(["", "file B", "resident B", "training s", "adding s", "opening s", "saving s",
                              "best recall@1", "@10", "@100"], [facts_row(index) for index in indexes]), "",
                      f"Queries per second at recall@10 {share(recall)}:", "",
                      *table(["", "file B", "one thread", "all threads", "single queries, p50 / p99 us", "1 % pass", "10 %",
                              "50 %"], [speed_row(index, recall) for index in indexes]), ""]
        if r["left_out"]:
            lines += ["Left out: " + "; ".join(f"{peer} ({reason})" for peer, reason in r["left_out"].items()) + ".", ""]
    return lines


def span(values):
    """The least and the most of some ratios, as people write them."""
    least, most = f"{min(values):.2g}", f"{max(values):.2g}"
    return least if least == most else f"{least} to {most}"


def of_size(rows, size):
    """Recall by name, of those with codes of just that size."""
    return {name: row[size]["recall"] for name, row in rows.items()
            if size in row and row[size]["bytes"] == int(size)}


def recall_answer(results):
    """IndexVLC against the best of the peers that have codes of just the same size."""
    rows, more = [], 0
    for r in results:
        for size in sorted(r["rows"].get("IndexVLC", {}), key=int):
            recalls = of_size(r["rows"], size)
            ours = recalls.pop("IndexVLC", None)
            if ours is not None and recalls:
                best = max(recalls, key=recalls.get)
                more += ours > recalls[best]
                rows.append([r["set"], size, share(ours), f"{share(recalls[best])} ({best})"])
    return ["### Does it find more from the same bytes?", "",
            f"It finds more than the best peer in {more} of {len(rows)} rows. The table gives recall@10 with every list",
            "probed. The peer is the best one measured that has codes of just that size.", "",
            *table(["set", "bytes", "IndexVLC", "best peer"], rows), ""]


def search_answer(results):
    rows, ratios = [], []
    for (name, _), found in sorted(group(results, "set", "class").items(), key=sort_class):
        for r in found:
            modes = r["modes"]
            some = next(iter(modes.values()))
            ratios += [m["ratio"] for mode, m in modes.items() if not disturbed(r, mode)]
            rows.append([name, r["peer"], f"{r['faiss']['bytes']:.1f}", share(some["recall"]),
                         *(f"{modes[mode]['ratio']:.1f}" + " *" * disturbed(r, mode) if mode in modes else ""
                           for mode in ("one-batch", "all-batch", "one-single"))])
    return ["### Is it faster at the same recall?", "",
            f"It answers {span(ratios)} times as many queries a second as its peers. Both sides have the recall@10 of",
            "the table there, and IndexVLC's file is no larger than the peer's.", "",
            *table(["set", "peer", "B/vector", "recall@10", "one thread", "all threads", "single queries"], rows), ""]


def training_answer(results):
    newest = {}
    for r in sorted(results, key=lambda r: (r["m"], r["set"], r["machine"]["date"])):
        ours, theirs = (r["rows"].get(f"{side}, 10 iterations") for side in ("VLC", "Kmeans"))
        if all(row and "energy" in row and row.get("others", 0) <= 0.25 for row in (ours, theirs)):
            newest[r["set"], r["n"], r["d"], r["m"]] = (ours, theirs)
    rows = [[name, f"{n:,} x {d}", f"{m:,}", f"{ours['seconds']:.2f}", f"{theirs['seconds']:.2f}",
             f"{theirs['seconds'] / ours['seconds']:.1f}", f"{100 * (ours['energy'] / theirs['energy'] - 1):+.2f} %"]
            for (name, n, d, m), (ours, theirs) in newest.items()]
    if not rows:
        return []
    ratios = span([theirs["seconds"] / ours["seconds"] for ours, theirs in newest.values()])
    return ["### Is training fast, and are the lists good?", "",
            f"Ten iterations are {ratios} times as fast as ten of `faiss.Kmeans` on the same cores. Energy is the mean",
            "squared distance to the anchor, so less is better. The last column compares it with k-means'.", "",
            *table(["set", "vectors", "anchors", "s", "Kmeans s", "times as fast", "energy"], rows), ""]


def add_answer(results):
    ratios = span([r["ratio"] for r in results])
    return ["### Is adding fast?", "",
            f"It is {ratios} times as fast as " + " and ".join(f"{r['peer']} on {r['set']}" for r in results) + ".", ""]


def bench_answer(results):
    rows = []
    for r in results:
        for size, found in r["classes"].items():
            for index in found["indexes"]:
                curve = index["curves"]["one-batch-10"]
                rows.append([r["set"], size, index["name"].rstrip(":"), f"{index['file_bytes']:.0f}",
                             share(max(p["recall"] for p in curve)), at_recall(curve, 0.8), at_recall(curve, 0.95)])
    return ["### How far does recall go, and at how many bytes?", "",
            "Queries a second are those of one thread, at recall@10 .8 and .95.", "",
            *table(["set", "class", "index", "file, B/vector", "highest recall@10", "at .8", "at .95"], rows), ""]


def kinds_means(row):
    """{index: {what: mean of the seeds}}, without indexes that were left out."""
    means = {}
    for index, seeds in row["indexes"].items():
        found = [answer for answer in seeds.values() if "left_out" not in answer]
        if found:
            means[index] = {key: sum(answer[key] for answer in found) / len(found)
                            for key in ("all", "4", "decoded", "own", "bytes") if key in found[0]}
    return means


def kinds_answer(results):
    worse, count_of_sets, others = [], 0, {}
    for r in results:
        for name, row in r["rows"].items():
            means = kinds_means(row)
            for index in ("OPQ", "RQ"):
                if index in means and "IndexVLC" in means:
                    others.setdefault(index, []).append(means[index]["all"] > means["IndexVLC"]["all"] + 0.01)
            if "IndexVLC" in means and "IVFPQ" in means:
                count_of_sets += 1
                ours, theirs = means["IndexVLC"], means["IVFPQ"]
                if any(ours[key] < theirs[key] - 0.01 for key in ("all", "4")):
                    better = means.get("by queries")
                    worse.append([name, *(f"{share(ours[key])} / {share(theirs[key])}" for key in ("all", "4")),
                                  f"{share(better['all'])}, {share(better['4'])}" if better else ""])
    return ["### Does it hold on vectors that are not ordinary?", "",
            f"On {count_of_sets - len(worse)} of {count_of_sets} kinds it finds as much as an IVFPQ of as many bytes, or more, with",
            "every list probed and with 4. Differences below .01 don't count.",
            "The table has the others: IndexVLC's recall@10 / IVFPQ's. The last column is IndexVLC's where training knew",
            "queries of that kind.", "",
            *(f"{index} finds more with every list probed on {sum(found)} of the {len(found)} kinds that it was measured on."
              for index, found in others.items()), "",
            *table(["kind", "all lists", "4 lists", "by queries: all, 4"], worse), "",
            "![Recall by kind of vectors](plots/kinds.png)", ""]


def kinds_section(results):
    lines = ["## Kinds of vectors", "",
             "`kinds_bench.py`. `datasets/kinds.py` says what the kinds are. Cells are recall@10 with every list probed / with",
             "4; a number in brackets is the bytes of a code where they aren't the row's. `By queries` is an IndexVLC",
             "whose training knew other queries of that kind. `Decoded` is what a brute force over IndexVLC's own decoded",
             "vectors finds. `Own first` is how often a query that is a row gets that row first, IndexVLC / IVFPQ. OPQ is",
             "trained in fewer rounds than FAISS's default, which takes ten times as long.", ""]
    names = {"IndexVLC": "IndexVLC", "by queries": "by queries", "IVFPQ": "IVFPQ", "OPQ": "OPQ, IVFPQ", "RQ": "IVF, RQ", "RaBitQ": "RaBitQ"}
    for r in results:
        rows, left_out, used = [], [], {}
        for name, row in r["rows"].items():
            means = kinds_means(row)
            cells = []
            for index in names:
                for answer in row["indexes"].get(index, {}).values():
                    if "left_out" in answer:
                        left_out.append(f"{index} on {name} ({answer['left_out']})")
                    else:
                        used.setdefault(answer["faiss"], set()).add(index)
                found = means.get(index)
                text = f"{share(found['all'])} / {share(found['4'])}" if found else ""
                if found and found["bytes"] != row["bytes"]:
                    text += f" ({found['bytes']:.0f} B)"
                cells.append(text)
            own = [means[index]["own"] for index in ("IndexVLC", "IVFPQ") if "own" in means.get(index, {})]
            rows.append([name, row["metric"], f"{row['d']}, {row['lists']}, {row['bytes']} B", *cells,
                         share(means["IndexVLC"]["decoded"]) if "IndexVLC" in means else "",
                         " / ".join(share(value) for value in own)])
        seeds = max(len(seeds) for row in r["rows"].values() for seeds in row["indexes"].values())
        lines += [f"### {r['n']:,} rows, {r['queries']} queries, {seeds} {'sets' if seeds > 1 else 'set'} of a kind", "", *heading([r]),
                  "; ".join(f"FAISS {version}: {', '.join(index for index in names if index in found)}" for version, found in used.items()) + ".", "",
                  *table(["kind", "metric", "d, lists, code", *names.values(), "decoded", "own first"], rows), ""]
        if left_out:
            lines += ["Left out: " + "; ".join(left_out) + ".", ""]
    return lines


def two_tiers_section(results):
    lines = ["## Two tiers", "", "Recall@10 against queries a second, one thread. The columns have the best speed of an index's settings at that",
             "recall. Between two measured settings it is taken on a log scale.", "",
             "![Recall and speed of two tiers](plots/two-tiers.png)", ""]
    for r in results:
        lines += [f"### {r['set']}: {r['n']:,} x {r['d']}, {r['lists']} lists, {'single queries' if r['single'] else 'one batch'}", "",
                  *heading([r]), "", two_tiers.table(r), ""]
    return lines


def disk_cell(found, way):
    """Queries a second, and what the device gave a query."""
    if "failed" in found:
        return f"ended by signal {-found['failed']}" if found["failed"] < 0 else "failed"
    met = found[way]
    speed = f"{met['qps']:,.0f}" if met["qps"] >= 10 else met["qps"]
    return f"{speed} ({met['bytes'] / 1e3:,.0f} KB)"


def disk_section(results):
    lines = ["## Indexes larger than memory", "", "`disk_bench.py`. Cells are queries a second and, in brackets, what the device gave for a query. \"Cold\" is with nothing",
             "of the file in memory, \"warm\" the pass after it. Under the limit of memory a warm pass may read again. Every index",
             "probes the fewest lists by which it reaches the recall, or the most that it can reach.", ""]
    for r in results:
        rows, others = [], []
        for single, batch in group(r["results"], "side").values():
            others += [found[way]["others"] for found in (single, batch) if "cold" in found for way in ("cold", "warm")]
            met = next((found for found in (single, batch) if "cold" in found), None)
            rows.append([single["key"], single["side"].split(", ")[-1], f"{single['file'] / r['n']:.1f}", single["nprobe"],
                         share(met["cold"]["recall"]) if met else "",
                         *(disk_cell(found, way) for found in (single, batch) for way in ("cold", "warm"))])
        limited = all(found.get("limited", True) for found in r["results"])
        memory = f"{r['limit'] / 1e6:.0f} MB of memory" if limited and r["share"] else "any memory"
        lines += [f"### {r['n']:,} x {r['d']}, {r['lists']} lists, {memory}, recall@10 of {share(r['recall'])}", "", *heading([r]),
                  f"FAISS {r['faiss']}. Other processes took {min(others):.2f} to {max(others):.2f} of the cores' time" + (
                      ", so speeds are those of a busy machine." if max(others) > 0.25 else "."),
                  f"The kernel reads {r['read_ahead_kb']:,} KB ahead of a fault where nobody asks it not to. \"Page by page\" is FAISS's file",
                  "without that. What is ended by signal 9 took more memory than it might.", "",
                  *table(["index", "", "file, B/vector", "nprobe", "recall@10", "single, cold", "single, warm", "batch, cold",
                          "batch, warm"], rows), ""]
    return lines


def ranking_section(results):
    """Rows of ranking_bench.py."""
    rows = []
    for r in sorted(results, key=lambda r: r["lists"]):
        for row in r["rows"]:
            rows.append([f"{r['set']}: {r['n']:,} x {r['d']}", f"{r['lists']:,}", row["nprobe"], share(row["share"]),
                         share(row["graph_share"]), f"{row['us']:.1f}", f"{row['graph_us']:.1f}",
                         f"{row['graph_us'] / row['us']:.1f}", f"{row['us_alone']:.1f}", f"{row['graph_us_alone']:.1f}",
                         f"{row['graph_us_alone'] / row['us_alone']:.1f}"])
    return ["## Ranking of many lists", "", *heading(results), "",
            f"IndexVLC's quantizer against HNSW32 of FAISS {results[0]['faiss']} over the same trained anchors, one thread, microseconds a query.",
            "The share is that of the lists which hold the true ten neighbours. HNSW has the least efSearch of those tried that gives",
            "IndexVLC's share, or that of the nearest anchors if it is less; where none does, the largest.", "",
            *table(["set", "lists", "nprobe", "share", "HNSW's", "us in a batch", "HNSW's", "times", "us alone", "HNSW's", "times"], rows), ""]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, nargs="?", default=peers.ROOT / "benchmarks" / "results")
    parser.add_argument("--out", type=pathlib.Path, default=peers.ROOT / "benchmarks" / "RESULTS.md")
    arguments = parser.parse_args()
    results = [json.loads(path.read_text()) for path in sorted(arguments.folder.glob("*.json"))]
    sections = {"bench": bench_section, "recall": recall_section, "kinds": kinds_section, "search": search_section,
                "two-tiers": two_tiers_section, "disk": disk_section, "ranking": ranking_section, "scale": scale_section,
                "add": add_section,
                "training": training_section}
    answers = {"search": search_answer, "recall": recall_answer, "kinds": kinds_answer, "training": training_answer, "add": add_answer,
               "bench": bench_answer}
    lines = HEAD.splitlines() + ["", "## The answers", ""]
    for parts, before in ((answers, []), (sections, BEHIND.splitlines() + [""])):
        lines += before
        for kind, section in parts.items():
            found = [r for r in results if r["kind"] == kind]
            if found:
                lines += section(found)
    arguments.out.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
