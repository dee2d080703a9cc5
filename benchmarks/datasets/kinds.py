"""Kinds of vectors that an index in IVFPQ's place meets, each a small set made by NumPy from a seed.

Beside ordinary ones: what changed after training, dimensions of unlike scale, queries from elsewhere,
products of vectors of unlike length, discrete and heavy-tailed values, few dimensions, no structure.
NAMES lists them, make() makes one. RandomState's numbers are the same in every version of NumPy.
"""

import dataclasses
import pathlib
import zlib

import numpy as np

SIFT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "data" / "sift20k"
K = 10


@dataclasses.dataclass
class Kind:
    """A set: float32 rows, and what an index of it is to be like."""
    train: np.ndarray
    base: np.ndarray
    queries: np.ndarray
    lists: int = 64  # for 20,000 rows
    bytes: int = 16  # of a code, without its id
    inner_product: bool = False
    own: np.ndarray = None  # the queries' own rows in base, where they are such
    train_queries: np.ndarray = None  # others of the same kind, where queries are unlike base

    def __post_init__(self):
        for field in ("train", "base", "queries", "train_queries"):
            rows = getattr(self, field)
            if rows is not None:
                setattr(self, field, np.ascontiguousarray(rows, dtype=np.float32))


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


class Mixture:
    """Gaussian groups around centres; spread is the groups' own, the centres' is 1."""

    def __init__(self, r, d, groups=100, spread=0.7):
        self.r, self.centres, self.spread = r, r.randn(groups, d), spread

    def rows(self, n):
        centres = self.centres[self.r.randint(len(self.centres), size=n)]
        return centres + self.spread * self.r.randn(*centres.shape)


# What comes after training.

