"""The command vlc: every input format, decompression, streaming, and files that are always the same."""

import io
import json
import os
import subprocess
import unittest

import numpy as np

from cli_fixture import (
    CLI, D, M, N, SANITIZED, CliTest, at, base, index, make_data, pocl_device, query, read, read_vecs,
    result, succeed, tiers, truth, write, write_hdf5, write_vecs,
)


def setUpModule():
    make_data()


class Formats(CliTest):
    def test_every_format_gives_the_same_index(self):
        for dtype in (np.uint8, np.float32, np.float16, np.float64, np.int16, np.uint16):
            np.save(self.path(f"{dtype.__name__}.npy"), base.astype(dtype))
            base.astype(dtype).tofile(self.path(f"{dtype.__name__}.bin"))
        write_vecs(self.path("x.fvecs"), base.astype("<f4"))
        write_vecs(self.path("x.bvecs"), base)
        write_vecs(self.path("x.ivecs"), base.astype("<i4"))
        expected = read(at("index.vlc"))
        for name in sorted(os.listdir(self.folder)):
            raw = ["--d", D, "--dtype", name[:-4]] if name.endswith(".bin") else []
            index(self.path("out.vlc"), *raw, emb=self.path(name))
            self.assertEqual(read(self.path("out.vlc")), expected, name)
        signed = self.path("signed.npy")
        np.save(signed, (base.astype(int) - 128).astype(np.int8))
        self.assertEqual(index(self.path("out.vlc"), emb=signed)["n"], N)

    def test_bool_vectors_and_labels_of_any_integers(self):
        bits = self.path("bits.npy")
        np.save(bits, base > 20)
        np.save(self.path("floats.npy"), (base > 20).astype(np.float32))
        index(self.path("bits.vlc"), emb=bits)
        index(self.path("floats.vlc"), emb=self.path("floats.npy"))
        self.assertEqual(read(self.path("bits.vlc")), read(self.path("floats.vlc")))
        common = ["--idx", at("index.vlc"), "--queries", at("query.npy"), "--runs", 1, "--gt"]
        for dtype in (np.int16, np.uint16, np.uint32, np.uint64, np.int64):
            np.save(self.path("gt.npy"), truth.astype(dtype))
            found = result("eval", *common, self.path("gt.npy"))["results"][0]["recall"]
            self.assertEqual(found, result("eval", *common, at("gt.npy"))["results"][0]["recall"])

    def test_stdout_and_pipes_as_output(self):
        expected = read(at("index.vlc"))
        common = ["index", "--emb", at("base.npy"), "--m", M, "--bytes", tiers(32), "--out"]
        environment = {**os.environ, "VLC_DEVICE": "reference"}

        def run(*arguments, **more):
            command = [CLI] + [str(argument) for argument in arguments]
            return subprocess.run(command, env=environment, check=True, stderr=subprocess.PIPE, **more)

        for extra in ([], ["--json"], ["--verbose"]):
            for name in ("/dev/stdout", "/dev/fd/1"):
                done = run(*common, name, *extra, stdout=subprocess.PIPE)
                self.assertEqual(done.stdout, expected, extra)
                self.assertIn(name.encode(), done.stderr)  # the text
        self.assertEqual(json.loads(run(*common, "/dev/stdout", "--json", stdout=subprocess.PIPE).stderr)["n"], N)
        with open(self.path("log"), "wb") as file:  # what stands there stays
            file.write(b"head")
            file.flush()
            run(*common, "/dev/stdout", stdout=file)
        self.assertEqual(read(self.path("log")), b"head" + expected)
        self.assertEqual(run(*common, "/dev/null", stdout=subprocess.PIPE).stderr, b"")

        os.mkfifo(self.path("pipe.npy"))
        with subprocess.Popen(["cat", self.path("pipe.npy")], stdout=subprocess.PIPE) as reader:
            decode = [CLI, "decode", "--idx", at("index.vlc"), "--out", self.path("pipe.npy")]
            with subprocess.Popen(decode, env=environment, stdout=subprocess.DEVNULL) as writer:
                through_pipe = reader.stdout.read() # while it is written: a pipe holds little
            self.assertEqual(writer.returncode, 0)
        decoded = run("decode", "--idx", at("index.vlc"), "--out", "/dev/stdout", stdout=subprocess.PIPE).stdout
        self.assertEqual(np.load(io.BytesIO(decoded)).shape, (N, D))
        self.assertEqual(through_pipe, decoded)
        labels = run("search", "--idx", at("index.vlc"), "--queries", at("query.npy"), "--out", "/dev/stdout",
                     stdout=subprocess.PIPE).stdout
        self.assertEqual(np.load(io.BytesIO(labels)).shape, (len(query), 10))
        self.assert_fails(["search", "--idx", at("index.vlc"), "--queries", at("query.npy"),
                           "--out", "/dev/stdout", "--distances", "/dev/fd/1"], "one file at most")

    def test_hdf5(self):
        file = self.path("sift.hdf5")
        write_hdf5(
            file,
            train=base.astype(np.float32),
            test=query.astype(np.float32),
            neighbors=truth,
            other=base[:50].astype(np.float32),
        )
        index(self.path("a.vlc"), emb=file)
        self.assertEqual(read(self.path("a.vlc")), read(at("index.vlc")))
        common = ["--idx", self.path("a.vlc"), "--queries", file]
        measured = [
            result("eval", *common, *of, "--k", 10, "--runs", 1)["results"][0]["recall"]
            for of in (["--gt", file], ["--emb", file], ["--gt", at("gt.npy")])
        ]
        self.assertGreater(measured[0]["10"], 0.8)
        self.assertEqual(measured[1:], measured[:1] * 2)
        found = result(
            "search", *common, "--dataset", "other", "--k", 1, "--out", self.path("a.npy")
        )
        self.assertEqual(found["queries"], 50)
        self.assertGreater((np.load(self.path("a.npy"))[:, 0] == np.arange(50)).mean(), 0.9)
        self.assert_fails(
            ["search", *common, "--dataset", "none", "--out", self.path("a.npy")], file, "none"
        )

    def test_compress_and_decompress(self):
        for name in ("x.npy", "x.fvecs"):
            succeed("decode", "--idx", at("index.vlc"), "--out", self.path(name))
        decoded = np.load(self.path("x.npy"))
        self.assertEqual((decoded.dtype, decoded.shape), (np.float32, (N, D)))
        np.testing.assert_array_equal(read_vecs(self.path("x.fvecs"), "<f4"), decoded)
        error = ((decoded - base) ** 2).sum() / ((base - base.mean(0)) ** 2).sum()
        self.assertLess(error, 0.12)  # 30 bytes of codes for 128 dimensions
        # What came out goes in again, and its neighbours are still those of the originals.
        index(self.path("again.vlc"), emb=self.path("x.npy"))
        again = result(
            "eval",
            "--idx",
            self.path("again.vlc"),
            "--queries",
            at("query.npy"),
            "--gt",
            at("gt.npy"),
            "--k",
            10,
            "--nprobe",
            M,
            "--runs",
            1,
        )
        self.assertGreater(again["results"][0]["recall"]["10"], 0.75)

    @unittest.skipIf(SANITIZED, "sanitizers take memory of their own")
    def test_adding_streams(self):
        big = self.path("big.bin")
        with open(big, "wb") as file:
            for _ in range(600):
                file.write(base.tobytes())  # 307 MB, 1.2 GB as floats
        arguments = [
            "index",
            "--emb",
            big,
            "--d",
            D,
            "--dtype",
            "uint8",
            "--train",
            at("base.npy"),
            "--m",
            M,
            "--bytes",
            8,
            "--iterations",
            2,
            "--out",
            self.path("big.vlc"),
        ]
        with subprocess.Popen(
            [CLI] + [str(a) for a in arguments],
            env={**os.environ, "VLC_DEVICE": "reference"},
            stdout=subprocess.DEVNULL,
        ) as process:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        self.assertEqual(process.returncode, 0)
        self.assertLess(usage.ru_maxrss * 1024, os.path.getsize(big) * 0.6)
        self.assertEqual(result("info", "--idx", self.path("big.vlc"))["n"], 600 * N)


