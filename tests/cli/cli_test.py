"""The command from outside: every subcommand, bad input, and that nothing depends on the device."""

import json
import os
import resource
import shutil
import subprocess
import tempfile
import unittest

import numpy as np

from cli_fixture import CLI as VLC, FOLDER, SANITIZED, SIFT, at, tiers

BASE, QUERY, GT = (os.path.join(SIFT, name + ".npy") for name in ("base", "query", "gt"))
N = len(np.load(BASE, mmap_mode="r"))


def setUpModule():
    global BASE, GT, N
    unittest.addModuleCleanup(shutil.rmtree, FOLDER)
    if SANITIZED:  # less to do
        base, query = np.load(BASE)[:4000].astype(np.float32), np.load(QUERY).astype(np.float32)
        truth = np.argsort((base**2).sum(1) - 2 * query @ base.T, axis=1, kind="stable")[:, :100]
        BASE, GT, N = at("base.npy"), at("gt.npy"), len(base)
        np.save(BASE, base.astype(np.uint8))
        np.save(GT, truth.astype(np.int32))


def fvecs(path, x):
    x = np.asarray(x, "<f4")
    head = np.full((len(x), 1), x.shape[1], "<i4").view("<f4")
    np.hstack([head, x]).tofile(path)


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def path(self, name):
        return os.path.join(self.folder, name)

    def vlc(self, *args, code=0, env=None):
        run = subprocess.run(
            [VLC, *map(str, args)], capture_output=True, text=True, timeout=200, env={**os.environ, **(env or {})}
        )
        self.assertEqual(run.returncode, code, f"{args}: {run.stdout}{run.stderr}")
        return run

    def json(self, *args, **more):
        return json.loads(self.vlc(*args, "--json", **more).stdout)

    def index(self, name, *args, emb=None, m=64, size=18, **more):
        out = self.path(name)
        self.vlc("index", "--emb", emb or BASE, "--m", m, "--bytes", tiers(size), "--iterations", 6, "--out", out, *args, **more)
        return out

    def bytes(self, path):
        with open(path, "rb") as f:
            return f.read()


