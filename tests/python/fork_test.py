"""multiprocessing: children of fork get an error or work, whatever their parent did; those of spawn are as
any other process."""

import multiprocessing
import os
import unittest

os.environ["VLC_DEVICE"] = "auto"

from python_fixture import BASE, QUERIES, TRAIN, VLC, D, assert_same

import faiss
import faiss_vlc # noqa: F401

SECONDS = 60


def trained(device):
    index = faiss.index_factory(D, VLC)
    index.parameters.device = device
    index.train(TRAIN)
    return index


def _search(queue, index):
    queue.put(index.search(QUERIES, 5))


def _train(queue, device):
    try:
        index = trained(device)
        index.add(BASE)
        queue.put((index.trained_on, index.search(QUERIES, 5)))
    except RuntimeError as error:
        queue.put(str(error))


def in_process(context, function, *arguments):
    """What the function put into the queue; fails if the process does not come to its end."""
    queue = context.Queue()
    process = context.Process(target=function, args=(queue, *arguments))
    process.start()
    try:
        result = queue.get(timeout=SECONDS)
        process.join(SECONDS)
        assert process.exitcode == 0, process.exitcode
        return result
    finally:
        if process.is_alive():
            process.kill()


class Fork(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        faiss.omp_set_num_threads(3)
        cls.index = trained("opencl:")
        cls.index.add(BASE)
        cls.expected = cls.index.search(QUERIES, 5)

    def test_fork_searches(self):
        assert_same(in_process(multiprocessing.get_context("fork"), _search, self.index), self.expected)

    def test_fork_trains_without_the_device(self):
        device, found = in_process(multiprocessing.get_context("fork"), _train, "auto")
        self.assertEqual(device, "reference")
        assert_same(found, self.expected)

    def test_fork_refuses_the_device(self):
        message = in_process(multiprocessing.get_context("fork"), _train, "opencl:")
        self.assertIn("spawn", message)

    def test_spawn_has_all(self):
        context = multiprocessing.get_context("spawn")
        assert_same(in_process(context, _search, self.index), self.expected) # pickled
        device, found = in_process(context, _train, "opencl:")
        self.assertNotEqual(device, "reference")
        assert_same(found, self.expected)

    def test_pool(self):
        with multiprocessing.get_context("fork").Pool(2) as pool:
            for found in pool.map_async(_pool_search, [5] * 4).get(SECONDS):
                assert_same(found, self.expected)


def _pool_search(k):
    return Fork.index.search(QUERIES, k)


if __name__ == "__main__":
    unittest.main()