class SameFile(CliTest):
    """The file is the same, byte for byte, whatever made it."""

    def assert_same(self, *options, **environment):
        made = index(self.path("a.vlc"), *options, **environment)
        self.assertEqual(read(self.path("a.vlc")), read(at("index.vlc")), options)
        return made

    def test_devices_and_work_groups(self):
        for work_group in (64, 128, 256):
            made = self.assert_same("--device", "opencl:" + pocl_device(), "--work-group", work_group)
            self.assertIn(pocl_device(), made["device"])
        self.assertIn(pocl_device(), self.assert_same(VLC_DEVICE="auto")["device"])

    def test_several_devices(self):
        for device in ("opencl-all", "opencl-all:" + pocl_device()):
            made = self.assert_same(VLC_DEVICE=device, POCL_DEVICES="pthread pthread")
            self.assertTrue(made["device"].startswith("2 x " + pocl_device()), made["device"])

    def test_threads(self):
        for device in ("reference", "opencl:" + pocl_device()):
            for threads in (1, 2):
                self.assert_same("--threads", threads, "--device", device)

    def test_checkpoint_and_resume(self):
        checkpoint = self.path("state")
        self.assert_same("--checkpoint", checkpoint, "--every", 4) # the last one leaves three of 15 iterations
        self.assertEqual(sorted(os.listdir(self.folder)), ["a.vlc", "state"])
        resumed = [
            "index",
            "--emb",
            at("base.npy"),
            "--m",
            M,
            "--bytes",
            tiers(32),
            "--resume",
            checkpoint,
        ]
        lines = succeed(*resumed, "--verbose", "--out", self.path("b.vlc")).stdout
        self.assertRegex(lines, r"\Apace (usual|plain): .*\niteration 12:")
        self.assertEqual(read(self.path("b.vlc")), read(at("index.vlc")))
        self.assert_fails(resumed + ["--seed", 99, "--out", self.path("b.vlc")], checkpoint)
        write(checkpoint, read(checkpoint)[:-5])
        self.assert_fails(resumed + ["--out", self.path("b.vlc")], checkpoint)

    def test_dump(self):
        np.save(self.path("tiny.npy"), base[:10])
        succeed(
            "index",
            "--emb",
            self.path("tiny.npy"),
            "--m",
            2,
            "--iterations",
            2,
            "--dump",
            self.path("dump"),
            "--out",
            self.path("a.vlc"),
        )
        self.assertEqual(
            np.load(os.path.join(self.path("dump"), "iteration_0_label.npy")).shape, (10, 1)
        )


if __name__ == "__main__":
    unittest.main()
