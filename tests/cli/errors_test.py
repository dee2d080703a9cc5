"""Bad input to the command vlc: a clear error, the right exit code, nothing lost or left behind."""

import os
import signal
import subprocess
import unittest

import numpy as np

from cli_fixture import CLI, N, SIFT, CliTest, at, base, make_data, read, succeed, truth, write, write_vecs


def setUpModule():
    make_data()


class BadInput(CliTest):
    def emb(self, name):
        return ["index", "--emb", self.path(name), "--m", 4, "--out", self.path("out.vlc")]

    def save(self, name, array):
        np.save(self.path(name), array)
        return self.path(name)

    def test_files_of_vectors(self):
        self.assert_fails(self.emb("missing.npy"), "missing.npy")
        write(self.path("empty.npy"), b"")
        write(self.path("cut.npy"), read(at("base.npy"))[:-1])
        write(self.path("header.npy"), read(at("base.npy"))[:40])
        write_vecs(self.path("whole.fvecs"), base[:9].astype("<f4"))
        write(self.path("cut.fvecs"), read(self.path("whole.fvecs"))[:-1])
        write(self.path("text.npy"), b"no numbers at all\n" * 100)
        write(self.path("fake.h5"), b"no HDF5\n" * 100)
        self.save("none.npy", base[:0])
        self.save("flat.npy", base[0])
        self.save("quad.npy", base.astype(np.longdouble))
        for name in (
            "empty.npy",
            "cut.npy",
            "header.npy",
            "cut.fvecs",
            "text.npy",
            "fake.h5",
            "none.npy",
            "flat.npy",
            "quad.npy",
        ):
            self.assert_fails(self.emb(name), self.path(name))
        self.assert_fails(self.emb("."), self.path("."), codes=(1, 2))
        # What NumPy can hold and we cannot is named, with a way out.
        for name, array, mentions in (
            ("quad.npy", base.astype(np.longdouble), ("float128", "x.astype('float32')")),
            ("complex.npy", base.astype(np.complex64), ("complex64", "x.real")),
            ("text.npy", base.astype(str), ("strings", "x.astype('float32')")),
            ("long.npy", base.astype(np.int64), ("int64", "labels", "x.astype('float32')")),
            ("beyond.npy", base * 1e300, ("row 0, column", "float32")),
            ("order.npy", np.asfortranarray(base), ("Fortran", "ascontiguousarray")),
            ("big.npy", base.astype(">f4"), ("little-endian", "x.astype('<f4')")),
        ):
            self.save(name, array)
            self.assert_fails(self.emb(name), self.path(name), *mentions)
        np.savez(self.path("several.npz"), base=base)
        for arguments in (
            self.emb("several.npz"),
            ["eval", "--idx", at("index.vlc"), "--queries", self.path("several.npz")],
            ["eval", "--idx", at("index.vlc"), "--queries", at("query.npy"),
             "--gt", self.path("several.npz")],
        ):
            self.assert_fails(arguments, "several.npz", ".npz", "numpy.save")
        self.assert_fails(self.emb("none.bin"), "none.bin", "No such file")
        write(self.path("raw.bin"), b"x" * 1001)
        self.assert_fails(self.emb("raw.bin"), "--d", codes=(1, 2))
        self.assert_fails(self.emb("raw.bin") + ["--d", 10], "--dtype", codes=(1, 2))
        self.assert_fails(
            self.emb("raw.bin") + ["--d", 10, "--dtype", "uint8"], self.path("raw.bin")
        )

    def test_values_that_are_not_finite(self):
        for value in (np.nan, np.inf, -np.inf):
            bad = base.astype(np.float32)
            bad[N - 3, 5] = value
            self.save("bad.npy", bad)
            for arguments in (
                self.emb("bad.npy"),
                [
                    "index",
                    "--emb",
                    at("base.npy"),
                    "--train",
                    self.path("bad.npy"),
                    "--m",
                    4,
                    "--out",
                    self.path("out.vlc"),
                ],
                [
                    "index",
                    "--emb",
                    self.path("bad.npy"),
                    "--train",
                    at("base.npy"),
                    "--m",
                    4,
                    "--out",
                    self.path("out.vlc"),
                ],
                [
                    "search",
                    "--idx",
                    at("index.vlc"),
                    "--queries",
                    self.path("bad.npy"),
                    "--out",
                    self.path("out.npy"),
                ],
                ["eval", "--idx", at("index.vlc"), "--queries", self.path("bad.npy")],
            ):
                self.assert_fails(arguments, self.path("bad.npy"), f"row {N - 3}", "column 5")

    def test_dimensions(self):
        self.save("narrow.npy", base[:, :64])
        self.assert_fails(self.emb("narrow.npy") + ["--d", 128], self.path("narrow.npy"), 64, 128)
        self.assert_fails(
            [
                "index",
                "--emb",
                at("base.npy"),
                "--train",
                self.path("narrow.npy"),
                "--out",
                self.path("out.vlc"),
            ],
            self.path("narrow.npy"),
            64,
            128,
        )
        for command in (["search", "--out", self.path("out.npy")], ["eval"]):
            self.assert_fails(
                command + ["--idx", at("index.vlc"), "--queries", self.path("narrow.npy")],
                self.path("narrow.npy"),
                64,
                128,
            )
        self.assert_fails(
            [
                "eval",
                "--idx",
                at("index.vlc"),
                "--queries",
                at("query.npy"),
                "--gt",
                self.save("gt.npy", truth[:7]),
            ],
            self.path("gt.npy"),
            7,
        )

    def test_numbers(self):
        for options in (
            ["--d", 0],
            ["--m", 0],
            ["--m", -1],
            ["--m", "many"],
            ["--bits", 0],
            ["--bits", 9],
            ["--bytes", -1],
            ["--codec", "words"],
            ["--bytes", 32, "--bits", 2],
            ["--bytes", "16+8", "--bits", "1+2"],
            ["--bytes", "16+0"],
            ["--bytes", "16+3"],
            ["--bytes", "0+80"],
            ["--bytes", "16+"],
            ["--bytes", "+80"],
            ["--bytes", "16+80+1"],
            ["--bytes", "16++80"],
            ["--bytes", "16+1.5"],
            ["--bits", "1+0"],
            ["--bits", "1+9"],
            ["--bits", "0+1"],
            ["--bits", "1+x"],
            ["--factory", "VLC16b8", "--bytes", "16+80"],
            ["--iterations", 0],
            ["--work-group", 100],
            ["--threads", 0],
            ["--every", 2],
            ["--robust", "very"],
            ["--metric", "l3"],
            ["--no-such-option"],
            ["surplus"],
        ):
            self.assert_fails(
                ["index", "--emb", at("base.npy"), "--out", self.path("out.vlc")] + options,
                codes=(2,),
            )
        search = [
            "search",
            "--idx",
            at("index.vlc"),
            "--queries",
            at("query.npy"),
            "--out",
            self.path("out.npy"),
        ]
        for options in (
            ["--k", 0],
            ["--nprobe", 0],
            ["--nprobe", "x"],
            ["--distances", self.path("out.npy")],
        ):
            self.assert_fails(search + options, codes=(2,))
        for arguments in ([], ["no-such-command"], ["index"], ["info"], ["verify"]):
            self.assert_fails(arguments, codes=(2,))
        self.save("few.npy", base[:30])
        self.assert_fails(self.emb("few.npy") + ["--m", 31], codes=(2,))  # twice
        self.assert_fails(
            ["index", "--emb", self.path("few.npy"), "--m", 31, "--out", self.path("out.vlc")],
            self.path("few.npy"),
            30,
            31,
        )

    def test_empty_arguments(self):
        for arguments in (["info", "", "--train"], ["", "info"], ["info", "--idx", ""]): # some of them hung
            result = subprocess.run([CLI, *arguments], capture_output=True, timeout=60)
            self.assertEqual(result.returncode, 2, arguments)
            self.assertIn(b"is empty", result.stderr)

    def test_devices(self):
        arguments = ["index", "--emb", at("base.npy"), "--out", self.path("out.vlc")]
        for device in ("gpu9", "opencl-all9", "opencl:no such device", "opencl-all:no such device"):
            mentioned = device.split(":")[-1]
            self.assert_fails(arguments + ["--device", device], mentioned)
            self.assert_fails(arguments, mentioned, VLC_DEVICE=device)

    def test_a_mapped_file_that_is_cut(self):
        two, labels = self.path("two.vlc"), self.path("labels.npy")
        succeed("index", "--emb", at("base.npy"), "--factory", "VLC16b8+40", "--iterations", 3, "--out", two)
        command = [CLI, "search", "--idx", two, "--queries", at("base.npy"), "--mmap", "second", "--k", 100, "--nprobe",
                   16, "--out", labels]
        with subprocess.Popen([str(word) for word in command], stderr=subprocess.PIPE, text=True) as search:
            is_mapped = False
            while not is_mapped and search.poll() is None:
                with open(f"/proc/{search.pid}/maps") as maps:
                    is_mapped = two in maps.read()
            search.send_signal(signal.SIGSTOP)
            os.truncate(two, 8192)
            search.send_signal(signal.SIGCONT)
            self.assertEqual(search.wait(100), 1)
            self.assertRegex(search.stderr.read(), r"^vlc: a mapped file was cut or cannot be read any more")
        self.assertFalse(os.path.exists(labels))

    def test_tiers_say_what_was_expected(self):
        arguments = ["index", "--emb", at("base.npy"), "--out", self.path("out.vlc")]
        self.assert_fails(arguments + ["--bytes", "16+3"], "at least 4 after a +, got 3", codes=(2,))
        self.assert_fails(arguments + ["--bits", "1+9"], "0.125 to 8 after a +, got 9", codes=(2,))
        self.assert_fails(arguments + ["--bytes", "16+x"], "B[+B]", "16+x", codes=(2,))
        self.assert_fails(arguments + ["--factory", "VLC16b8+3"], "VLC16b8+3", "second tier: 4")

    def test_bytes_that_levels_cannot_have(self):
        self.assert_fails(
            ["index", "--emb", at("base.npy"), "--out", self.path("out.vlc")]
            + ["--bytes", 2, "--codec", "lattice"],
            "more than the 2",
        )

    def test_outputs(self):
        write(self.path("old.vlc"), b"keep me")
        self.assert_fails(
            ["index", "--emb", self.path("missing.npy"), "--out", self.path("old.vlc")]
        )
        os.mkdir(self.path("sub"))
        for out in (self.path("no/such/folder/out.vlc"), self.path("sub"), "/proc/out.vlc"):
            self.assert_fails(["index", "--emb", at("base.npy"), "--out", out], out)
        self.assertEqual(os.listdir(self.path("sub")), [])
        for command, out in (
            ("decode", "x.bvecs"),
            ("decode", "x"),
            ("search", "x.fvecs"),
            ("search", "x.txt"),
        ):
            extra = ["--queries", at("query.npy")] if command == "search" else []
            self.assert_fails(
                [command, "--idx", at("index.vlc"), "--out", self.path(out)] + extra, self.path(out)
            )
        with open("/dev/full", "w", encoding="utf-8") as full:
            done = subprocess.run(
                [CLI, "info", "--idx", at("index.vlc")],
                stdout=full,
                stderr=subprocess.PIPE,
                check=False,
            )
        self.assertEqual(done.returncode, 1)

    def test_damaged_index(self):
        bad, data = self.path("bad.vlc"), read(at("index.vlc"))
        for damaged in (
            b"",
            data[:30],
            data[:1000],
            data[:-1],
            data + b"x",
            data[:5000] + b"?" + data[5001:],
        ):
            write(bad, damaged)
            for command in ("info", "verify", "search", "decode", "eval"):
                arguments = [command, "--idx", bad]
                if command in ("search", "eval"):
                    arguments += ["--queries", at("query.npy")]
                if command in ("search", "decode"):
                    arguments += ["--out", self.path("out.npy")]
                self.assert_fails(arguments, bad)

    def test_interrupt(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            command = [
                CLI,
                "index",
                "--emb",
                os.path.join(SIFT, "base.npy"),
                "--m",
                "256",
                "--iterations",
                "10000",
                "--verbose",
                "--out",
                self.path("out.vlc"),
            ]
            with subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "VLC_DEVICE": "reference"},
            ) as process:
                self.assertIn("pace usual", process.stdout.readline())
                self.assertIn("iteration 0", process.stdout.readline())
                process.send_signal(number)
                _, errors = process.communicate(timeout=60)
            self.assertEqual(process.returncode, -number)
            self.assertEqual(errors, "vlc: interrupted\n")
            self.assertEqual(os.listdir(self.folder), [])


if __name__ == "__main__":
    unittest.main()
