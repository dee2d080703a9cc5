#!/usr/bin/env python3
"""add(): seconds, and memory on top of the block that is added, against FAISS's indexes of equal bytes.

    benchmarks/add_bench.py build/datasets/sift --peers "PQ32;PQ64"

Trained indexes (search_bench.py's) are emptied and filled again, 65,536 vectors at a time, all threads,
taking turns; medians of --rounds. Memory is the growth of the process; its peak is compared with the
growth that stays, which is the finished index.
"""

import argparse
import json
import os
import pathlib
import statistics

import peers


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--lists", type=int, help="default: 2048 for sift, 1024 for others")
    parser.add_argument("--peers", type=lambda text: [p.strip() for p in text.split(";")], required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--block", type=int, default=65536)
    arguments = parser.parse_args()
    peers.enter_venv()
    data = arguments.data.absolute()
    lists = arguments.lists or peers.LISTS.get(data.name, 1024)
    env = {"OMP_NUM_THREADS": str(len(os.sched_getaffinity(0)))}
    folder = peers.BENCH / "results"
    folder.mkdir(parents=True, exist_ok=True)
    for size, peer in peers.peers_of(data, arguments.peers):
        worker = [peers.VENV / "bin" / "python", peers.ROOT / "benchmarks" / "faiss_worker.py"]
        theirs = peers.faiss_worker(peer, data, lists)
        theirs.close()
        limit = theirs.facts["file_bytes"] / theirs.facts["n"]
        path, made = peers.vlc_of_size(data, lists, limit)
        commands = {
            "vlc": [peers.BUILD / "benchmarks" / "bench_worker", "add", "--idx", path, "--emb",
                    data / "base.npy", "--block", arguments.block],
            "faiss": [*worker, "add", data, peer, "--lists", lists, "--block", arguments.block],
        }
        runs = {side: [] for side in commands}
        load = peers.OtherLoad()
        for _ in range(arguments.rounds):
            for side, command in commands.items():
                runs[side].append(peers.run_json(*command, env=env))
        result = {"kind": "add", "set": data.name, "n": made["n"], "class": size, "peer": peer, "lists": lists,
                  "bytes": {"vlc": made["bytes_per_vector"], "faiss": limit},
                  "machine": peers.machine(), "command": peers.command_line(), "rounds": arguments.rounds,
                  "others": load.cores()}
        for side, found in runs.items():
            result[side] = {key: statistics.median(run[key] for run in found)
                            for key in ("seconds", "peak", "grown", "block_bytes", "memory") if key in found[0]}
        result["ratio"] = result["faiss"]["seconds"] / result["vlc"]["seconds"]
        name = f"add-{data.name}-{peer.replace(',', '_')}.json"
        (folder / name).write_text(json.dumps(result, indent=1))
        print(f"{data.name} {peer}: IndexVLC {result['vlc']['seconds']:.2f} s, FAISS "
              f"{result['faiss']['seconds']:.2f} s, {result['ratio']:.1f} times as fast; peak / finished "
              f"{result['vlc']['peak'] / result['vlc']['grown']:.2f} and "
              f"{result['faiss']['peak'] / result['faiss']['grown']:.2f}; others took "
              f"{result['others']:.2f} cores", flush=True)


if __name__ == "__main__":
    main()