class Works(Case):
    def test_index_eval_search_decode_info_verify(self):
        out = self.path("a.vlc")
        made = self.json("index", "--emb", BASE, "--m", 64, "--bytes", tiers(32), "--out", out)
        self.assertEqual(made["n"], N)
        self.assertEqual(made["file_bytes"], os.path.getsize(out))
        met = self.json("eval", "--idx", out, "--queries", QUERY, "--gt", GT, "--k", 10, "--nprobe", "1,8,64")
        recall = [r["recall"]["10"] for r in met["results"]]
        self.assertEqual(sorted(recall), recall)
        self.assertGreater(recall[-1], 0.8)
        same = self.json("eval", "--idx", out, "--queries", QUERY, "--emb", BASE, "--k", 10, "--nprobe", "64")
        self.assertAlmostEqual(same["results"][0]["recall"]["10"], recall[-1], delta=0.002)
        plain = self.json("eval", "--idx", out, "--queries", QUERY, "--k", 10)
        self.assertIn("decoded", plain["truth"])

        labels, distances = self.path("l.npy"), self.path("d.npy")
        self.vlc("search", "--idx", out, "--queries", QUERY, "--k", 5, "--out", labels, "--distances", distances)
        l, d = np.load(labels), np.load(distances)
        self.assertEqual((l.shape, l.dtype, d.shape), ((500, 5), np.int64, (500, 5)))
        self.assertTrue((np.diff(d, axis=1) >= 0).all())
        self.vlc("search", "--idx", out, "--queries", QUERY, "--k", 5, "--out", self.path("l.ivecs"))
        rows = np.fromfile(self.path("l.ivecs"), "<i4").reshape(500, 6)
        np.testing.assert_array_equal(rows[:, 1:], l)
        on_device, its_distances = self.path("device.npy"), self.path("device_d.npy")
        self.vlc("search", "--idx", out, "--queries", QUERY, "--k", 5, "--out", on_device,
                 "--distances", its_distances, "--search-device", "opencl:")
        np.testing.assert_array_equal(np.load(on_device), l)
        np.testing.assert_array_equal(np.load(its_distances), d)

        self.vlc("decode", "--idx", out, "--out", self.path("x.npy"))
        decoded, base = np.load(self.path("x.npy")), np.load(BASE).astype(np.float32)
        self.assertEqual(decoded.shape, base.shape)
        error = ((decoded - base) ** 2).sum() / ((base - base.mean(0)) ** 2).sum()
        self.assertLess(error, 0.2)
        self.vlc("decode", "--idx", out, "--out", self.path("x.fvecs"))
        rows = np.fromfile(self.path("x.fvecs"), "<f4").reshape(N, 129)
        np.testing.assert_array_equal(rows[:, 1:], decoded)

        info = self.json("info", "--idx", out)
        self.assertEqual(info["n"], N)
        held = info["held_out"]
        # of a part of the base, so a little more than of the whole
        self.assertAlmostEqual(held["recall_all_lists"], recall[-1], delta=0.08)
        self.assertLessEqual(held["recall"], held["recall_exact_order"])
        self.assertEqual((held["neighbours"], held["nprobe"]), (10, info["nprobe"]))
        self.assertEqual((info["added"]["rows"], info["added"]["outside"] < N / 50), (N, True))
        text = self.vlc("info", "--idx", out).stdout
        self.assertRegex(text, rf"(?m)^recall@10  {held['recall']:.3f}  to expect with nprobe {held['nprobe']}, ")
        self.assertRegex(text, rf"(?m)^ +{held['recall_all_lists']:.3f}  with all lists probed")
        self.assertRegex(text, rf"\({held['queries']} held-out vectors among {held['base']} of the sample")
        self.assertRegex(text, rf"(?m)^added +{N} vectors, ")
        self.vlc("verify", "--idx", out)
        self.assertIn("reference", self.vlc("info", "--devices").stdout)
        levels = json.loads(self.vlc("info", "--devices", "--json").stdout)
        self.assertIn(levels["simd"], levels["simd_levels"])
        self.assertIn("portable", levels["simd_levels"])
        self.assertIn(levels["simd"], self.vlc("info", "--devices").stdout)

    def test_mapped_search(self):
        out, found = self.path("two.vlc"), {}
        self.vlc("index", "--emb", BASE, "--factory", "VLC64b16+40", "--out", out)
        for mapped in (None, "none", "second", "all"):
            labels, distances = self.path(f"{mapped}.npy"), self.path(f"{mapped}_d.npy")
            self.vlc("search", "--idx", out, "--queries", QUERY, "--k", 5, "--out", labels, "--distances", distances,
                     *(["--mmap", mapped] if mapped else []))
            found[mapped] = self.bytes(labels) + self.bytes(distances)
        self.assertEqual(len(set(found.values())), 1)
        wrong = self.vlc("search", "--idx", out, "--queries", QUERY, "--out", self.path("l.npy"), "--mmap", "first",
                         code=2)
        self.assertIn("expected none|second|all, got first", wrong.stderr)

    def test_two_tiers(self):
        one, two, factory = self.path("one.vlc"), self.path("two.vlc"), self.path("factory.vlc")
        common = ["--iterations", 6, "--out"]
        self.vlc("index", "--emb", BASE, "--m", 64, "--bytes", 16, *common, one)
        made = self.json("index", "--emb", BASE, "--m", 64, "--bytes", "16+67", *common, two)
        self.assertEqual((made["code_bytes"], made["second_code_bytes"]), (83, 67))
        self.vlc("index", "--emb", BASE, "--factory", "VLC64b16+67", *common, factory)
        self.assertEqual(self.bytes(factory), self.bytes(two))
        by_bits = self.path("bits.vlc") # 14 and 64 bytes, and factors
        self.vlc("index", "--emb", BASE, "--m", 64, "--bits", "0.875+4", *common, by_bits)
        code = self.json("info", "--idx", by_bits)["code"]
        self.assertEqual((code["bytes"], code["first_bytes"], code["second"]["bytes"]), (83, 16, 67))

        recall = [self.json("eval", "--idx", index, "--queries", QUERY, "--gt", GT, "--k", 10, "--nprobe", "64")
                  ["results"][0]["recall"]["10"] for index in (one, two)]
        self.assertGreater(recall[1], recall[0] + 0.2)
        self.assertGreater(recall[1], 0.9)

        on_device = ("--queries", QUERY, "--k", 10, "--search-device", "opencl:")
        self.assertEqual(self.json("eval", "--idx", two, "--gt", GT, *on_device)["refined_on"], "opencl:")
        self.assertNotIn("refined_on", self.json("eval", "--idx", one, "--gt", GT, *on_device))
        for mapped, where in (("none", "opencl:"), ("second", "reference")):
            met = self.json("search", "--idx", two, *on_device, "--mmap", mapped, "--out", self.path(f"{mapped}.npy"))
            self.assertEqual(met["refined_on"], where)
        self.assertEqual(self.bytes(self.path("none.npy")), self.bytes(self.path("second.npy")))

        info = self.json("info", "--idx", two)
        self.assertEqual((info["code"]["bytes"], info["code"]["first_bytes"]), (83, 16))
        second = info["code"]["second"]
        self.assertEqual((second["bytes"], second["bits_per_dimension"]), (67, (67 - second["factor_bytes"]) / 16))
        self.assertTrue(10 <= second["refined_usual"] <= second["refined"] <= second["refined_base"])
        self.assertAlmostEqual(info["held_out"]["recall_all_lists"], recall[1], delta=0.05)
        text = self.vlc("info", "--idx", two).stdout
        self.assertRegex(text, r"(?m)^code       16 bytes with 2 of factors, ")
        self.assertRegex(text, rf"(?m)^second     67 bytes with {second['factor_bytes']} of factors; .*orders "
                         rf"{second['refined']} for 10 results among \d+ anew, "
                         rf"{second['refined_usual']} with the default nprobe")
        self.assertNotIn("second", self.json("info", "--idx", one)["code"])
        sections = {section["name"]: section["bytes"] for section in info["sections"]}
        self.assertEqual(sections["seconds"], 67 * N)
        self.vlc("verify", "--idx", two)

        warned = self.vlc("index", "--emb", BASE, "--m", 16, "--bytes", "16+999", *common, self.path("much.vlc"))
        self.assertRegex(warned.stderr, r"16\+999 bytes are more than 8 bits a dimension need: using 16\+13\d")

    def test_default_m_formats_and_inner_product(self):
        x = np.load(BASE)[:3000].astype(np.float32)
        fvecs(self.path("x.fvecs"), x)
        x.tofile(self.path("x.bin"))
        one = self.path("one.vlc")
        self.vlc("index", "--emb", self.path("x.fvecs"), "--out", one, "--metric", "ip")
        two = self.path("two.vlc")
        self.vlc(
            "index", "--emb", self.path("x.bin"), "--d", 128, "--dtype", "float32", "--out", two, "--metric", "ip"
        )
        self.assertEqual(self.bytes(one), self.bytes(two))
        info = self.json("info", "--idx", one)
        self.assertEqual(info["metric"], "ip")

    def test_k_beyond_the_vectors_is_padded(self):
        x = self.path("x.npy")
        np.save(x, np.load(BASE)[:40].astype(np.float32))
        out = self.index("small.vlc", emb=x, m=2)
        self.vlc("search", "--idx", out, "--queries", x, "--k", 50, "--nprobe", 2, "--out", self.path("l.npy"))
        labels = np.load(self.path("l.npy"))
        self.assertTrue((labels[:, 40:] == -1).all() and (labels[:, :40] >= 0).all())

    def test_memory_stays_far_below_a_large_file(self):
        train, large = self.path("train.npy"), self.path("large.bin")
        base = np.load(BASE)
        np.save(train, base[:4000])
        copies = 12  # 12 x 20000 x 128 float32: 123 MB
        with open(large, "wb") as f:
            for _ in range(copies):
                f.write(base.astype("<f4").tobytes())
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        small = self.path("small.bin")
        base[:2000].astype("<f4").tofile(small)
        args = ["--train", train, "--d", 128, "--dtype", "float32", "--m", 32, "--bytes", 10, "--out"]
        peaks = []
        for emb in (small, large):
            code = (
                "import resource,subprocess,sys;"
                "subprocess.run(sys.argv[1:],check=True,stdout=subprocess.DEVNULL);"
                "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
            )
            command = ["/usr/bin/env", "python3", "-c", code, VLC, "index", "--emb", emb, *map(str, args)]
            run = subprocess.run(command + [self.path("x.vlc")], capture_output=True, text=True, timeout=200)
            self.assertEqual(run.returncode, 0, run.stderr)
            peaks.append(int(run.stdout) * 1024)
        self.assertGreaterEqual(before, 0)
        if not SANITIZED:  # they take memory of their own
            self.assertLess(peaks[1] - peaks[0], os.path.getsize(large) / 2, peaks)


