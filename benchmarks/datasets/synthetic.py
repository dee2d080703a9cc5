"""Synthetic clustered vectors: any n and d, the same for the same seed.

Clusters of uneven size and spread lie around centres that are themselves clustered; within a cluster
variance falls off along axes of the cluster's own, some of which all share. It is no substitute for
real vectors where recall per byte is compared, but it grows to any size.
"""

import numpy as np

from common import NEIGHBOURS, QUERIES, create, exact_neighbours, save, write_text

BLOCK = 65536
FAMILIES = 16  # groups of clusters with axes of their own


class Mixture:
    def __init__(self, d, clusters, seed):
        rng = np.random.default_rng([seed, d, clusters])
        self.d = d
        coarse = rng.standard_normal((max(1, clusters // 32), d))
        self.centres = (coarse[rng.integers(len(coarse), size=clusters)]
                        + 0.7 * rng.standard_normal((clusters, d))).astype(np.float32)
        weights = 1 / (10 + np.arange(clusters)) ** 0.5
        self.share = np.cumsum(weights / weights.sum())
        self.spread = np.exp(0.3 * rng.standard_normal(clusters)).astype(np.float32)
        self.family = rng.integers(FAMILIES, size=clusters)
        falloff = np.exp(-3 * np.arange(d) / d)
        axes = [np.linalg.qr(rng.standard_normal((d, d)))[0] for _ in range(FAMILIES)]
        shared = np.linalg.qr(rng.standard_normal((d, d)))[0]
        self.axes = [((falloff[:, None] * (0.7 * shared + 0.7 * own))).astype(np.float32) for own in axes]

    def sample(self, n, key):
        rng = np.random.default_rng(key)
        cluster = np.minimum(np.searchsorted(self.share, rng.random(n)), len(self.share) - 1)
        noise = rng.standard_normal((n, self.d), dtype=np.float32)
        rows = self.centres[cluster]
        for family, axes in enumerate(self.axes):
            mine = np.flatnonzero(self.family[cluster] == family)
            rows[mine] += (noise[mine] @ axes) * self.spread[cluster[mine], None]
        return rows


def convert(rows, dtype):
    if dtype == "uint8":  # the values reach from about -5 to 5
        return np.clip(np.rint(rows * 24 + 128), 0, 255).astype(np.uint8)
    return rows.astype(dtype)


def make(arguments):
    n, d = arguments.n, arguments.d
    clusters = arguments.clusters or max(16, n // 500)
    name = f"synthetic-{n}x{d}-{clusters}-{arguments.seed}-{arguments.dtype}"
    out = arguments.out / name
    out.mkdir(parents=True, exist_ok=True)
    mixture = Mixture(d, clusters, arguments.seed)
    if not (out / "base.npy").exists():
        save(out / "query.npy", convert(mixture.sample(QUERIES, [arguments.seed, 0]), arguments.dtype))
        base, close = create(out / "base.npy", (n, d), arguments.dtype)
        for first in range(0, n, BLOCK):
            count = min(BLOCK, n - first)
            rows = mixture.sample(count, [arguments.seed, 1 + first // BLOCK])
            base[first:first + count] = convert(rows, arguments.dtype)
        close()
    base = np.load(out / "base.npy", mmap_mode="r")
    if not (out / "gt.npy").exists():
        save(out / "gt.npy", exact_neighbours(base, np.load(out / "query.npy")))
    write_text(out / "SOURCES.md", f"""# Synthetic clustered vectors

Made by benchmarks/datasets/make_datasets.py synthetic --n {n} --d {d} --clusters {clusters} \
--seed {arguments.seed} --dtype {arguments.dtype}
with NumPy {np.__version__}. No rights are claimed.
""")
    print(f"{out}: base {base.shape} {base.dtype}, query ({QUERIES}, {d}), gt {NEIGHBOURS} deep")
    return True
