"""bench.py's parts: files of vectors, filters, workers, tables, pictures, other projects' layouts; no PyPI.

VLC_CLI=build/release/vlc VLC_TEST_DATA=tests/data /usr/bin/python3 benchmarks/bench_test.py
"""

import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

import h5py
import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
CLI = pathlib.Path(os.environ.get("VLC_CLI", HERE.parent / "build/release/vlc")).resolve()
os.environ["VLC_BUILD"] = str(CLI.parent)

import answering  # noqa: E402
import bench  # noqa: E402
import check_instructions  # noqa: E402
import data_files  # noqa: E402
import peers  # noqa: E402

SIFT = pathlib.Path(os.environ.get("VLC_TEST_DATA", HERE.parent / "tests/data")) / "sift20k"
ENVIRONMENT = {**os.environ, "VLC_DEVICE": "reference"}


class Folder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.out = pathlib.Path(folder.name)


class Files(Folder):
    def rows(self, n, d=8, seed=1):
        return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)

    def test_hdf5_with_angles_becomes_inner_products_of_unit_vectors(self):
        base, queries = self.rows(300), self.rows(7, seed=2)
        with h5py.File(self.out / "some-8-angular.hdf5", "w") as file:
            file.attrs["distance"] = "angular"
            file["train"], file["test"] = base, queries
        made = data_files.folder_of(self.out / "some-8-angular.hdf5", self.out)
        self.assertEqual(data_files.metric_of(made), "inner product")
        np.testing.assert_allclose(np.linalg.norm(np.load(made / "base.npy"), axis=1), 1, rtol=1e-5)
        cosine = queries @ base.T / np.linalg.norm(base, axis=1)
        np.testing.assert_array_equal(np.load(made / "gt.npy")[:, 0], cosine.argmax(axis=1))

    def test_unknown_distances_are_refused(self):
        with h5py.File(self.out / "x.hdf5", "w") as file:
            file.attrs["distance"] = "jaccard"
            file["train"], file["test"] = self.rows(3), self.rows(1)
        with self.assertRaisesRegex(SystemExit, "jaccard"):
            data_files.folder_of(self.out / "x.hdf5", self.out)

    def test_fvecs(self):
        base, queries = self.rows(200), self.rows(5, seed=2)
        for name, rows in (("base", base), ("query", queries)):
            row = np.empty((len(rows), 9), dtype=np.float32)
            row[:, 0], row[:, 1:] = np.array([8], dtype=np.int32).view(np.float32), rows
            row.tofile(self.out / f"{name}.fvecs")
        made = data_files.folder_of(self.out / "base.fvecs", self.out, self.out / "query.fvecs")
        np.testing.assert_array_equal(np.load(made / "base.npy"), base)
        nearest = ((queries[:, None] - base) ** 2).sum(axis=2).argmin(axis=1)
        np.testing.assert_array_equal(np.load(made / "gt.npy")[:, 0], nearest)
        (self.out / "base.fvecs").write_bytes((self.out / "base.fvecs").read_bytes()[:-1])
        with self.assertRaisesRegex(SystemExit, "bytes met"):
            data_files.read_vecs(self.out / "base.fvecs")

    def test_filters_let_their_share_through_and_know_its_neighbours(self):
        made = data_files.folder_of(SIFT, self.out, most=4000)
        base, queries = np.load(made / "base.npy").astype(float), np.load(made / "query.npy").astype(float)
        for share, (bits, truth) in data_files.filters_of(made, self.out).items():
            passing = np.flatnonzero(np.unpackbits(np.load(bits)[0], bitorder="little")[:4000])
            self.assertAlmostEqual(len(passing), 40 * share, delta=1)
            found = np.load(truth)
            self.assertTrue(np.isin(found, passing).all())
            nearest = passing[((queries[0] - base[passing]) ** 2).sum(axis=1).argmin()]
            self.assertEqual(found[0, 0], nearest)


