"""What the data sets share: atomic files, downloads, parts worked on by several processes, neighbours."""

import concurrent.futures
import os
import pathlib
import subprocess
import time

import numpy as np

NEIGHBOURS = 100
QUERIES = 1000


def write_text(path, text):
    partial = path.with_name(path.name + ".part")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def save(path, array):
    """The file appears whole or not at all."""
    partial = path.with_name(path.name + ".part")
    with open(partial, "wb") as f:
        np.save(f, np.ascontiguousarray(array))
        f.flush()
        os.fsync(f.fileno())
    os.replace(partial, path)


def create(path, shape, dtype):
    """A .npy to be filled in place: (array, function that puts it where it belongs)."""
    partial = path.with_name(path.name + ".part")
    array = np.lib.format.open_memmap(partial, mode="w+", dtype=dtype, shape=shape)

    def close():
        array.flush()
        os.replace(partial, path)
    return array, close


def unpack_packages(names, folder):
    """Downloads Debian packages and unpacks them into folder / NAME; nothing is installed."""
    folder.mkdir(parents=True, exist_ok=True)
    versions = {}
    for name in names:
        target = folder / name
        stamp = folder / f"{name}.version"
        if not stamp.exists():
            for old in folder.glob(f"{name}_*.deb"):
                old.unlink()
            subprocess.run(["apt-get", "download", "-qq", name], cwd=folder, check=True,
                           stderr=subprocess.DEVNULL)
            [package] = folder.glob(f"{name}_*.deb")
            subprocess.run(["dpkg-deb", "-x", package, target], check=True)
            version = subprocess.run(["dpkg-deb", "-f", package, "Version"], check=True,
                                     capture_output=True, text=True).stdout.strip()
            package.unlink()
            write_text(stamp, version)
        versions[name] = stamp.read_text()
    return versions


def copy_licences(folder, names, out):
    """Copies Debian's copyright files of unpacked packages beside the data."""
    out.mkdir(parents=True, exist_ok=True)
    for name in names:
        source = folder / name / "usr" / "share" / "doc" / name / "copyright"
        if source.is_file():
            write_text(out / f"{name}.txt", source.read_text(encoding="utf-8", errors="replace"))


def run_parts(work, parts, jobs, deadline):
    """Calls work(part) for each part, in processes; False if the deadline came first."""
    parts = list(parts)
    if not parts:
        return True
    todo = iter(parts)
    started = time.monotonic()
    done = 0
    with concurrent.futures.ProcessPoolExecutor(jobs) as pool:
        running = set()
        while True:
            while len(running) < jobs and time.monotonic() < deadline:
                part = next(todo, None)
                if part is None:
                    break
                running.add(pool.submit(work, part))
            if not running:
                break
            finished, running = concurrent.futures.wait(
                running, return_when=concurrent.futures.FIRST_COMPLETED)
            for future in finished:
                future.result()
                done += 1
                if done % 10 == 0 or done == len(parts):
                    print(f"{done} of {len(parts)} parts, {time.monotonic() - started:.0f} s", flush=True)
    return done == len(parts)


def exact_neighbours(base, queries, k=NEIGHBOURS, block=16384, inner_product=False):
    """The k nearest base rows of each query by L2 or of largest product, ties by smaller index.
    float32 products find twice as many candidates, float64 decides (integers are exact in both)."""
    queries32 = np.asarray(queries, dtype=np.float32)
    keep = 2 * k
    best = np.full((len(queries), 0), np.inf, dtype=np.float32)
    labels = np.zeros((len(queries), 0), dtype=np.int64)
    for first in range(0, len(base), block):
        rows = np.asarray(base[first:first + block], dtype=np.float32)
        distances = queries32 @ rows.T
        distances *= -1 if inner_product else -2
        if not inner_product:
            distances += (rows * rows).sum(axis=1)
        if len(rows) > keep:
            near = np.argpartition(distances, keep, axis=1)[:, :keep]
        else:
            near = np.broadcast_to(np.arange(len(rows)), distances.shape)
        best = np.hstack([best, np.take_along_axis(distances, near, axis=1)])
        labels = np.hstack([labels, near + first])
        if best.shape[1] > keep:
            near = np.argpartition(best, keep, axis=1)[:, :keep]
            best = np.take_along_axis(best, near, axis=1)
            labels = np.take_along_axis(labels, near, axis=1)
    result = np.empty((len(queries), k), dtype=np.int32)
    for i, query in enumerate(np.asarray(queries, dtype=np.float64)):
        found = np.sort(labels[i])
        rows = np.asarray(base[found], dtype=np.float64)
        distances = -(rows @ query) if inner_product else ((rows - query) ** 2).sum(axis=1)
        result[i] = found[np.argsort(distances, kind="stable")[:k]]
    return result


def finish(out, sources):
    """Neighbours and SOURCES.md, once base.npy and query.npy are there."""
    base = np.load(out / "base.npy", mmap_mode="r")
    queries = np.load(out / "query.npy")
    if not (out / "gt.npy").exists():
        save(out / "gt.npy", exact_neighbours(base, queries))
    write_text(out / "SOURCES.md", sources)
    print(f"{out}: base {base.shape} {base.dtype}, query {queries.shape}, gt {NEIGHBOURS} deep")