def drift(r, n, q):
    """Trained on one cloud; a second one, elsewhere, is added and asked for."""
    old, new = r.randn(n // 2, 64), 2.5 + r.randn(n - n // 2, 64)
    return Kind(old, np.concatenate([old, new]), new[:q], own=len(old) + np.arange(q))


def stream(r, n, q):
    """Rows move along one direction as time goes; training saw the first quarter, queries are of the last."""
    base = r.randn(n, 64) + np.arange(n)[:, None] / n * 18 * unit(r.randn(64))
    late = base[n - n // 4:]
    return Kind(base[:n // 4], base, late[r.choice(len(late), q, replace=False)] + 0.1 * r.randn(q, 64))


def with_long_rows(r, n):
    """One row in a hundred is 30 times as long: these come first."""
    base = r.randn(n, 64)
    base[:n // 100] *= 30
    return base, np.arange(n // 100)


def long_rows(r, n, q):
    base, long = with_long_rows(r, n)
    return Kind(base, base, base[long], own=long)


def long_rows_later(r, n, q):
    base, long = with_long_rows(r, n)
    return Kind(base[len(long):], base, base[long], own=long)


# Dimensions of unlike scale.

def seconds_of_a_day(r, n, q):
    def rows(count):
        return np.hstack([86400 * r.rand(count, 1), r.randn(count, 31)])
    base = rows(n)
    return Kind(base[::2], base, rows(q))


def large_offset(r, n, q):
    mixture = Mixture(r, 32)
    base, queries = mixture.rows(n) + 1e4, mixture.rows(q) + 1e4
    return Kind(base, base, queries)


# Queries from elsewhere.

def sift_moved(r, n, q):
    base, queries, others = sift_rows(r, n, q)
    far = 1000 * unit(r.randn(128))
    return Kind(base, base, queries + far, lists=128, train_queries=others + far)


def modality_gap(r, n, q):
    """Vectors of two kinds of things lie on opposite sides of a sphere."""
    mixture, side = Mixture(r, 64), 8 * unit(r.randn(64))
    base = unit(mixture.rows(n) + side)
    return Kind(base, base, unit(mixture.rows(q) - side), inner_product=True,
                train_queries=unit(mixture.rows(2 * q) - side))


def moved_100(r, n, q):
    mixture, far = Mixture(r, 64), 100 * unit(r.randn(64))
    base = mixture.rows(n)
    return Kind(base, base, mixture.rows(q) + far, train_queries=mixture.rows(2 * q) + far)


# Inner products of vectors of unlike length: exp of a normal number, times spread.

def products(r, n, q, spread):
    base = unit(r.randn(n, 64))
    queries = unit(base[r.choice(n, q, replace=False)] + 0.02 * r.randn(q, 64))
    base *= np.exp(spread * r.randn(n, 1))
    return Kind(base[::2], base, queries, inner_product=True)


def mips_1(r, n, q):
    return products(r, n, q, 1)


def mips_2(r, n, q):
    return products(r, n, q, 2)


# Discrete, sparse and heavy-tailed values.

def halves(rows, n, **settings):
    """The first n are the base and the sample, the others queries."""
    return Kind(rows[:n], rows[:n], rows[n:], **settings)


def zero_one(r, n, q):
    """Bits, whose chances of 1 depend on one of 20 classes."""
    chance = r.rand(20, 128)[r.randint(20, size=n + q)]
    return halves(r.rand(*chance.shape) < chance, n)


def one_hot(r, n, q):
    """Five categories, the frequent ones often, each a 1 among zeros; and two numbers."""
    columns = []
    for size in (7, 12, 50, 100, 85):
        chosen = np.minimum(r.pareto(0.5, size=n + q), 1e6).astype(int) % size
        columns.append(np.eye(size)[chosen])
    return halves(np.hstack([*columns, 0.3 * r.randn(n + q, 2)]), n)


def ratings(r, n, q):
    """1 to 5 in about a seventh of 64 places."""
    return halves(r.randint(1, 6, size=(n + q, 64)) * (r.rand(n + q, 64) < 0.15), n)


def three_of_512(r, n, q):
    rows, each = np.zeros((n + q, 512)), np.arange(n + q)
    for _ in range(3):
        rows[each, r.randint(512, size=n + q)] = 0.5 + r.rand(n + q)
    return halves(rows, n)


def lognormal(r, n, q):
    """Counts, of which few are very large."""
    rows = np.floor(np.exp(2 * r.randn(n + q, 64)))
    return Kind(rows[:n // 2], rows[:n], rows[n:])


# Few dimensions, no structure.

def one_dimension(r, n, q):
    return halves(r.randn(n + q, 1), n, bytes=1)


def places(r, n, q):
    """Degrees of latitude and longitude around 30 towns."""
    towns = [140, 300] * (r.rand(30, 2) - 0.5)
    return halves(towns[r.randint(30, size=n + q)] + 0.2 * r.randn(n + q, 2), n, bytes=2)


def no_structure(r, n, q):
    """Groups as wide as their distance."""
    return halves(Mixture(r, 32, spread=1.0).rows(n + q), n, bytes=8)


# Ordinary ones.

def sift_rows(r, n, q):
    """(base, queries, more queries) of the sample; the last are rows of its base that may be in base, too."""
    base, queries = np.load(SIFT / "base.npy"), np.load(SIFT / "query.npy")
    order = r.permutation(len(base))
    return (base[order[:n]].astype(float), queries[r.permutation(len(queries))[:q]].astype(float),
            base[order[-2 * q:]].astype(float))


def text_rows(r, n):
    """Like embeddings of sentences: topics within topics, axes of falling weight, unit length, 384 dimensions."""
    weights = (1 + np.arange(384)) ** -0.5
    fields = r.randn(20, 384)
    topics = 0.7 * r.randn(400, 384) + fields[r.randint(20, size=400)]
    rows = (topics[r.randint(400, size=n)] + r.randn(n, 384)) * weights
    return unit(rows @ np.linalg.qr(r.randn(384, 384))[0])


def text_96(r, n, q):
    """Projected to a quarter of the dimensions."""
    rows = text_rows(r, n + q) @ np.linalg.qr(r.randn(384, 96))[0]
    return halves(rows, n, lists=128, bytes=8)


def ordinary_sift(r, n, q):
    base, queries, _ = sift_rows(r, n, q)
    return Kind(base, base, queries, lists=128)


def ordinary_text(r, n, q):
    return halves(text_rows(r, n + q), n, lists=128, bytes=48)


MAKERS = {f.__name__: f for f in (
    drift, stream, long_rows, long_rows_later, seconds_of_a_day, large_offset, sift_moved, modality_gap, moved_100,
    mips_1, mips_2, zero_one, one_hot, ratings, three_of_512, lognormal, one_dimension, places, no_structure,
    text_96, ordinary_sift, ordinary_text)}
NAMES = list(MAKERS)


def make(name, rows=20000, queries=500, seed=0):
    """The set of that name; another seed gives another one of its kind."""
    kind = MAKERS[name](np.random.RandomState(zlib.crc32(name.encode()) + seed), rows, queries)
    assert np.isfinite(kind.base).all() and len(kind.base) == rows
    return kind


def distances(kind, base):
    """Queries x rows of base: squared distances or negative products, in float64."""
    base, queries = base.astype(float), kind.queries.astype(float)
    if kind.inner_product:
        return -queries @ base.T
    middle = base.mean(axis=0)  # large numbers would cancel
    base, queries = base - middle, queries - middle
    return np.maximum((queries ** 2).sum(axis=1)[:, None] + (base ** 2).sum(axis=1) - 2 * queries @ base.T, 0)


def hits(found, exact, k=K):
    """A query's share of its k nearest, of labels (-1: none) and of what distances() gave. Whatever is no farther than
    the k-th counts, so ties do; a row counts once."""
    last = np.partition(exact, k - 1, axis=1)[:, k - 1]
    last = last + 1e-6 * np.abs(last) + 1e-9
    shares = np.empty(len(found))
    for i, labels in enumerate(found):
        labels = np.unique(labels[labels >= 0])
        shares[i] = min(k, (exact[i, labels] <= last[i]).sum()) / k
    return shares