class Answers(Folder):
    def test_a_workers_filter_finds_what_passes(self):
        made = data_files.folder_of(SIFT, self.out, most=4000)
        index = self.out / "x.vlc"
        subprocess.run([CLI, "index", "--emb", made / "base.npy", "--m", "16", "--bytes", "64", "--iterations", "3",
                        "--out", index], check=True, stdout=subprocess.DEVNULL, env=ENVIRONMENT)
        bits, truth = data_files.filters_of(made, self.out)[10]
        worker = peers.vlc_worker(index, made, "--filter", f"ten,{bits},{truth}", "--save", self.out / "y.vlc")
        self.addCleanup(worker.close)
        self.assertEqual((self.out / "y.vlc").read_bytes(), index.read_bytes())
        for key in ("open_seconds", "save_seconds", "grown"):
            self.assertGreaterEqual(worker.facts[key], 0)
        self.assertGreater(worker.search(16, 1, 0, 0, 10, "ten")["recall"], 0.85)
        alone = worker.search(16, 1, 1, 0.02, 1)
        self.assertGreaterEqual(alone["p99_us"], alone["p50_us"])

    def test_python_workers_serve_the_same_protocol(self):
        class Exact:
            def prepare(self, effort, threads, k, bits):
                def run(first, count):
                    self.labels[first:first + count] = truth[first:first + count, ::-1][:, :k]
                return run
        truth = np.arange(40).reshape(4, 10)
        with mock.patch("sys.stdout", new_callable=io.StringIO) as out:
            answering.serve(Exact(), np.zeros((4, 2)), {"all": (None, truth)},
                            ["8 1 0 0", "8 1 1 0.01 5", "8 2 3 0 1 all"])
        answers = [json.loads(line) for line in out.getvalue().splitlines()]
        self.assertEqual([a["recall"] for a in answers], [1, 0, 0])
        self.assertEqual(["p50_us" in a for a in answers], [False, True, False])


def invented():
    """A result as bench.py writes it."""
    def curves(scale):
        points = [{"effort": e, "recall": r, "qps": scale * q} for e, r, q in ((1, 0.4, 100), (8, 0.8, 50))]
        single = [{**p, "p50_us": 5.0, "p99_us": 9.0} for p in points]
        return {**{plan: points for plan in ("one-batch-1", "one-batch-10", "one-batch-100", "all-batch-10", "filter-1",
                                             "filter-10", "filter-50")}, "one-single-10": single}
    indexes = [{"name": name, "file_bytes": 40, "resident_bytes": 44, "train_seconds": 1, "curves": curves(scale)}
               for name, scale in (("IndexVLC", 70), ("PQ32", 10))]
    machine = {"cpu": "A CPU (family 1)", "flags": ["avx2"], "cores": 2, "memory_gib": 4, "commit": "abc", "date": "today"}
    return {"kind": "bench", "set": "invented", "n": 1000, "d": 128, "metric": "L2", "lists": 16, "versions": {"x": "1"},
            "left_out": {"svs": "no"}, "machine": machine, "command": "benchmarks/bench.py",
            "classes": {"32 B": {"others": 0.1, "commit": "abc", "date": "today", "indexes": indexes}}}


def invented_kinds():
    """A result as kinds_bench.py writes it: two seeds of one kind, and one that IVFPQ is better at."""
    def answers(*pairs, size=16):
        return {str(seed): {"all": every, "4": few, "decoded": every, "bytes": size, "faiss": "1.2.3"}
                for seed, (every, few) in enumerate(pairs)}
    facts = {"d": 64, "lists": 64, "bytes": 16, "metric": "L2"}
    rows = {"even": {**facts, "indexes": {"IndexVLC": answers((0.5, 0.3), (0.7, 0.5)), "IVFPQ": answers((0.604, 0.405)),
                                          "RaBitQ": answers((0.2, 0.1), size=24)}},
            "worse": {**facts, "indexes": {"IndexVLC": answers((0.5, 0.4)), "IVFPQ": answers((0.5, 0.42)),
                                           "by queries": answers((0.8, 0.6)), "OPQ": {"0": {"left_out": "no such"}}}}}
    return {"kind": "kinds", "n": 1000, "queries": 10, "machine": invented()["machine"],
            "command": "benchmarks/kinds_bench.py", "rows": rows}


