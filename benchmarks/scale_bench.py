#!/usr/bin/env python3
"""How IndexVLC's cost grows with the number of vectors, at one recall.

    benchmarks/scale_bench.py build/datasets/synthetic-* --bytes 26 --recall 0.8

Each set gets about 4 sqrt(n) lists (--lists: this many) and the same bytes of code. Reported: training and
adding, bytes per vector in file and memory (of the loaded index), the highest recall@10 up to --most lists,
and queries per second where the recall asked for is reached, one thread, batch of 1000.
"""

import argparse
import json
import pathlib

import peers
from search_bench import speed_at


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path, nargs="+")
    parser.add_argument("--bytes", type=int, required=True, help="codes and factors")
    parser.add_argument("--recall", type=float, default=0.8)
    parser.add_argument("--lists", type=int, default=0)
    parser.add_argument("--most", type=int, default=256, help="lists probed at most")
    parser.add_argument("--seconds", type=float, default=0.3)
    parser.add_argument("--build-only", action="store_true")
    arguments = parser.parse_args()
    folder = peers.BENCH / "results"
    folder.mkdir(parents=True, exist_ok=True)
    for data in (path.absolute() for path in arguments.data):
        path, made = peers.vlc_index(data, arguments.lists, arguments.bytes)
        if arguments.build_only:
            continue
        worker = peers.vlc_worker(path, data)
        curve = []
        nprobe = 1
        while nprobe <= min(arguments.most, made["m"]):
            curve.append(worker.search(nprobe, 1, 0, arguments.seconds))
            nprobe *= 2
        facts = worker.facts
        worker.close()
        result = {"kind": "scale", "set": data.name, "n": made["n"], "d": made["d"], "lists": made["m"],
                  "machine": peers.machine(), "command": peers.command_line(), "made": made,
                  "memory": facts["memory"] / made["n"], "recall": arguments.recall, "curve": curve,
                  "qps": speed_at(curve, arguments.recall)}
        (folder / f"scale-{data.name}-{made['m']}-{arguments.bytes}.json").write_text(json.dumps(result, indent=1))
        print(json.dumps({key: result[key] for key in ("set", "lists", "memory", "qps")}), flush=True)


if __name__ == "__main__":
    main()
