"""What the tests of the command vlc share: a small data set, an index of it, and ways to run vlc.

VLC_CLI=build/release/vlc VLC_TEST_DATA=tests/data python3 tests/cli/cli_test.py
"""

import ctypes
import ctypes.util
import json
import os
import shutil
import subprocess
import tempfile
import unittest

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
CLI = os.path.abspath(os.environ.get("VLC_CLI", os.path.join(HERE, "../../build/release/vlc")))
SIFT = os.path.join(os.environ.get("VLC_TEST_DATA", os.path.join(HERE, "../data")), "sift20k")
# What the sanitizers add to a program's memory and time says nothing about it: there is less to do.
with open(CLI, "rb") as binary:
    SANITIZED = b"__asan_init" in (code := binary.read()) or b"__tsan_init" in code
    del code
N, D, M = (1500, 128, 24) if SANITIZED else (4000, 128, 64)


def run(*arguments, **environment):
    """Runs vlc, on the reference unless a device is named."""
    return subprocess.run(
        [CLI] + [str(argument) for argument in arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "VLC_DEVICE": "reference", **environment},
        check=False,
    )


def succeed(*arguments, **environment):
    done = run(*arguments, **environment)
    if done.returncode != 0:
        raise AssertionError(
            f"vlc {' '.join(map(str, arguments))}: exit {done.returncode}: {done.stderr}"
        )
    return done


def result(*arguments, **environment):
    """The JSON object, which must be all of stdout."""
    return json.loads(succeed(*arguments, "--json", **environment).stdout)


def pocl_device():
    """What PoCL calls the CPU, pthread-... or since 4.0 cpu-..., up to there."""
    names = [device["name"] for device in result("info", "--devices")["devices"]]
    return next(name.split("-")[0] + "-" for name in names if name.startswith(("pthread-", "cpu-")))


def read(path):
    with open(path, "rb") as file:
        return file.read()


def write(path, data):
    with open(path, "wb") as file:
        file.write(data)
    return path


def write_vecs(path, x):
    """.fvecs, .bvecs or .ivecs by the array's type."""
    rows = np.empty(len(x), dtype=[("d", "<i4"), ("x", x.dtype, x.shape[1])])
    rows["d"], rows["x"] = x.shape[1], x
    rows.tofile(path)


def read_vecs(path, dtype):
    d = int(np.fromfile(path, "<i4", 1)[0])
    return np.fromfile(path, [("d", "<i4"), ("x", dtype, d)])["x"]


def write_hdf5(path, **arrays):
    """Two-dimensional float32 or int32 arrays as datasets, through the C library that vlc links."""
    library = ctypes.CDLL(
        ctypes.util.find_library("hdf5_serial") or ctypes.util.find_library("hdf5")
    )
    number, sizes = ctypes.c_int64, ctypes.c_uint64 * 2
    for name in ("H5Fcreate", "H5Screate_simple", "H5Dcreate2"):
        getattr(library, name).restype = number
    library.H5open()
    file = number(library.H5Fcreate(path.encode(), 2, number(0), number(0)))
    for name, array in arrays.items():
        kind = {"f": "H5T_NATIVE_FLOAT_g", "i": "H5T_NATIVE_INT32_g"}[array.dtype.kind]
        dtype = number.in_dll(library, kind)
        space = number(library.H5Screate_simple(2, sizes(*array.shape), None))
        dataset = number(
            library.H5Dcreate2(file, name.encode(), dtype, space, number(0), number(0), number(0))
        )
        data = np.ascontiguousarray(array)
        assert (
            library.H5Dwrite(
                dataset,
                dtype,
                number(0),
                number(0),
                number(0),
                data.ctypes.data_as(ctypes.c_void_p),
            )
            >= 0
        )
        library.H5Dclose(dataset)
        library.H5Sclose(space)
    library.H5Fclose(file)




def tiers(size):
    """The bytes of a code; with VLC_TEST_SECOND a second tier of so many comes after it."""
    second = os.environ.get("VLC_TEST_SECOND")
    return f"{size}+{second}" if second else size


FOLDER = tempfile.mkdtemp(prefix="vlc_cli_test_")
base = np.load(os.path.join(SIFT, "base.npy"))[:N]
query = np.load(os.path.join(SIFT, "query.npy"))[:100]
squares = (base.astype(np.int64) ** 2).sum(1) - 2 * query.astype(np.int64) @ base.astype(np.int64).T
truth = np.argsort(squares, axis=1, kind="stable")[:, :100].astype(np.int32)


def at(name):
    return os.path.join(FOLDER, name)


def make_data():
    """base.npy (N x D uint8), query.npy, gt.npy and index.vlc in FOLDER, until the module's end."""
    unittest.addModuleCleanup(shutil.rmtree, FOLDER)
    for name, array in (("base", base), ("query", query), ("gt", truth)):
        np.save(at(name + ".npy"), array)
    index(at("index.vlc"))


def index(out, *options, emb=None, **environment):
    return result(
        "index",
        "--emb",
        emb or at("base.npy"),
        "--m",
        M,
        "--bytes",
        tiers(32),
        *options,
        "--out",
        out,
        **environment,
    )


class CliTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(dir=FOLDER)

    def path(self, name):
        return os.path.join(self.folder, name)

    def assert_fails(self, arguments, *mentions, codes=(1,), **environment):
        """Exit code, one line on stderr that mentions all of this, nothing on stdout, no file changed."""
        before = {
            name: read(self.path(name))
            for name in os.listdir(self.folder)
            if os.path.isfile(self.path(name))
        }
        done = run(*arguments, **environment)
        self.assertIn(done.returncode, codes, done.stderr)
        self.assertEqual(done.stdout, "")
        self.assertRegex(done.stderr, r"\Avlc: [^\n]+\n\Z")
        for mention in mentions:
            self.assertIn(str(mention), done.stderr)
        after = {
            name: read(self.path(name))
            for name in os.listdir(self.folder)
            if os.path.isfile(self.path(name))
        }
        self.assertEqual(before.keys(), after.keys())
        self.assertEqual(before, after)