def invented_two_tiers():
    """A result as two_tiers.py writes it."""
    def made(code_bytes, *curve):
        return {"code_bytes": code_bytes, "file_bytes": 50000, "train_seconds": 1, "add_seconds": 2,
                "curve": [{"effort": str(i), "recall": recall, "qps": qps} for i, (recall, qps) in enumerate(curve)]}
    return {"kind": "two-tiers", "set": "invented", "n": 1000, "d": 128, "lists": 16, "single": False,
            "left_out": {"svs:": "no"}, "machine": invented()["machine"], "command": "benchmarks/two_tiers.py",
            "indexes": {"VLC16b16+80": made(96, (0.75, 9000), (0.94, 4000), (0.96, 1000)), "hnswlib:": made(None, (0.9, 500))}}


class Reports(Folder):
    def test_two_tiers(self):
        (self.out / "two-tiers-invented.json").write_text(json.dumps(invented_two_tiers()))
        for script, target in (("report.py", self.out / "R.md"), ("plots.py", self.out / "plots")):
            subprocess.run([sys.executable, HERE / script, self.out, "--out", target], check=True,
                           stdout=subprocess.DEVNULL)
        text = (self.out / "R.md").read_text()
        self.assertRegex(text, r"\| VLC16b16\+80 \| 96 \| 50\.0 \| 3 \| 4,\d+ \| 2,000 \| +\|")
        self.assertIn("Left out: svs: (no)", text)
        self.assertEqual((self.out / "plots" / "two-tiers.png").read_bytes()[:4], b"\x89PNG")

    def test_ranking(self):
        row = {"nprobe": 8, "share": 0.62, "effort": 64, "graph_share": 0.6, "us": 10, "graph_us": 45, "us_alone": 20, "graph_us_alone": 50}
        result = {"kind": "ranking", "set": "invented", "n": 1000, "d": 128, "lists": 16384, "faiss": "1.15.1", "rows": [row],
                  "machine": invented()["machine"], "command": "benchmarks/ranking_bench.py"}
        (self.out / "ranking-invented.json").write_text(json.dumps(result))
        subprocess.run([sys.executable, HERE / "report.py", self.out, "--out", self.out / "R.md"], check=True)
        self.assertIn("| invented: 1,000 x 128 | 16,384 | 8 | .620 | .600 | 10.0 | 45.0 | 4.5 | 20.0 | 50.0 | 2.5 |",
                      (self.out / "R.md").read_text())

    def test_kinds(self):
        (self.out / "kinds.json").write_text(json.dumps(invented_kinds()))
        for script, target in (("report.py", self.out / "R.md"), ("plots.py", self.out / "plots")):
            subprocess.run([sys.executable, HERE / script, self.out, "--out", target], check=True,
                           stdout=subprocess.DEVNULL)
        text = (self.out / "R.md").read_text()
        self.assertIn("On 1 of 2 kinds", text)
        self.assertIn("| worse | .500 / .500 | .400 / .420 | .800, .600 |", text)
        self.assertIn("| even | L2 | 64, 64, 16 B | .600 / .400 |  | .604 / .405 |  |  | .200 / .100 (24 B) | .600 |", text)
        self.assertIn("Left out: OPQ on worse (no such)", text)
        self.assertEqual((self.out / "plots" / "kinds.png").read_bytes()[:4], b"\x89PNG")

    def test_tables_and_pictures(self):
        (self.out / "bench-invented.json").write_text(json.dumps(invented()))
        for script, target in (("report.py", self.out / "R.md"), ("plots.py", self.out / "plots")):
            subprocess.run([sys.executable, HERE / script, self.out, "--out", target], check=True,
                           stdout=subprocess.DEVNULL)
        text = (self.out / "R.md").read_text()
        self.assertNotIn("disturbed, times", text)
        self.assertIn("| IndexVLC | 40.0 | 3.6k |", text)
        self.assertLess(text.index("| invented | 32 B | IndexVLC | 40 |"), text.index("## How to read the tables"))
        self.assertIn("Left out: svs (no)", text)
        for name in ("recall-qps-invented", "recall-bytes", "gpu"):
            self.assertEqual((self.out / "plots" / f"{name}.png").read_bytes()[:4], b"\x89PNG")

    def test_gpu_figures_are_those_of_the_page(self):
        page = (HERE / "GPU.md").read_text()
        for d, m, wgmma, *_ in json.loads((HERE / "gpu.json").read_text())["rows"]:
            self.assertRegex(page, rf"\| {d} \| {m} \| {str(wgmma).removeprefix('0')}\d* ")

    def test_classes_fit_the_dimensions(self):
        for size, wanted in bench.classes_of(SIFT).items():
            for peer in wanted:
                if peer.startswith("PQ") and "x4" not in peer:
                    self.assertEqual(size, f"{peer[2:]} B")