class TrainQueries(Case):
    def test_they_change_the_index(self):
        queries = self.path("queries.npy")
        np.save(queries, np.load(QUERY).astype("float32") + 300)
        plain, told = self.index("a.vlc"), self.index("b.vlc", "--train-queries", queries)
        self.assertNotEqual(self.bytes(plain), self.bytes(told))
        self.assertEqual(self.bytes(told), self.bytes(self.index("c.vlc", "--train-queries", queries, "--threads", 1)))

    def test_faults(self):
        bad = np.ones((3, 128), "float32")
        bad[2, 5] = np.nan
        for rows, expected in ((bad, "finite"), (bad[:, :100], "100"), (bad[:0], "")):
            np.save(self.path("bad.npy"), rows)
            run = subprocess.run([VLC, "index", "--emb", BASE, "--m", "64", "--bytes", "18", "--train-queries",
                                  self.path("bad.npy"), "--out", self.path("x.vlc")], capture_output=True, text=True)
            self.assertNotEqual(run.returncode, 0)
            self.assertIn("bad.npy", run.stderr)
            self.assertIn(expected, run.stderr)
            self.assertFalse(os.path.exists(self.path("x.vlc")))


class Identity(Case):
    def test_device_threads_and_work_group_do_not_matter(self):
        expected = self.bytes(self.index("a.vlc", "--device", "reference"))
        for i, args in enumerate(
            (
                ["--device", "opencl:"],
                ["--device", "opencl:", "--work-group", 128],
                ["--device", "opencl:", "--work-group", 256, "--threads", 1],
                ["--device", "reference", "--threads", 1],
            )
        ):
            self.assertEqual(self.bytes(self.index(f"{i}.vlc", *args)), expected, args)
        for level in ("portable", "avx2"):
            run = subprocess.run(
                [VLC, "index", "--emb", BASE, "--m", "64", "--bytes", str(tiers(18)), "--iterations", "6", "--out"]
                + [self.path("simd.vlc")],
                env={**os.environ, "VLC_SIMD": level},
                capture_output=True,
                text=True,
            )
            if run.returncode == 0:
                self.assertEqual(self.bytes(self.path("simd.vlc")), expected, level)
            else:
                self.assertIn("VLC_SIMD", run.stderr)
        run = subprocess.run(
            [VLC, "info", "--idx", self.path("simd.vlc")],
            env={**os.environ, "VLC_SIMD": "sse9"},
            capture_output=True,
            text=True,
        )
        self.assertEqual(run.returncode, 1)
        self.assertTrue(run.stderr.startswith("vlc: VLC_SIMD"), run.stderr)

    def test_checkpoint_and_resume(self):
        expected = self.bytes(self.index("whole.vlc"))
        point = self.path("state")
        again = self.bytes(self.index("again.vlc", "--checkpoint", point, "--every", 4))
        self.assertEqual(again, expected)
        self.assertEqual(self.bytes(self.index("resumed.vlc", "--resume", point)), expected)
        run = self.vlc("index", "--emb", BASE, "--m", 32, "--out", self.path("n.vlc"), "--resume", point, code=1)
        self.assertIn("another run", run.stderr)


