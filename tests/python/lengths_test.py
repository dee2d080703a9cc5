"""Inner products of vectors of different length: lists of even size that are worth probing."""

import unittest

import faiss
import numpy as np

import faiss_vlc  # noqa: F401
from python_fixture import VLC

D, LISTS = 32, 32
KEY = f"VLC{LISTS}b{'6+10' if '+' in VLC else 16}"


def directions(n, seed):
    x = np.random.RandomState(seed).randn(n, D).astype("float32")
    return x / np.linalg.norm(x, axis=1, keepdims=True)


QUERIES = directions(200, 1)
EVEN = directions(6000, 2)
BASE = EVEN * np.exp(1.5 * np.random.RandomState(3).randn(6000, 1)).astype("float32")
TRUTH = np.argsort(-(QUERIES @ BASE.T), axis=1)[:, :10]


def trained(key, rows, threads=2):
    faiss.omp_set_num_threads(threads)
    index = faiss.index_factory(D, key, faiss.METRIC_INNER_PRODUCT)
    index.train(rows)
    index.add(rows)
    return index


def recall(index, nprobe):
    index.nprobe = nprobe
    found = index.search(QUERIES, 10)[1]
    return np.mean([len(np.intersect1d(a, b)) for a, b in zip(found, TRUTH)]) / 10


class Lengths(unittest.TestCase):
    def test_lists_are_even_and_worth_probing(self):
        index = trained(KEY, BASE)
        other = trained(f"IVF{LISTS},PQ16np", BASE)
        self.assertLess(index.invlists.imbalance_factor(), 1.5 * other.invlists.imbalance_factor())
        self.assertGreater(recall(index, 4), recall(other, 4) + 0.1)
        self.assertGreater(recall(index, LISTS), recall(other, LISTS))

    def test_the_quantizer_names_the_list_that_a_vector_is_in(self):
        index = trained(KEY, BASE)
        labels = index.quantizer.search(BASE, 1)[1][:, 0]
        for j in range(LISTS):
            size = index.invlists.list_size(j)
            ids = faiss.rev_swig_ptr(index.invlists.get_ids(j), size).copy()
            self.assertTrue((labels[ids] == j).all())

    def test_threads_do_not_matter_and_files_keep_it(self):
        one, two = (trained(KEY, BASE, threads) for threads in (1, 2))
        self.assertTrue((faiss.serialize_index(one) == faiss.serialize_index(two)).all())
        again = faiss.deserialize_index(faiss.serialize_index(two))
        more = directions(500, 4) * 20
        labels = two.quantizer.search(more, 1)[1]
        self.assertTrue((again.quantizer.search(more, 1)[1] == labels).all())
        for index in (two, again):
            index.add(more)
            index.nprobe = LISTS
        for a, b in zip(two.search(QUERIES, 10), again.search(QUERIES, 10)):
            self.assertTrue((a == b).all())

    def test_only_where_lengths_differ(self):
        def sections(rows):
            return b"routing\0" in faiss.serialize_index(trained(KEY, rows)).tobytes()
        self.assertTrue(sections(BASE))
        self.assertFalse(sections(EVEN))

    def test_short_and_long_rows_come_later(self):
        index = trained(KEY, BASE)
        odd = np.vstack([EVEN[:1] * 1e-20, EVEN[:1] * 1e6, np.zeros((1, D), "float32")]).astype("float32")
        index.add(odd)
        index.nprobe = LISTS
        self.assertEqual(index.search(EVEN[:1], 1)[1][0, 0], len(BASE) + 1)


if __name__ == "__main__":
    unittest.main()
