"""Smaller sets and other dimensions, made of a set that is there already.

n rows, evenly spread; fewer dimensions by a random orthogonal projection, more by putting rows beside
others of the same set (row i beside row i + n/2, and so on), which is how vectors of several parts look.
Neighbours are computed anew, by inner product if that is asked for.
"""

import numpy as np

from common import exact_neighbours, save, write_text


def change_dimension(rows, d):
    source = rows.shape[1]
    if d == source:
        return rows
    rows = rows.astype(np.float32)
    if d < source:
        axes = np.linalg.qr(np.random.default_rng([source, d]).standard_normal((source, source)))[0]
        return (rows @ axes[:, :d].astype(np.float32)).astype(np.float16)
    copies = -(-d // source)
    shifted = [np.roll(rows, -i * len(rows) // copies, axis=0) for i in range(copies)]
    return np.hstack(shifted)[:, :d].astype(np.float16)


def make(arguments):
    source = arguments.source
    base = np.load(source / "base.npy", mmap_mode="r")
    queries = np.load(source / "query.npy")
    n = min(arguments.n or len(base), len(base))
    d = arguments.d or base.shape[1]
    out = arguments.out / f"{source.name}-{n}x{d}{'-ip' * arguments.ip}"
    out.mkdir(parents=True, exist_ok=True)
    rows = change_dimension(base[np.arange(n) * len(base) // n], d)
    queries = change_dimension(queries, d)
    save(out / "base.npy", rows)
    save(out / "query.npy", queries)
    save(out / "gt.npy", exact_neighbours(rows, queries, inner_product=arguments.ip))
    write_text(out / "SOURCES.md", f"""# Derived

Made by benchmarks/datasets/make_datasets.py derive from {source.name}: {n} rows, {d} dimensions\
{', neighbours by inner product' * arguments.ip}. What it was made of is said below.

{(source / 'SOURCES.md').read_text(encoding='utf-8')}""")
    copy_licences_of(source, out)
    print(f"{out}: base {rows.shape} {rows.dtype}, query {queries.shape}")
    return True


def copy_licences_of(source, out):
    for path in sorted((source / "licences").glob("*.txt")):
        (out / "licences").mkdir(exist_ok=True)
        write_text(out / "licences" / path.name, path.read_text(encoding="utf-8"))
