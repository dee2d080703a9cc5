"""What IndexVLC finds on kinds of vectors that are not ordinary, beside an IVFPQ of as many bytes in the same run.
With two tiers (VLC_TEST_KEY) it is beside a brute force over its decoded vectors alone.

The sets are those of benchmarks/kinds_bench.py, smaller. A floor is compared with means over the queries, less two
standard errors of the queries' own differences: so much is noise of so few queries.
"""

import os
import pathlib
import sys
import unittest

import faiss
import numpy as np

import faiss_vlc  # noqa: F401
from python_fixture import tiers

BENCHMARKS = pathlib.Path(__file__).resolve().parents[2] / "benchmarks"
sys.path[:0] = [str(BENCHMARKS), str(BENCHMARKS / "datasets")]
import kinds  # noqa: E402
import kinds_worker  # noqa: E402

ROWS, QUERIES, LISTS = 4000, 150, 16
MARGIN = 0.01
# By what words of whole vectors find more than IVFPQ.
MORE = {"ratings": 0.03, "zero_one": 0.2, "one_hot": 0.03}
# What is reached where MARGIN is not: (with all lists, with 4, beside decoded vectors).
REACHED = {
    "lognormal": (0.06, 0.06, 0.08),  # estimates lose what the decoded vectors have; 2,000 rows are few to train with
    "long_rows": (0.02, 0.03, MARGIN),
    "moved_100": (0.02, MARGIN, 0.04),  # the queries have to be known in training: see `by queries`
    "sift_moved": (0.10, 0.11, MARGIN),  # as moved_100
}


class Kinds(unittest.TestCase):
    def floor(self, ours, theirs, allowed, what):
        """The mean of ours is at least that of theirs, less what is allowed and the noise."""
        difference = ours - theirs
        noise = 2 * difference.std() / np.sqrt(len(difference))
        facts = f"{ours.mean():.3f} beside {theirs.mean():.3f}, noise {noise:.3f}, allowed {allowed}"
        if os.environ.get("VLC_SHOW_KINDS"):
            print(f"{what:35} {difference.mean():+.3f}: {facts}", flush=True)
        with self.subTest(what):
            self.assertGreaterEqual(difference.mean(), -allowed - noise, facts)

    def check(self, name):
        kind = kinds.make(name, ROWS, QUERIES)
        kind.lists = LISTS
        exact = kinds.distances(kind, kind.base)
        key = tiers(f"VLC{kind.lists}b{kind.bytes}")
        ours = kinds_worker.measure(kind, key, exact)
        taught = kinds_worker.measure(kind, key, exact, by_queries=True) if kind.train_queries is not None else None
        beside_decoded = REACHED.get(name, (MARGIN, MARGIN, MARGIN))[2]
        self.floor(ours["all"], ours["decoded"], beside_decoded, f"{name}, beside decoded")
        self.assertLessEqual(kinds_worker.fall(ours), MARGIN, f"{name} with larger nprobe")
        if taught:
            self.floor(taught["all"], taught["decoded"], MARGIN, f"{name}, by queries, beside decoded")
        if "+" not in key: # as many bytes as IVFPQ has
            self.check_beside_ivfpq(kind, name, exact, ours, taught)
        elif kind.own is not None:
            self.assertEqual(ours["own"].mean(), 1, f"{name}, own rows first")

    def check_beside_ivfpq(self, kind, name, exact, ours, taught):
        theirs = kinds_worker.measure(kind, f"IVF{kind.lists},PQ{kind.bytes}np", exact, iterations=12)
        in_all, in_4, _ = REACHED.get(name, (MARGIN, MARGIN, MARGIN))
        self.floor(ours["all"], theirs["all"], -MORE.get(name, -in_all), f"{name}, all lists")
        self.floor(ours["nprobe"][4], theirs["nprobe"][4], in_4, f"{name}, 4 lists")
        if kind.own is not None:
            self.floor(ours["own"], theirs["own"], 0, f"{name}, own rows first")
        if taught:
            self.floor(taught["all"], theirs["all"], MARGIN, f"{name}, by queries, all lists")
            self.floor(taught["nprobe"][4], theirs["nprobe"][4], MARGIN, f"{name}, by queries, 4 lists")


def test_of(name):
    return lambda self: self.check(name)


for one in kinds.NAMES:
    setattr(Kinds, f"test_{one}", test_of(one))


if __name__ == "__main__":
    unittest.main()