class BadInput(Case):
    def fails(self, *args, code=(1, 2), says=""):
        before = sorted(os.listdir(self.folder))
        run = subprocess.run([VLC, *map(str, args)], capture_output=True, text=True, timeout=100)
        self.assertIn(run.returncode, code, f"{args}: {run.stdout}{run.stderr}")
        self.assertTrue(run.stderr.startswith("vlc: "), run.stderr)
        self.assertIn(says, run.stderr)
        self.assertEqual(sorted(os.listdir(self.folder)), before)

    def test_files(self):
        out = self.path("out.vlc")
        self.fails("index", "--emb", self.path("missing.npy"), "--out", out, says="missing.npy")
        open(self.path("empty.npy"), "wb").close()
        self.fails("index", "--emb", self.path("empty.npy"), "--out", out, says="empty.npy")
        with open(self.path("cut.npy"), "wb") as f:
            f.write(self.bytes(BASE)[:100000])
        self.fails("index", "--emb", self.path("cut.npy"), "--out", out, says="cut.npy")
        for value, name in ((np.nan, "nan.npy"), (np.inf, "inf.npy")):
            x = np.load(BASE)[:200].astype(np.float32)
            x[7, 3] = value
            np.save(self.path(name), x)
            self.fails("index", "--emb", self.path(name), "--m", 4, "--out", out, says=name)
        x.tofile(self.path("raw.bin"))
        self.fails("index", "--emb", self.path("raw.bin"), "--out", out, says="--d")
        self.fails("index", "--emb", BASE, "--m", 4, "--out", "/no/such/folder/x.vlc", says="/no/such/folder")

    def test_numbers_and_devices(self):
        out = self.path("out.vlc")
        self.fails("index", "--emb", BASE, "--m", 0, "--out", out, code=(2,))
        self.fails("index", "--emb", BASE, "--d", 0, "--out", out, code=(2,))
        self.fails("index", "--emb", BASE, "--bytes", -2, "--out", out, code=(2,))
        self.fails("index", "--emb", BASE, "--m", N + 1, "--out", out, says=str(N + 1))
        self.fails("index", "--emb", BASE, "--m", 4, "--device", "opencl:nothing like it", "--out", out)
        self.fails("index", "--emb", BASE, "--m", 4, "--device", "abacus", "--out", out, says="abacus")
        self.fails("nonsense", code=(2,))

    def test_indexes(self):
        good = self.index("good.vlc", "--device", "reference", m=16)
        with open(self.path("cut.vlc"), "wb") as f:
            f.write(self.bytes(good)[:-1000])
        damaged = bytearray(self.bytes(good))
        damaged[len(damaged) // 2] ^= 1
        with open(self.path("bad.vlc"), "wb") as f:
            f.write(damaged)
        for name in ("cut.vlc", "bad.vlc", "missing.vlc"):
            for command in (["verify"], ["info"], ["search", "--queries", QUERY, "--k", 1, "--out", self.path("o.npy")]):
                self.fails(command[0], "--idx", self.path(name), *command[1:], says=name)
        np.save(self.path("narrow.npy"), np.zeros((3, 5), np.float32))
        self.fails("search", "--idx", good, "--queries", self.path("narrow.npy"), "--k", 1, "--out", self.path("o.npy"))
        self.fails("search", "--idx", good, "--queries", QUERY, "--k", 0, "--out", self.path("o.npy"))
        self.fails("decode", "--idx", good, "--out", self.path("o.txt"))

    def test_duplicates_and_constants_work(self):
        np.save(self.path("same.npy"), np.tile(np.arange(16, dtype=np.float32), (500, 1)))
        out = self.index("same.vlc", emb=self.path("same.npy"), m=8, size=6)
        self.vlc("search", "--idx", out, "--queries", self.path("same.npy"), "--k", 3, "--out", self.path("l.npy"))
        self.vlc("decode", "--idx", out, "--out", self.path("x.npy"))
        np.testing.assert_allclose(np.load(self.path("x.npy"))[0], np.arange(16), atol=1e-3)

    def test_without_a_device_auto_uses_the_reference(self):
        x = self.path("x.npy")
        np.save(x, np.load(BASE)[:500])
        env = {"OCL_ICD_VENDORS": self.path("none"), "OPENCL_VENDOR_PATH": self.path("none")}
        made = self.json("index", "--emb", x, "--m", 4, "--out", self.path("o.vlc"), env=env)
        self.assertEqual(made["device"], "reference")


if __name__ == "__main__":
    unittest.main()
