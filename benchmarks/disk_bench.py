#!/usr/bin/python3
"""Search of indexes that are larger than memory: IndexVLC's second tier in a file, beside FAISS's mapped indexes.

    benchmarks/disk_bench.py --n 200000 --d 96
    benchmarks/disk_bench.py --n 2000000 --share 0.05 --threads 4

The set is synthetic (datasets/synthetic.py). Every side is a process of its own. Beyond what it starts with it
may have --share of the raw vectors' bytes, its index and pages of its file together, by a memory cgroup where one can
be made ("limited" says whether; "failed" says which signal ended it). Probes are the fewest, a power of 2, by which
half of the queries reach --recall, or by which their recall ends growing; the other half is measured. Before "cold"
the file's pages leave the page cache, "warm" is the second pass; under the limit a warm pass may read again. A pass of
single queries ends after --seconds, and the batch has as many queries as the cold one of these passes answered. Bytes
are those that the device gave. "cpu" is this process's CPU time over the pass's time, "others" the share of the
machine's CPU time that other processes took meanwhile. FAISS is that of this Python. Its IVFPQ goes without
precomputed tables, as they take 1 KB a list and sub-quantizer, and without polysemous training ("np"), which no search
here uses and which takes half an hour. "Page by page" has FAISS's mapped file read without pages ahead, of which the
kernel may read far more than a list ("read_ahead_kb").
"""

import argparse
import ctypes
import json
import os
import pathlib
import subprocess
import sys
import time

import numpy as np

import peers

sys.path.insert(0, str(peers.ROOT / "benchmarks" / "datasets"))
import synthetic  # noqa: E402
from common import exact_neighbours  # noqa: E402

K = 10
QUERIES = 400
#: name: (factory string without the lists, what is read)
SIDES = {
    "VLC 16+80, second tier mapped": ("VLC{lists}b16+80", "second"),
    "VLC 16+80, all mapped": ("VLC{lists}b16+80", "all"),
    "VLC 16+80, in memory": ("VLC{lists}b16+80", "none"),
    "IVFPQ, mapped": ("IVF{lists},PQ{half}np", "all"),
    "IVFPQ of a byte a dimension, mapped": ("IVF{lists},PQ{d}np", "all"),
    "IVFPQ of a byte a dimension, page by page": ("IVF{lists},PQ{d}np", "pages"),
    "IVFFlat, mapped": ("IVF{lists},Flat", "all"),
    "IVFFlat, page by page": ("IVF{lists},Flat", "pages"),
}
MADV_RANDOM = 1


def folder_of(arguments):
    return peers.BENCH / "disk" / f"{arguments.n}x{arguments.d}"


def lists_of(arguments):
    return arguments.lists or max(16, int(4 * arguments.n ** 0.5))


def key_of(arguments, side):
    return SIDES[side][0].format(lists=lists_of(arguments), d=arguments.d, half=arguments.d // 2)


def index_path(arguments, side):
    return folder_of(arguments) / (key_of(arguments, side).replace(",", "_") + ".index")


def make_set(arguments):
    folder = folder_of(arguments)
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "gt.npy").exists():
        return
    mixture = synthetic.Mixture(arguments.d, max(16, arguments.n // 500), 1)
    base = mixture.sample(arguments.n, [1, 1])
    queries = mixture.sample(QUERIES, [1, 0])
    np.save(folder / "base.npy", base)
    np.save(folder / "query.npy", queries)
    np.save(folder / "gt.npy", exact_neighbours(base, queries)[:, :K])


def import_libraries(key):
    """faiss, and faiss_vlc where the key needs it."""
    import faiss
    faiss_vlc = None
    if "VLC" in key:
        import faiss_vlc
    return faiss, faiss_vlc


def build(arguments):
    """Trains, fills and saves the index unless it is kept."""
    path, key = index_path(arguments, arguments.side), key_of(arguments, arguments.side)
    faiss, _ = import_libraries(key)
    if path.exists():
        return {"bytes": path.stat().st_size, "faiss": faiss.__version__}
    base = np.load(folder_of(arguments) / "base.npy")
    index = faiss.index_factory(base.shape[1], key)
    index.train(base)
    index.add(base)
    partial = str(path) + ".part"
    faiss.write_index(index, partial)
    os.replace(partial, path)
    return {"bytes": path.stat().st_size, "faiss": faiss.__version__}


def recall(found, truth):
    return float(np.mean([len(set(a) & set(b)) / K for a, b in zip(found, truth)]))


def open_index(arguments):
    faiss, faiss_vlc = import_libraries(key_of(arguments, arguments.side))
    faiss.omp_set_num_threads(arguments.threads)
    faiss.cvar.precomputed_table_max_bytes = 0 # or IVFPQ makes tables that are larger than the limit, when it is read
    path, mapped = index_path(arguments, arguments.side), SIDES[arguments.side][1]
    flags = {"none": lambda: 0, "second": lambda: faiss_vlc.IO_FLAG_MMAP_SECOND}.get(
        mapped, lambda: faiss.IO_FLAG_MMAP)()

    def read():
        index = faiss.read_index(str(path), flags)
        if mapped == "pages":
            read_nothing_ahead(path)
        return index
    return faiss, read


def read_nothing_ahead(path):
    """As IndexVLC has it of itself: a page that is touched comes without its neighbours."""
    advised = 0
    for line in pathlib.Path("/proc/self/maps").read_text().splitlines():
        if line.endswith(str(path.resolve())):
            start, end = (int(address, 16) for address in line.split()[0].split("-"))
            advised += ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), MADV_RANDOM) == 0
    if not advised:
        raise SystemExit(f"{path}: not mapped")


