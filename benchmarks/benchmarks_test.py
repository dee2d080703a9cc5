"""The benchmark programs' own arithmetic, and bench_worker on the sample data; no FAISS of PyPI's.

VLC_CLI=build/release/vlc VLC_TEST_DATA=tests/data python3 benchmarks/benchmarks_test.py
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "datasets"))
CLI = pathlib.Path(os.environ.get("VLC_CLI", HERE.parent / "build/release/vlc")).resolve()
os.environ["VLC_BUILD"] = str(CLI.parent)

import data_files  # noqa: E402
import derive  # noqa: E402
import disk_bench  # noqa: E402
import kinds  # noqa: E402
import peers  # noqa: E402
import report  # noqa: E402
import search_bench  # noqa: E402
import synthetic  # noqa: E402
import two_tiers  # noqa: E402
from common import exact_neighbours  # noqa: E402

SIFT = pathlib.Path(os.environ.get("VLC_TEST_DATA", HERE.parent / "tests/data")) / "sift20k"
WORKER = CLI.parent / "benchmarks" / "bench_worker"


def brute_force(base, queries, k, inner_product=False):
    base, queries = base.astype(np.float64), queries.astype(np.float64)
    if inner_product:
        distances = -queries @ base.T
    else:
        distances = ((queries[:, None] - base[None]) ** 2).sum(axis=2)
    return np.argsort(distances, axis=1, kind="stable")[:, :k]


class Curves(unittest.TestCase):
    def test_speed_between_points_is_interpolated_in_its_logarithm(self):
        curve = [{"recall": 0.2, "qps": 10000}, {"recall": 0.4, "qps": 100}]
        self.assertAlmostEqual(search_bench.speed_at(curve, 0.3), 1000)
        self.assertAlmostEqual(search_bench.speed_at(curve, 0.4), 100)

    def test_ends(self):
        curve = [{"recall": 0.5, "qps": 80}, {"recall": 0.6, "qps": 40}]
        self.assertEqual(search_bench.speed_at(curve, 0.1), 80)
        self.assertIsNone(search_bench.speed_at(curve, 0.61))

    def test_compared_at_98_percent_of_the_lower_highest_recall(self):
        ours = [{"recall": 0.5, "qps": 300}, {"recall": 0.9, "qps": 200}]
        theirs = [{"recall": 0.49, "qps": 50}, {"recall": 0.5, "qps": 20}]
        found = search_bench.compare(ours, theirs)
        self.assertAlmostEqual(found["recall"], 0.49)
        self.assertAlmostEqual(found["ratio"], 300 / 50)


class Disk(unittest.TestCase):
    def test_the_fewest_probes(self):
        asked = []

        def found(most):
            return lambda nprobe: asked.append(nprobe) or min(most, 0.5 + nprobe / 100)
        self.assertEqual(disk_bench.fewest_probes(found(1), 600, 0.8), 32)
        self.assertEqual(asked, [1, 2, 4, 8, 16, 32])
        self.assertEqual(disk_bench.fewest_probes(found(0.6), 600, 0.8), 16) # more lists find no more
        self.assertEqual(asked[-1], 600)
        self.assertEqual(disk_bench.fewest_probes(found(1), 3, 0.8), 3)
        self.assertEqual(disk_bench.fewest_probes(found(1), 1, 0.8), 1)

    def test_its_table(self):
        facts = {"qps": 3348.2, "bytes": 57487, "recall": 0.964, "others": 0.25}
        rows = [{"side": "VLC, mapped", "key": "VLC9b4", "asked": "one by one", "file": 400, "nprobe": 2, "limited": True,
                 "cold": facts, "warm": {**facts, "qps": 2.5, "others": 0.5}}]
        rows += [{**rows[0], "asked": "batch"}, {**rows[0], "side": "VLC, in memory", "failed": -9}]
        del rows[2]["cold"], rows[2]["warm"]
        rows.append(rows[2])
        machine = {"cpu": "x", "flags": [], "cores": 1, "memory_gib": 1, "commit": "c", "date": "d"}
        lines = report.disk_section([{"n": 10, "d": 4, "lists": 9, "share": 0.1, "limit": 19e6, "recall": 0.95, "faiss": "1", "read_ahead_kb": 8192,
                                      "command": "c", "machine": machine, "results": rows}])
        self.assertIn("| VLC9b4 | mapped | 40.0 | 2 | .964 | 3,348 (57 KB) | 2.5 (57 KB) | 3,348 (57 KB) | 2.5 (57 KB) |",
                      lines)
        self.assertIn("| VLC9b4 | in memory | 40.0 | 2 |  |" + " ended by signal 9 |" * 4, lines)
        self.assertTrue(any("0.25 to 0.50 of the cores" in line for line in lines))


class TwoTiers(unittest.TestCase):
    def test_the_edge_of_recall_and_speed(self):
        points = [{"recall": recall, "qps": qps} for recall, qps in
                  ((0.9, 100), (0.95, 120), (0.9, 150), (0.99, 20), (0.98, 17), (0.5, 149))]
        edge = [(p["recall"], p["qps"]) for p in two_tiers.frontier(points)]
        self.assertEqual(edge, [(0.9, 150), (0.95, 120), (0.99, 20)])
        near = [(p["recall"], p["qps"]) for p in two_tiers.frontier(points, slack=1.25)]
        self.assertEqual(near, [(0.5, 149), (0.9, 150), (0.95, 120), (0.98, 17), (0.99, 20)])

    def explored(self, recall, facts):
        tried = two_tiers.explore(lambda effort: {"recall": recall(*effort.split(":")), "qps": 1}, facts)
        return [p["effort"] for p in tried]

    def test_more_is_tried_while_recall_grows(self):
        most = {1: 0.5, 2: 0.9, 4: 0.9, 8: 0.9}
        facts = {"efforts": [1, 2, 4, 8], "seconds": [], "chosen": []}
        self.assertEqual(self.explored(lambda probes: most[int(probes)], facts), ["1", "2", "4"])
        self.assertEqual(self.explored(lambda probes: 1 - 0.1 / int(probes), facts), ["1", "2", "4", "8"])
        self.assertEqual(self.explored(lambda probes: 0.998, facts), ["1"])

    def test_what_is_set_beside_nprobe(self):
        facts = {"efforts": [1, 2], "seconds": [20, 40, 80, 160], "chosen": [0]}
        tried = self.explored(lambda probes, second: 0.4 * int(probes) + min(int(second), 40) / 1000, facts)
        self.assertEqual(tried, ["1:0", "2:0", "1:20", "2:20", "1:40", "2:40", "1:80", "2:80"])

    def test_table(self):
        curve = [{"recall": 0.94, "qps": 20000}, {"recall": 0.98, "qps": 5000}]
        made = {"code_bytes": 96, "file_bytes": 105000, "train_seconds": 3, "add_seconds": 1, "curve": curve}
        lines = two_tiers.table({"n": 1000, "indexes": {"VLC16b16+80": made}, "left_out": {"svs:": "no"}}).splitlines()
        self.assertEqual(lines[2], "| VLC16b16+80 | 96 | 105.0 | 4 | 20,000 | 14,142 | 8,409 | 7,071 | 5,000 |  | .9800 |")
        self.assertEqual(lines[-1], "Left out: svs: (no).")

    def test_queries_and_rows_are_cut(self):
        with tempfile.TemporaryDirectory() as out:
            made = data_files.folder_of(SIFT, pathlib.Path(out), most=2000, most_queries=10)
            base, queries = np.load(made / "base.npy"), np.load(made / "query.npy")
            self.assertEqual((len(base), len(queries)), (2000, 10))
            np.testing.assert_array_equal(np.load(made / "gt.npy")[:, :10], brute_force(base, queries, 10))
            self.assertEqual(data_files.folder_of(SIFT, pathlib.Path(out), most_queries=500), SIFT)


class Sizes(unittest.TestCase):
    def made(self, bytes_per_vector):
        """peers.vlc_index of files with the given sizes, and what it was asked for."""
        asked = []

        def make(data, lists, size, options):
            asked.append(size)
            return size, {"bytes_per_vector": bytes_per_vector(size)}
        return mock.patch.multiple(peers, vlc_index=make, shape=lambda data: (20000, 128)), asked

    def test_the_largest_that_is_no_larger(self):
        # beside the codes lies more or less by how many frames training took
        for beside in (lambda s: 8.3, lambda s: 8.3 + 3.2 * (s > 41), lambda s: 11.9 - 3.2 * (s > 41),
                       lambda s: 0, lambda s: 40.7):
            patch, asked = self.made(lambda s, beside=beside: s + beside(s))
            with patch:
                for limit in (53.2, 53.99, 54.0, 54.1):
                    asked.clear()
                    size, facts = peers.vlc_of_size(pathlib.Path("x"), 256, limit)
                    self.assertLessEqual(facts["bytes_per_vector"], limit)
                    self.assertGreater(size + 1 + beside(size + 1), limit)
                    self.assertLess(len(asked), 10)

    def test_codes_end_at_8_bits_a_dimension(self):
        patch, asked = self.made(lambda size: min(size, 130) + 8)
        with patch:
            self.assertEqual(peers.vlc_of_size(pathlib.Path("x"), 256, 500)[0], 130)
            self.assertEqual(len(asked), 1)
            self.assertEqual(peers.vlc_of_size(pathlib.Path("x"), 256, 130)[0], 122)

    def test_none(self):
        patch, _ = self.made(lambda size: size + 60)
        with patch, self.assertRaises(SystemExit):
            peers.vlc_of_size(pathlib.Path("x"), 256, 50)


class Kinds(unittest.TestCase):
    def test_each_can_be_made_again(self):
        for name in kinds.NAMES:
            with self.subTest(name):
                made, again, other = (kinds.make(name, 1200, 40, seed) for seed in (0, 0, 1))
                self.assertEqual(made.base.shape[0], 1200)
                self.assertEqual(made.queries.shape[1], made.base.shape[1])
                np.testing.assert_array_equal(made.base, again.base)
                np.testing.assert_array_equal(made.queries, again.queries)
                self.assertFalse(np.array_equal(made.base, other.base))
                if made.own is not None:
                    np.testing.assert_array_equal(made.base[made.own], made.queries)

    def test_large_numbers_do_not_hide_distances(self):
        for name in ("large_offset", "seconds_of_a_day", "mips_2"):
            kind = kinds.make(name, 500, 20)
            found = np.argsort(kinds.distances(kind, kind.base), axis=1, kind="stable")[:, :10]
            np.testing.assert_array_equal(found, brute_force(kind.base, kind.queries, 10, kind.inner_product))

    def test_ties_count_and_rows_count_once(self):
        exact = np.array([[3.0, 1, 2, 2, 5]])
        for labels, share in (((1, 2), 1), ((1, 3), 1), ((1, 1), 0.5), ((1, -1), 0.5), ((0, 4), 0), ((2, 3), 1)):
            self.assertEqual(kinds.hits(np.array([labels]), exact, k=2)[0], share)


class Sets(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.out = pathlib.Path(folder.name)

    def make(self, n=3000, d=24, dtype="float16"):
        arguments = argparse.Namespace(out=self.out, n=n, d=d, clusters=0, seed=1, dtype=dtype)
        self.assertTrue(synthetic.make(arguments))
        [made] = self.out.glob(f"synthetic-{n}x{d}-*-{dtype}")
        return made

    def test_neighbours_are_exact(self):
        rng = np.random.default_rng(1)
        for dtype in (np.uint8, np.float16):
            base = (rng.random((1500, 16)) * 100).astype(dtype)
            queries = (rng.random((20, 16)) * 100).astype(dtype)
            for inner_product in (False, True):
                found = exact_neighbours(base, queries, 100, block=400, inner_product=inner_product)
                np.testing.assert_array_equal(found, brute_force(base, queries, 100, inner_product))

    def test_the_same_seed_gives_the_same_vectors(self):
        first = (self.make() / "base.npy").read_bytes()
        (self.make() / "base.npy").unlink()
        self.assertEqual((self.make() / "base.npy").read_bytes(), first)

    def test_types_and_shapes(self):
        for dtype in ("float32", "uint8"):
            made = self.make(1000, 17, dtype)
            base = np.load(made / "base.npy")
            self.assertEqual((base.shape, base.dtype), ((1000, 17), dtype))
            self.assertEqual(np.load(made / "query.npy").shape, (1000, 17))
            self.assertEqual(np.load(made / "gt.npy").shape, (1000, 100))
            self.assertFalse(list(made.glob("*.part")))

    def test_derived_sets(self):
        source = self.make()
        for d in (10, 60):
            arguments = argparse.Namespace(out=self.out, source=source, n=500, d=d, ip=True)
            self.assertTrue(derive.make(arguments))
            made = self.out / f"{source.name}-500x{d}-ip"
            base, queries = np.load(made / "base.npy"), np.load(made / "query.npy")
            self.assertEqual(base.shape, (500, d))
            np.testing.assert_array_equal(np.load(made / "gt.npy")[:5], brute_force(base, queries[:5], 100, True))


class Worker(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.index = pathlib.Path(cls.folder.name) / "sift.vlc"
        subprocess.run([CLI, "index", "--emb", SIFT / "base.npy", "--m", "64", "--bytes", "16", "--iterations", "3",
                        "--out", cls.index], check=True, stdout=subprocess.DEVNULL,
                       env={**os.environ, "VLC_DEVICE": "reference"})

    def run_worker(self, *arguments):
        done = subprocess.run([WORKER, *map(str, arguments)], check=True, capture_output=True, text=True,
                              env={**os.environ, "VLC_DEVICE": "reference"})
        return json.loads(done.stdout)

    def test_search_agrees_with_eval(self):
        worker = peers.vlc_worker(self.index, SIFT)
        self.addCleanup(worker.close)
        self.assertEqual(worker.facts["n"], 20000)
        done = subprocess.run([CLI, "eval", "--idx", self.index, "--queries", SIFT / "query.npy", "--gt",
                               SIFT / "gt.npy", "--k", "10", "--nprobe", "4", "--runs", "1", "--json"],
                              check=True, capture_output=True, text=True)
        expected = json.loads(done.stdout)["results"][0]["recall"]["10"]
        for batch in (0, 1, 7):
            found = worker.search(4, 1, batch, 0.01)
            self.assertAlmostEqual(found["recall"], expected, places=5)
            self.assertGreater(found["qps"], 0)

    def test_add_fills_the_index_again(self):
        found = self.run_worker("add", "--idx", self.index, "--emb", SIFT / "base.npy", "--block", 7000)
        self.assertEqual(found["n"], 20000)
        self.assertGreaterEqual(found["peak"], found["grown"])

    def test_train_writes_anchors(self):
        out = pathlib.Path(self.folder.name) / "anchors.npy"
        found = self.run_worker("train", "--emb", SIFT / "base.npy", "--m", 32, "--iterations", 4, "--out", out)
        self.assertEqual(found["iterations"], 4)
        anchors = np.load(out).astype(np.float64)
        base = np.load(SIFT / "base.npy")[:2000].astype(np.float64)
        energy = ((base[:, None] - anchors[None]) ** 2).sum(axis=2).min(axis=1).mean()
        self.assertLess(energy, 0.8 * ((base - base.mean(axis=0)) ** 2).sum(axis=1).mean())


if __name__ == "__main__":
    unittest.main()
