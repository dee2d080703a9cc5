"""faiss.contrib.torch_utils: tensors of PyTorch wherever arrays of numpy may stand."""

import importlib.util
import sys
import unittest

import faiss
import numpy as np

from python_fixture import BASE, D, KEYS, QUERIES, TRAIN, VLC, assert_same, fresh_process, make

if importlib.util.find_spec("torch") is None:
    print("SKIPPED: IndexVLC with tensors, as this Python has no torch (Debian: python3-torch)", file=sys.stderr)
    sys.exit(77) # which CTest reports as skipped

import torch
from faiss.contrib import torch_utils # noqa: F401: changes faiss's classes, IndexVLC's among them

TREES = KEYS + ["PCA16," + VLC, VLC + ",RFlat"]


def tensor(array):
    return torch.from_numpy(array.copy())


def array(found):
    assert isinstance(found, torch.Tensor), type(found)
    return found.numpy()


class Tensors(unittest.TestCase):
    def test_train_add_search(self):
        for key in TREES:
            index, expected = faiss.index_factory(D, key), faiss.index_factory(D, key)
            index.train(tensor(TRAIN))
            index.add(tensor(BASE))
            expected.train(TRAIN)
            expected.add(BASE)
            wanted = expected.search(QUERIES, 5)
            assert_same([array(part) for part in index.search(tensor(QUERIES), 5)], wanted)
            assert_same(index.search(QUERIES, 5), wanted) # arrays are arrays still
            np.testing.assert_array_equal(array(index.assign(tensor(QUERIES), 5)), wanted[1])

    def test_results_go_where_they_are_wanted(self):
        for key in KEYS:
            index = make(key)
            distances, labels = torch.zeros(len(QUERIES), 5), torch.zeros(len(QUERIES), 5, dtype=torch.int64)
            index.search(tensor(QUERIES), 5, D=distances, I=labels)
            assert_same((array(distances), array(labels)), index.search(QUERIES, 5))

    def test_range_search(self):
        for key in KEYS:
            index = make(key)
            radius = float(np.median(index.search(QUERIES, 5)[0]))
            found = [array(part) for part in index.range_search(tensor(QUERIES), radius)]
            wanted = index.range_search(QUERIES, radius)
            self.assertGreater(found[0][-1], 50)
            for part, expected in zip(found, wanted):
                np.testing.assert_array_equal(part, expected)

    def test_ids_and_updates(self):
        for key in KEYS:
            index = make(key, add=False)
            index.set_direct_map_type(faiss.DirectMap.Hashtable)
            index.add_with_ids(tensor(BASE), torch.arange(100, 100 + len(BASE)))
            before = array(index.reconstruct(100)).copy()
            index.update_vectors(torch.tensor([100]), tensor(BASE[1:2]))
            np.testing.assert_array_equal(array(index.reconstruct(100)), array(index.reconstruct(101)))
            self.assertTrue((before != array(index.reconstruct(100))).any())
            self.assertEqual(index.remove_ids(np.array([100])), 1) # of arrays only, says torch_utils
            self.assertEqual(index.ntotal, len(BASE) - 1)

    def test_vectors_and_codes(self):
        for key in KEYS:
            index = make(key)
            index.make_direct_map()
            some = array(index.reconstruct_n(3, 4))
            np.testing.assert_array_equal(some[1], array(index.reconstruct(4)))
            found = index.search_and_reconstruct(tensor(QUERIES), 3)
            wanted = index.search_and_reconstruct(QUERIES, 3)
            assert_same([array(part) for part in found[:2]], wanted[:2])
            np.testing.assert_array_equal(array(found[2]), wanted[2])
            codes = index.sa_encode(tensor(BASE))
            np.testing.assert_array_equal(array(codes), index.sa_encode(BASE))
            np.testing.assert_array_equal(array(index.sa_decode(codes)), index.sa_decode(array(codes)))

    def test_other_tensors_are_refused(self):
        for key in KEYS:
            index = make(key)
            for bad in (tensor(QUERIES).double(), tensor(QUERIES)[:, :-1], tensor(QUERIES)[:D].t()):
                self.assertRaises((AssertionError, RuntimeError, TypeError), index.search, bad, 5)
            self.assertEqual(index.ntotal, len(BASE))


class Order(unittest.TestCase):
    def test_either_may_come_first(self):
        for modules in ("faiss_vlc, faiss.contrib.torch_utils", "faiss.contrib.torch_utils, faiss_vlc"):
            printed = fresh_process(
                f"import faiss, {modules}, torch\n"
                "x = torch.rand(500, 8)\n"
                "index = faiss.index_factory(8, 'VLC4')\n"
                "index.train(x)\n"
                "index.add(x)\n"
                "print((index.search(x, 1)[1] == torch.from_numpy(index.search(x.numpy(), 1)[1])).all().item(), "
                "index.ntotal)")
            self.assertEqual(printed, "True 500", modules)

    def test_torch_computes_with_its_own_functions(self): # its BLAS is not FAISS's, whoever comes first
        for modules in ("faiss, faiss_vlc, torch", "torch, faiss, faiss_vlc", "faiss, torch, faiss_vlc"):
            printed = fresh_process(
                f"import {modules}, numpy\n"
                "z = torch.tensor([1+2j, 3+4j])\n"
                "x = torch.arange(12.).reshape(3, 4)\n"
                "print(torch.vdot(z, z).item(), torch.dot(x[0], x[1]).item(), (x @ x.T)[2].tolist())\n"
                "x = numpy.random.RandomState(1).rand(500, 8).astype('float32')\n"
                "index = faiss.index_factory(8, 'VLC4x8')\n"
                "index.train(x)\n"
                "index.add(x)\n"
                "print((index.search(x, 1)[1][:, 0] == numpy.arange(500)).mean() > .9)")
            self.assertEqual(printed.split("\n"), ["(30+0j) 38.0 [62.0, 214.0, 366.0]", "True"], modules)


if __name__ == "__main__":
    unittest.main()
