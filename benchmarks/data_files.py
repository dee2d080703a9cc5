"""Any set of vectors as the folder that the benchmarks read: base.npy, query.npy, gt.npy, facts.json.

Understood: such a folder; HDF5 as ann-benchmarks and VIBE lay it out (train, test, neighbors and the
attribute distance); .fvecs, .bvecs or .npy with the queries in a second file. What is missing is computed:
the neighbours, and those among the ids that a filter lets through.
"""

import json
import pathlib
import sys

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "datasets"))
from common import exact_neighbours, save  # noqa: E402
from peers import is_current  # noqa: E402

FILTERS = (1, 10, 50)  # per cent of the ids
METRICS = {"euclidean": "L2", "l2": "L2", "angular": "cosine", "cosine": "cosine", "normalized": "inner product",
           "ip": "inner product", "inner product": "inner product"}


def read_vecs(path):
    kind = np.dtype(np.float32 if path.suffix == ".fvecs" else np.uint8)
    data = np.fromfile(path, dtype=np.uint8)
    d = int(data[:4].view("<i4")[0])
    row = 4 + d * kind.itemsize
    if d <= 0 or len(data) % row:
        raise SystemExit(f"{path}: rows of {d} values expected, {len(data)} bytes met")
    return np.ascontiguousarray(data.reshape(-1, row)[:, 4:]).view(kind)


def read_rows(path):
    if path.suffix in (".fvecs", ".bvecs"):
        return read_vecs(path)
    if path.suffix == ".npy":
        return np.load(path, mmap_mode="r")
    raise SystemExit(f"{path}: .fvecs, .bvecs, .npy, .hdf5 or a folder expected")


def read_hdf5(path):
    """(base, queries, metric, neighbours); HDF5 calls the metric distance."""
    import h5py
    with h5py.File(path, "r") as file:
        missing = {"train", "test"} - set(file)
        if missing:
            raise SystemExit(f"{path}: datasets train and test expected, {', '.join(sorted(file))} met")
        named = str(file.attrs.get("distance", "euclidean")).lower()
        if named not in METRICS:
            raise SystemExit(f"{path}: distance {', '.join(METRICS)} expected, {named} met")
        truth = np.array(file["neighbors"], dtype=np.int32) if "neighbors" in file else None
        return np.array(file["train"]), np.array(file["test"]), METRICS[named], truth


def normalized(x):
    x = np.asarray(x, dtype=np.float32)
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), np.float32(1e-30))


def folder_of(source, out, queries=None, metric="L2", most=0, most_queries=0):
    """The folder of a set, made under `out` unless `source` is one; `most` rows of the base, `most_queries`
    queries at most."""
    whole = source.is_dir() and (source / "gt.npy").exists()
    if whole and not most and not 0 < most_queries < len(np.load(source / "query.npy", mmap_mode="r")):
        return source
    name = source.stem if source.is_file() else source.name
    target = out / "-".join([name, *([str(most)] if most else []), *([f"{most_queries}q"] if most_queries else [])])
    made_of = [source / "base.npy", source / "query.npy"] if source.is_dir() else [source, *([queries] if queries else [])]
    if is_current(target / "facts.json", *made_of):
        return target
    truth = None
    if source.is_dir():
        base, found = np.load(source / "base.npy", mmap_mode="r"), np.load(source / "query.npy")
        metric = metric_of(source)
    elif source.suffix in (".hdf5", ".h5"):
        base, found, metric, truth = read_hdf5(source)
    elif queries:
        base, found = read_rows(source), read_rows(queries)
    else:
        raise SystemExit(f"{source}: needs --queries")
    if 0 < most_queries < len(found):
        found, truth = found[:most_queries], truth if truth is None else truth[:most_queries]
    if most and most < len(base):
        base, truth = base[np.arange(most) * len(base) // most], None
    if metric == "cosine":
        base, found, metric = normalized(base), normalized(found), "inner product"
    if base.dtype not in (np.uint8, np.int8, np.float16, np.float32):
        base, found = base.astype(np.float32), found.astype(np.float32)
    target.mkdir(parents=True, exist_ok=True)
    save(target / "base.npy", base)
    save(target / "query.npy", found)
    if truth is None or truth.shape[1] < 100:
        truth = exact_neighbours(base, found, inner_product=metric != "L2")
    save(target / "gt.npy", truth[:, :100])
    (target / "facts.json").write_text(json.dumps({"metric": metric}))
    return target


def metric_of(folder):
    facts = folder / "facts.json"
    return json.loads(facts.read_text())["metric"] if facts.exists() else "L2"


def filters_of(folder, out):
    """{per cent: (file of bits, file of neighbours)}, made on first use."""
    base, made = None, {}
    target = out / f"{folder.name}-filters"
    target.mkdir(parents=True, exist_ok=True)
    for share in FILTERS:
        bits, truth = target / f"{share}-bits.npy", target / f"{share}-gt.npy"
        made[share] = bits, truth
        if is_current(truth, folder / "base.npy", folder / "query.npy"):
            continue
        if base is None:
            base, queries = np.load(folder / "base.npy", mmap_mode="r"), np.load(folder / "query.npy")
        chosen = np.random.default_rng(share).permutation(len(base)) < len(base) * share / 100
        ids = np.flatnonzero(chosen)
        found = exact_neighbours(base[ids], queries, k=min(100, len(ids)),
                                 inner_product=metric_of(folder) != "L2")
        save(bits, np.packbits(chosen, bitorder="little")[None])
        save(truth, ids[found].astype(np.int32))
    return made
