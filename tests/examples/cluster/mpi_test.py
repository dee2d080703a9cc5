"""train_mpi.py gives the same bytes for 1 to 4 processes, on every device, and these are index.train()'s."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import numpy as np

from skip import skip

HERE = pathlib.Path(__file__).resolve().parent
BASE = pathlib.Path(os.environ["VLC_TEST_DATA"]) / "sift20k" / "base.npy"
PLAIN = """
import sys, faiss, faiss_vlc, numpy as np
base = np.load(sys.argv[1]).astype("float32")
index = faiss.index_factory(base.shape[1], sys.argv[2])
index.train(base)
faiss.write_index(index, sys.argv[3])
"""


def mpiexec(ranks, *command, device="reference"):
    """What this many local processes of a Python print."""
    start = ["mpiexec", "-n", str(ranks)]
    version = subprocess.run(["mpiexec", "--version"], capture_output=True, text=True).stdout
    if "Open MPI" in version or "OpenRTE" in version:
        start += ["--oversubscribe", "--bind-to", "none", "--mca", "btl", "self,vader"]
        start += ["--allow-run-as-root"] * (os.geteuid() == 0)
    return run(*start, sys.executable, "-m", "mpi4py", *command, device=device)


def run(*command, device="reference"):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "VLC_DEVICE": device,
                   "OMPI_MCA_btl_vader_single_copy_mechanism": "none"}  # containers forbid others
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, env=environment,
                          timeout=120)
    if done.returncode != 0:
        raise AssertionError(f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


class Training(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)

    def trained_by(self, ranks, factory, device="reference"):
        path = self.folder / f"{ranks}.vlc"
        facts = json.loads(mpiexec(ranks, HERE / "train_mpi.py", BASE, factory, "--out", path, device=device))
        self.assertEqual(facts["processes"], ranks)
        self.assertEqual(facts["sums_mb"] > 0, ranks > 1)
        return path.read_bytes()

    def plain(self, factory):
        run(sys.executable, "-c", PLAIN, BASE, factory, self.folder / "plain.vlc")
        return (self.folder / "plain.vlc").read_bytes()

    def test_any_number_of_processes(self):
        expected = self.plain("VLC300b32")  # near lists, as m >= 256
        for ranks in (1, 2, 3, 4):
            self.assertTrue(self.trained_by(ranks, "VLC300b32") == expected, f"{ranks} processes")
        self.assertFalse(self.trained_by(2, "VLC299b32") == expected)  # bytes do tell

    def test_another_device(self):
        self.assertTrue(self.trained_by(2, "VLC64b16", device="auto") == self.plain("VLC64b16"))

    def test_shards_hold_everything_once(self):
        mpiexec(3, HERE / "train_mpi.py", BASE, "VLC64b8+8", "--shards", self.folder)
        ids = run(sys.executable, "-c", """
import sys, faiss, faiss_vlc, numpy as np
shards = [faiss.read_index(path) for path in sys.argv[1:]]
whole = shards[0]
for shard in shards[1:]:
    whole.merge_from(shard, 0)
lists = [faiss.rev_swig_ptr(whole.invlists.get_ids(i), whole.invlists.list_size(i)).copy() for i in range(64)]
print(*np.concatenate(lists))
""", *sorted(self.folder.glob("shard*.vlc")))
        np.testing.assert_array_equal(np.sort(np.array(ids.split(), dtype=int)), np.arange(len(np.load(BASE))))

    def test_one_that_fails_ends_all(self):
        with self.assertRaisesRegex(AssertionError, "exit code"):
            mpiexec(2, "-c", "import sys, mpi4py.MPI as MPI\nif MPI.COMM_WORLD.rank: sys.exit(3)\n"
                    "MPI.COMM_WORLD.Barrier()")


if __name__ == "__main__":
    if not shutil.which("mpiexec"):
        skip("mpiexec is not installed (python3-mpi4py brings it)")
    try:
        import mpi4py  # noqa: F401
    except ImportError:
        skip(f"{sys.executable} has no mpi4py (python3-mpi4py)")
    unittest.main()
