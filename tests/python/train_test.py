"""Long calls: other threads go on, Ctrl-C stops them, verbose training prints plain lines."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import faiss
import numpy as np

import faiss_vlc
from python_fixture import BASE, D, QUERIES, TRAIN, VLC, fresh_process, make, tiers

LONG_TRAINING = """
import faiss, faiss_vlc, numpy as np, sys, time
x = np.random.RandomState(1).rand(20000, 32).astype("float32")
index = faiss_vlc.IndexVLC(32, 512)
index.parameters.iterations = 10000
index.parameters.stop_changes = 0
index.parameters.held_out = 0
index.parameters.max_points_per_anchor = 100
index.parameters.device = sys.argv[1]
index.verbose = True
try:
    index.train(x)
except KeyboardInterrupt:
    print("KeyboardInterrupt", index.is_trained, index.ntotal)
    index.parameters.iterations = 1
    index.train(x[:5000])
    print("trained", index.is_trained)
"""


class Findings(unittest.TestCase):
    def test_held_out_recall_and_added_rows(self):
        index = faiss.index_factory(D, VLC)
        self.assertEqual(index.held_out_recall.to_dict(), faiss_vlc.HeldOutRecall().to_dict())
        index.train(TRAIN)
        held = index.held_out_recall
        self.assertEqual(held.sought, 10 * held.queries)
        self.assertEqual(held.nprobe, index.nprobe)
        self.assertTrue(0 < held.probed <= held.in_lists <= held.sought, held)
        self.assertIn(f"estimated={held.estimated}", repr(held))
        index.add(BASE)
        index.add(BASE[:10] + 1000)
        self.assertEqual(index.added_rows.rows, len(BASE) + 10)
        self.assertGreaterEqual(index.added_rows.outside, 10)
        self.assertGreater(index.added_rows.farthest, 2)
        for copy in (faiss.deserialize_index(faiss.serialize_index(index)), faiss.clone_index(index)):
            self.assertEqual(copy.held_out_recall, held)
            self.assertEqual(copy.added_rows, index.added_rows)
        self.assertIn("held-out", type(index).held_out_recall.__doc__)


class Interrupts(unittest.TestCase):
    def stop(self, device):
        process = subprocess.Popen([sys.executable, "-u", "-c", LONG_TRAINING, device], text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for line in process.stdout: # it has begun
            if line.startswith("iteration 0"):
                break
        process.send_signal(signal.SIGINT)
        try:
            rest = process.communicate(timeout=120)[0]
        finally:
            process.kill()
        self.assertIn("KeyboardInterrupt False 0", rest)
        self.assertIn("trained True", rest)
        self.assertNotIn("failed", rest) # it did not fall back to another device
        self.assertEqual(process.returncode, 0)

    def test_reference(self):
        self.stop("reference")

    def test_chosen_device(self):
        self.stop("auto")

    def test_search(self):
        index = make(VLC)
        index.add(np.tile(BASE, (50, 1)))
        index.nprobe = 16
        queries = np.tile(QUERIES, (5000, 1)) # 200,000 queries over 102,000 vectors
        radius = float(np.median(index.search(QUERIES, 1)[0]))
        before = signal.signal(signal.SIGALRM, signal.default_int_handler)
        try:
            for call in (lambda: index.search(queries, 3), lambda: index.range_search(queries, radius)):
                # CPU time: other programs may keep this one from running
                begun = time.process_time()
                signal.setitimer(signal.ITIMER_REAL, 0.5)
                self.assertRaises(KeyboardInterrupt, call)
                self.assertLess((time.process_time() - begun) / len(os.sched_getaffinity(0)), 8)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        self.assertEqual(index.search(QUERIES, 3)[1].shape, (len(QUERIES), 3)) # and goes on afterwards


class Queries(unittest.TestCase):
    """Vectors of 16 dimensions; queries lie far off along one direction."""

    def setUp(self):
        r = np.random.RandomState(3)
        self.x = r.randn(6000, 16).astype("float32")
        far = np.full(16, 0.25)
        self.queries = (r.randn(400, 16) + 200 * far).astype("float32")
        self.later = (r.randn(200, 16) + 200 * far).astype("float32")

    def build(self, key="VLC16b6lattice", queries=None):
        index = faiss.index_factory(16, tiers(key))
        if queries is None:
            index.train(self.x)
        else:
            faiss_vlc.train(index, self.x, queries)
        return index

    def recall(self, index):
        index.add(self.x)
        faiss.extract_index_ivf(index).nprobe = 16
        exact = faiss.IndexFlatL2(16)
        exact.add(self.x)
        found, true = index.search(self.later, 10)[1], exact.search(self.later, 10)[1]
        return np.mean([len(np.intersect1d(a, b)) / 10 for a, b in zip(found, true)])

    def test_recall_of_far_queries(self):
        plain, told, turned = [], [], []
        for seed in range(4): # of one direction all queries have the same few neighbours
            r = np.random.RandomState(seed)
            far = r.randn(16)
            far *= 200 / np.linalg.norm(far)
            self.queries = (r.randn(400, 16) + far).astype("float32")
            self.later = (r.randn(200, 16) + far).astype("float32")
            plain.append(self.recall(self.build()))
            told.append(self.recall(self.build(queries=self.queries)))
            turned.append(self.recall(self.build("PCAR16,VLC16b6lattice", self.queries))) # through the transform
        more = -0.01 if "+" in VLC else 0.1 # a second tier finds nearly all of them untold
        self.assertGreater(np.mean(told), np.mean(plain) + more, (plain, told))
        self.assertGreater(np.mean(turned), np.mean(plain) + more, (plain, turned))

    def test_same_bytes_and_identity(self):
        queries = self.queries.copy()
        one = faiss.serialize_index(self.build(queries=queries))
        queries[:] = 0 # it had a copy
        before = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(1)
        try:
            two = faiss.serialize_index(self.build(queries=self.queries))
        finally:
            faiss.omp_set_num_threads(before)
        np.testing.assert_array_equal(one, two)
        plain = faiss.serialize_index(self.build())
        self.assertFalse(np.array_equal(one, plain))
        index = self.build(queries=self.queries)
        index.train(self.x) # queries are not kept
        np.testing.assert_array_equal(faiss.serialize_index(index), plain)

    def test_checkpoint_of_other_queries(self):
        path = os.path.join(self.enterContext(tempfile.TemporaryDirectory()), "run")
        index = faiss.index_factory(16, tiers("VLC16b6"))
        index.parameters.checkpoint, index.parameters.checkpoint_every = path, 1
        faiss_vlc.train(index, self.x, self.queries)
        again = faiss.index_factory(16, tiers("VLC16b6"))
        again.parameters.resume = path
        faiss_vlc.train(again, self.x, self.queries)
        self.assertTrue(again.is_trained)
        self.assertRaisesRegex(RuntimeError, "another run", again.train, self.x)
        self.assertRaisesRegex(RuntimeError, "another run", faiss_vlc.train, again, self.x, self.later)

    def test_faults(self):
        index = faiss.index_factory(16, tiers("VLC16b6"))
        bad = self.queries.copy()
        bad[3, 2] = np.nan
        self.assertRaisesRegex(RuntimeError, "training queries: expected finite values, row 3, column 2",
                               faiss_vlc.train, index, self.x, bad)
        self.assertRaisesRegex(RuntimeError, "at least 1 query, got 0", faiss_vlc.train, index, self.x, bad[:0])
        self.assertRaisesRegex(ValueError, r"queries of shape \(n, 16\), got \(400, 15\)", faiss_vlc.train, index,
                               self.x, bad[:, :15])
        self.assertRaisesRegex(RuntimeError, "none is in the index", faiss_vlc.train,
                               faiss.index_factory(16, "IVF16,PQ4"), self.x, self.queries)
        self.assertFalse(index.is_trained)
        far = np.full((5, 16), 3e38, "float32") # beyond what is computed with: held-out vectors serve
        faiss_vlc.train(index, self.x, far)
        self.assertTrue(index.is_trained)

    def test_trees(self):
        for key in ("IDMap,VLC16b6", "VLC16b6,RFlat", "PCA8,VLC16b6", "L2norm,VLC16b6", "VLC16b6,Refine(VLC16b12)"):
            with self.subTest(key):
                self.assertFalse(np.array_equal(faiss.serialize_index(self.build(key, self.queries)),
                                                faiss.serialize_index(self.build(key))))
        shards = faiss.IndexShards(16, True)
        parts = [faiss.index_factory(16, tiers("VLC16b6lattice")) for _ in range(2)]
        for part in parts:
            shards.add_shard(part)
        faiss_vlc.train(shards, self.x, self.queries)
        expected = faiss.serialize_index(self.build(queries=self.queries))
        for part in parts:
            np.testing.assert_array_equal(faiss.serialize_index(part), expected)


class Threads(unittest.TestCase):
    def ticks_during(self, call, enough):
        """How often another thread ran while `call` did, again and again for a fifth of a second. Python itself
        would not switch threads for a minute. On a busy machine the other thread may get no core for long: it
        has half a minute to run `enough` times."""
        self.addCleanup(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(60)
        ticks, done = [0], threading.Event()

        def tick():
            while not done.is_set():
                ticks[0] += 1
                time.sleep(0.001)
        thread = threading.Thread(target=tick)
        thread.start()
        before, begun = ticks[0], time.monotonic()
        while time.monotonic() < begun + (0.2 if ticks[0] - before >= enough else 30):
            call()
        during = ticks[0] - before
        done.set()
        thread.join()
        return during

    def test_the_gil_is_released(self):
        x = np.tile(TRAIN, (40, 1))
        index = faiss_vlc.IndexVLC(D, 64, 4)
        queries = np.tile(QUERIES, (500, 1))
        self.assertLess(self.ticks_during(lambda: sum(range(1000)), 0), 3)  # what holding it looks like
        self.assertGreater(self.ticks_during(lambda: index.train(x), 6), 5)
        self.assertGreater(self.ticks_during(lambda: index.add(x[:2000]), 6), 5)
        self.assertGreater(self.ticks_during(lambda: index.search(queries, 50), 6), 5)
        self.assertGreater(self.ticks_during(lambda: faiss.clone_index(index), 6), 5)

    def test_searches_side_by_side(self):
        index = make(VLC)
        expected = index.search(QUERIES, 5)[1]
        found = [None] * 8

        def search(i):
            found[i] = index.search(QUERIES, 5)[1]
        threads = [threading.Thread(target=search, args=(i,)) for i in range(len(found))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for labels in found:
            np.testing.assert_array_equal(labels, expected)


class Verbose(unittest.TestCase):
    def test_lines(self):
        text = fresh_process(
            "import faiss, faiss_vlc, numpy as np\n"
            "index = faiss.index_factory(8, 'VLC4')\n"
            "index.verbose = True\n"
            "index.train(np.random.RandomState(1).rand(1000, 8).astype('float32'))\n")
        self.assertRegex(text, r"(?m)^iteration 0: temperature \S+ energy \S+ changes \d+")
        self.assertRegex(text, r"(?m)^held out: of \d+ neighbours of \d+ vectors among \d+, \S+ % lie in \d+ lists, ")
        self.assertRegex(text, r"(?m)^pace usual: step 1\.5 size bias 0\.07$")  # too few rows for a trial
        tried = fresh_process(
            "import faiss, faiss_vlc, numpy as np\n"
            "index = faiss.index_factory(8, 'VLC64')\n"
            "index.verbose = True\n"
            "index.train(np.random.RandomState(1).rand(4000, 8).astype('float32'))\n")
        self.assertRegex(tried, r"(?m)^pace (usual|plain): step \S+ size bias \S+, scans \S+ % fewer vectors than the other in a trial$")
        quiet = fresh_process(
            "import faiss, faiss_vlc, numpy as np\n"
            "faiss.index_factory(8, 'VLC4').train(np.random.RandomState(1).rand(1000, 8).astype('float32'))\n")
        self.assertEqual(quiet, "")


class Distributed(unittest.TestCase):
    def run_ranks(self, ranks, call):
        """call(rank, all_reduce) in a thread for each rank; what each returned or raised."""
        barrier, given, outcomes = threading.Barrier(ranks, timeout=60), [None] * ranks, [None] * ranks

        def one(rank):
            def all_reduce(values):
                given[rank] = values.copy()
                barrier.wait()
                values[:] = sum(given)
                barrier.wait()
            try:
                outcomes[rank] = call(rank, all_reduce)
            except Exception as error:
                outcomes[rank] = error
        threads = [threading.Thread(target=one, args=(rank,)) for rank in range(ranks)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return outcomes

    def test_the_bytes_of_one_process(self):
        parts = np.array_split(TRAIN, [200, 900])  # unequal

        def train(rank, all_reduce):
            index = faiss.index_factory(D, VLC)
            index.train_distributed(parts[rank], rank, len(parts), all_reduce)
            return faiss.serialize_index(index).tobytes()
        expected = faiss.index_factory(D, VLC)
        expected.train(TRAIN)
        for met in self.run_ranks(len(parts), train):
            self.assertEqual(met, faiss.serialize_index(expected).tobytes())

    def test_errors(self):
        index = faiss.index_factory(D, VLC)
        self.assertRaisesRegex(ValueError, f"{D} dimensions, got 3", index.train_distributed, TRAIN[:, :3], 0, 1, None)
        self.assertRaisesRegex(RuntimeError, "got rank 2 of 2", index.train_distributed, TRAIN, 2, 2, None)

        def lose_connection(values):
            raise ConnectionError("lost")
        self.assertRaisesRegex(ConnectionError, "lost", index.train_distributed, TRAIN, 0, 2, lose_connection)
        self.assertFalse(index.is_trained)

        def train(rank, all_reduce):
            x = TRAIN.copy()
            x[5, 5] = np.nan if rank == 1 else 0
            faiss.index_factory(D, VLC).train_distributed(x, rank, 2, all_reduce)
        first, second = self.run_ranks(2, train)
        self.assertRegex(str(first), "process 1 failed")
        self.assertRegex(str(second), "row 5, column 5 is nan")


class Devices(unittest.TestCase):
    def test_every_device_trains_the_same(self):
        files = set()
        for device in ["reference"] + (["auto"] if faiss_vlc.devices() else []):
            index = faiss_vlc.IndexVLC(D, parameters=faiss_vlc.VLCParameters(m=16, device=device))
            index.train(TRAIN)
            index.add(BASE)
            files.add(faiss.serialize_index(index).tobytes())
        self.assertEqual(len(files), 1)

    def test_unknown_device(self):
        index = faiss_vlc.IndexVLC(D, parameters=faiss_vlc.VLCParameters(m=16, device="opencl:nothing"))
        self.assertRaisesRegex(RuntimeError, "nothing", index.train, TRAIN)


if __name__ == "__main__":
    unittest.main()