class Instructions(unittest.TestCase):
    def test_more_than_5_percent_fails(self):
        known = {"scan avx2": 1000}
        self.assertTrue(check_instructions.compare(known, {"scan avx2": 1049})[1])
        self.assertFalse(check_instructions.compare(known, {"scan avx2": 1051})[1])
        self.assertTrue(check_instructions.compare(known, {"scan avx2": 500})[1])
        self.assertFalse(check_instructions.compare(known, {"new": 1})[1])

    def test_a_count_of_nothing_is_an_error(self):
        self.assertEqual(check_instructions.total("x\nsummary: 12 3\n"), 12)
        with self.assertRaises(SystemExit):
            check_instructions.total("summary: 0\n")


@unittest.skipUnless((CLI.parent / "python" / "faiss_vlc").is_dir() and sys.executable == "/usr/bin/python3",
                     "needs the Python package")
class OtherProjects(Folder):
    def test_results_read_back(self):
        made = data_files.folder_of(SIFT, self.out, most=3000)
        subprocess.run([sys.executable, HERE / "hdf5_results.py", made, "--lists", "16", "--bytes", "32", "--nprobe",
                        "1,16", "--out", self.out], check=True, stdout=subprocess.DEVNULL,
                       env={**ENVIRONMENT, "PYTHONPATH": str(CLI.parent / "python")})
        truth = np.load(made / "gt.npy")[:, :10]
        base, queries = np.load(made / "base.npy").astype(float), np.load(made / "query.npy").astype(float)
        exact = np.sqrt(((queries - base[truth[:, 9]]) ** 2).sum(axis=1))  # ann-benchmarks counts what is no farther

        def recall(group):
            self.assertEqual(group["neighbors"].shape, (500, 10))
            self.assertEqual(group["times"].shape, (500,))
            self.assertEqual(group.attrs["algo"], "faiss-vlc")
            return (np.array(group["distances"]) <= exact[:, None] + 1e-3).mean()

        found = sorted((self.out / "ann_benchmarks/results/sift20k-3000/10/faiss-vlc").glob("*.hdf5"))
        self.assertEqual([path.name for path in found], ["euclidean_16_32_1.hdf5", "euclidean_16_32_16.hdf5"])
        recalls = []
        for path in found:
            with h5py.File(path, "r") as file:
                self.assertFalse(file.attrs["batch_mode"])
                recalls.append(recall(file))
        self.assertLess(recalls[0], recalls[1])
        self.assertGreater(recalls[1], 0.8)
        with h5py.File(self.out / "vibe/results/sift20k-3000/10/faiss-vlc/euclidean_16_32.hdf5", "r") as file:
            self.assertEqual(sorted(file), ["1", "16"])
            self.assertEqual([recall(file["1"]), recall(file["16"])], recalls)


if __name__ == "__main__":
    unittest.main()