def read_ahead(path):
    """KB that the kernel reads ahead on the device of a file, or None."""
    device = path.stat().st_dev
    setting = pathlib.Path(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb")
    return int(setting.read_text()) if setting.exists() else None


def queries_of(arguments):
    """Those to choose by, and those to measure: (queries, truth) each."""
    folder = folder_of(arguments)
    queries, truth = np.load(folder / "query.npy"), np.load(folder / "gt.npy")
    return (queries[::2].copy(), truth[::2]), (queries[1::2].copy(), truth[1::2])


def fewest_probes(recall_with, lists, wanted):
    """The fewest probes, a power of 2 or all lists, that reach the recall. Where none do, the fewest of those that
    find most."""
    probes, recalls = [min(1 << i, lists) for i in range((lists - 1).bit_length() + 1)], []
    for nprobe in probes:
        recalls.append(recall_with(nprobe))
        if recalls[-1] >= wanted:
            return nprobe
    return probes[recalls.index(max(recalls))]


def choose(arguments):
    faiss, read = open_index(arguments)
    index = read()
    (queries, truth), _ = queries_of(arguments)
    ivf = faiss.extract_index_ivf(index)

    def recall_with(nprobe):
        ivf.nprobe = nprobe
        return recall(index.search(queries, K)[1], truth)
    return {"nprobe": fewest_probes(recall_with, ivf.nlist, arguments.recall)}


class Limit:
    """A memory cgroup for this process, of version 2 or 1; is_on is False where none can be made."""

    PARENTS = (("/sys/fs/cgroup", "memory.max"), ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"))

    def __init__(self, wanted):
        self.folder, self.is_on, self.name = None, False, None
        for parent, name in self.PARENTS if wanted else ():
            folder = pathlib.Path(parent) / f"vlc-disk-bench-{os.getpid()}"
            try:
                if not (pathlib.Path(parent) / "cgroup.procs").exists():
                    continue
                folder.mkdir()
                self.folder = folder
                if not (folder / name).exists():
                    raise OSError("no memory controller")
                (folder / "cgroup.procs").write_text(str(os.getpid()))
                self.name, self.is_on = name, True
                return
            except OSError:
                if self.folder:
                    folder.rmdir()
                    self.folder = None

    def set(self, size):
        (self.folder / self.name).write_text(str(size))


def limit_of(arguments):
    """Bytes that a process may take beyond its start. What Python itself takes more is 4 MB."""
    return int(arguments.share * arguments.n * arguments.d * 4) + (4 << 20)


def anonymous_bytes():
    """What this process holds besides files' pages."""
    status = pathlib.Path("/proc/self/status").read_text()
    return 1024 * int(status.split("RssAnon:")[1].split()[0])


def bytes_read():
    return int(pathlib.Path("/proc/self/io").read_text().split("read_bytes:")[1].split()[0])


def drop_pages(path):
    """Sends a file that nobody has mapped out of the page cache."""
    with open(path, "r+b") as file:
        os.fsync(file.fileno())  # what is not written stays
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def machine_ticks():
    """CPU time of all cores so far: of all that ran, and in all."""
    user, nice, system, idle, wait, *more = map(int, pathlib.Path("/proc/stat").read_text().split("\n")[0].split()[1:9])
    busy = user + nice + system + sum(more)
    return busy, busy + idle + wait


def measure_pass(index, queries, truth, arguments):
    """One pass over the queries, all together or one by one while there is time."""
    read, ticks, cpu, begun = bytes_read(), machine_ticks(), time.process_time(), time.perf_counter()
    if arguments.batched:
        found = index.search(queries, K)[1]
    else:
        found = []
        for query in queries:
            found.append(index.search(query[None], K)[1][0])
            if time.perf_counter() - begun > arguments.seconds:
                break
    seconds, cpu, asked = time.perf_counter() - begun, time.process_time() - cpu, len(found)
    busy, whole = (after - before for after, before in zip(machine_ticks(), ticks))
    own = cpu * os.sysconf("SC_CLK_TCK")
    return {"qps": round(asked / seconds, 1), "asked": asked, "bytes": round((bytes_read() - read) / asked),
            "recall": round(recall(found, truth), 4), "cpu": round(cpu / seconds, 2),
            "others": round(max(0, busy - own) / max(1, whole), 2)}


def measure(arguments):
    """One side, one way of asking: a cold pass and a warm one, in this process."""
    _, (queries, truth) = queries_of(arguments)
    queries = queries[:arguments.queries or None]
    _, read = open_index(arguments)
    drop_pages(index_path(arguments, arguments.side))
    limit = Limit(arguments.share > 0)
    start = anonymous_bytes()
    if limit.is_on:
        limit.set(limit_of(arguments))
    begun = time.perf_counter()
    index = read()
    seconds = time.perf_counter() - begun
    import faiss
    faiss.extract_index_ivf(index).nprobe = arguments.nprobe
    held = anonymous_bytes() - start
    drop_pages(index_path(arguments, arguments.side))
    passes = {name: measure_pass(index, queries, truth, arguments) for name in ("cold", "warm")}
    return {"opening": round(seconds, 3), "held": held, "limited": limit.is_on, **passes}


def run_worker(arguments, task, *more):
    env = {**os.environ, "OMP_NUM_THREADS": str(arguments.threads if task == "measure" else os.cpu_count()),
           "OMP_WAIT_POLICY": "passive"}
    env["PYTHONPATH"] = os.pathsep.join([str(peers.BUILD / "python"), env.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    command = [sys.executable, __file__, "--task", task, "--n", arguments.n, "--d", arguments.d, "--lists",
               arguments.lists, "--recall", arguments.recall, "--share", arguments.share, "--threads",
               arguments.threads, "--seconds", arguments.seconds, *more]
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, env=env)
    if done.returncode != 0:
        return {"failed": done.returncode}
    return json.loads(done.stdout)


def remove_empty_groups():
    for parent, _ in Limit.PARENTS:
        for folder in pathlib.Path(parent).glob("vlc-disk-bench-*"):
            try:
                folder.rmdir()
            except OSError:
                pass  # another benchmark's


def run(arguments):
    make_set(arguments)
    results = []
    for side in arguments.sides.split(";") if arguments.sides else SIDES:
        made = run_worker(arguments, "build", "--side", side)
        chosen = run_worker(arguments, "choose", "--side", side)
        if "failed" in made or "failed" in chosen:
            raise SystemExit(f"{side}: cannot be built")
        asked = QUERIES // 2
        for batched in (False, True):
            found = run_worker(arguments, "measure", "--side", side, "--nprobe", chosen["nprobe"],
                               *(["--batched", "--queries", asked] if batched else []))
            asked = found.get("cold", {}).get("asked", asked)
            remove_empty_groups()
            result = {"side": side, "key": key_of(arguments, side), "asked": "batch" if batched else "one by one",
                      "file": made["bytes"], **chosen, **found}
            results.append(result)
            print(json.dumps(result), flush=True)
    folder = peers.BENCH / "results"
    folder.mkdir(parents=True, exist_ok=True)
    whole = {"kind": "disk", "n": arguments.n, "d": arguments.d, "lists": lists_of(arguments),
             "share": arguments.share, "limit": limit_of(arguments), "recall": arguments.recall,
             "threads": arguments.threads, "faiss": made["faiss"],
             "read_ahead_kb": read_ahead(folder_of(arguments)), "machine": peers.machine(),
             "command": peers.command_line(),
             "results": results}
    (folder / f"disk-{arguments.n}x{arguments.d}.json").write_text(json.dumps(whole, indent=1))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=200000)
    parser.add_argument("--d", type=int, default=96)
    parser.add_argument("--lists", type=int, default=0, help="default: 4 sqrt(n)")
    parser.add_argument("--recall", type=float, default=0.95, help="recall@10 to reach")
    parser.add_argument("--share", type=float, default=0.1,
                        help="memory beside what a process starts with, in raw vectors' bytes; 0: no limit")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=30, help="a pass of single queries may take")
    parser.add_argument("--sides", help="some of them, with ; between")
    # for the processes that this one starts
    parser.add_argument("--task", choices=("build", "choose", "measure"), help=argparse.SUPPRESS)
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--nprobe", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--batched", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--queries", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.task is None:
        run(arguments)
        return
    task = {"build": build, "choose": choose, "measure": measure}[arguments.task]
    print(json.dumps(task(arguments)))


if __name__ == "__main__":
    main()
