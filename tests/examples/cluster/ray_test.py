"""serve_ray.py finds what one index over everything finds.

Distances are to be the same bit by bit, and each label is to be one that the index has at that distance: among
results of the same distance the order, and at the end of the list the choice, is free.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import faiss
import numpy as np

import faiss_vlc  # noqa: F401, teaches faiss about VLC
from skip import skip

DATA = pathlib.Path(os.environ["VLC_TEST_DATA"]) / "sift20k"
VENV = pathlib.Path(__file__).resolve().parents[3] / "build" / "ray-venv"
K, NPROBE = 10, 8


def same_results(found, expected):
    """found: k columns; expected: more, so that those that share the last distance are seen."""
    (distances, labels), (all_distances, all_labels) = found, expected
    if not np.array_equal(distances, all_distances[:, :K]):
        return False
    for row, own, all_row, known in zip(distances, labels, all_distances, all_labels):
        if len(set(own)) < K or not set(zip(row, own)) <= set(zip(all_row, known)):
            return False
    return True


class Serving(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.base, cls.queries = (np.load(DATA / name).astype("float32") for name in ("base.npy", "query.npy"))

    def serve(self, trained, shards):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        serve_ray.build(trained, self.base, shards, folder.name)
        router = serve_ray.Router(folder.name)
        self.addCleanup(router.close)
        return router

    def check(self, metric, factory, shards):
        trained = faiss.index_factory(self.base.shape[1], factory, metric)
        trained.train(self.base)
        index = faiss.clone_index(trained)
        index.add(self.base)
        expected = index.search(self.queries, 2 * K, params=faiss.SearchParametersIVF(nprobe=NPROBE))
        router = self.serve(trained, shards)
        facts = router.facts()
        self.assertEqual(sum(vectors for vectors, _, _ in facts), len(self.base))
        for vectors, mapped, _ in facts:
            self.assertTrue(mapped)
            self.assertLess(abs(vectors * shards / len(self.base) - 1), 0.2) # as even as whole lists allow
        found = router.search(self.queries, K, NPROBE)
        self.assertTrue(same_results(found, expected))
        same = np.mean(found[1] == expected[1][:, :K])
        print(f"{factory}, {shards} shards: {same:.2%} of the labels in the same place, "
              f"{router.asked / router.answered:.2f} shards asked for a query")
        self.assertGreater(same, 0.99)
        if shards > 1: # they are not all asked, and each has something to say
            self.assertLess(router.asked, 0.8 * shards * router.answered)
            router.shards.pop()
            self.assertFalse(same_results(router.search(self.queries, K, NPROBE), expected))

    def test_squared_distances(self):
        self.check(faiss.METRIC_L2, "VLC256b32", 3)

    def test_inner_products(self):
        self.check(faiss.METRIC_INNER_PRODUCT, "VLC100b20", 2)

    def test_one_shard(self):
        self.check(faiss.METRIC_L2, "VLC64b16", 1)


def run():
    with tempfile.TemporaryDirectory() as folder:
        try:
            serve_ray.start(4, folder)
            return unittest.main(exit=False).result.wasSuccessful()
        finally:
            ray.shutdown()


if __name__ == "__main__":
    if pathlib.Path(sys.prefix) != VENV:
        if sys.prefix != sys.base_prefix:
            skip(f"{sys.executable} is of a venv, whose packages one for Ray would not see")
        if not (VENV / "bin" / "python").exists():
            skip(f"no Ray in {VENV}: .ci/ray makes it")
        sys.exit(subprocess.run([VENV / "bin" / "python", *sys.argv]).returncode)
    import ray

    import serve_ray
    sys.exit(0 if run() else 1)
