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

    def test_both_compute_as_they_do_alone(self): # torch's BLAS is not FAISS's, whoever comes first
        threads, *wrong = fresh_process(
            f"import torch\n{TORCH_COMPUTES}\n{THREADS}torch_computes()\nprint(*wrong)").split()
        if wrong: # Debian 13's torch.vdot
            print(f"PyTorch {torch.__version__} alone computes wrong numbers in {wrong}", file=sys.stderr)
        alone = [threads, fresh_process("import faiss; print(faiss.omp_get_max_threads())"), "done"]
        for modules in ("faiss, faiss_vlc, torch", "torch, faiss, faiss_vlc", "faiss, torch, faiss_vlc",
                        "faiss_vlc, torch", "torch, faiss_vlc"):
            with self.subTest(modules=modules):
                printed = fresh_process(f"import {modules}, faiss\n{TORCH_COMPUTES}\n{THREADS}{BOTH}").split()
                self.assertEqual(printed[:3], alone)
                self.assertLessEqual(set(printed[3:]), set(wrong))


THREADS = "print(torch.get_num_threads())\n"

# Whole numbers, so that sums are exact in any order; what is expected comes from numpy's integers, which need no BLAS.
TORCH_COMPUTES = """
import numpy as np

random = np.random.RandomState(1)
a, b = random.randint(-8, 9, (4, 200, 300)), random.randint(-8, 9, (4, 300, 150))
wrong = set()

def expect(name, real, right):
    if not right:
        wrong.add(f'{name}:{real}')

def torch_computes():
    for real in (torch.float32, torch.float64):
        x, y = torch.from_numpy(a).to(real), torch.from_numpy(b).to(real)
        z = torch.complex(x[0, 0], x[0, 1]), torch.complex(x[0, 2], x[0, 3])
        inner = a[0, :2] @ a[0, 2:4].T
        for name, found, expected in [
            ('matmul', x[0] @ y[0], a[0] @ b[0]), ('bmm', torch.bmm(x, y), a @ b),
            ('mv', torch.mv(x[1], y[1][:, 0]), a[1] @ b[1][:, 0]),
            ('dot', torch.dot(x[2][0], y[2][:, 0]), a[2][0] @ b[2][:, 0]),
            ('vdot', torch.vdot(*z), inner[0, 0] + inner[1, 1] + 1j * (inner[0, 1] - inner[1, 0])),
        ]:
            expect(name, real, (found.numpy() == expected).all())
        square = x[0, :, :200] + 100 * torch.eye(200, dtype=real)
        expect('solve', real, torch.allclose(square @ torch.linalg.solve(square, x[1]), x[1], atol=1e-3))
        u, s, v = torch.linalg.svd(square)
        expect('svd', real, torch.allclose(u * s @ v, square, atol=1e-3))
"""

BOTH = """
import threading

vectors = random.rand(3000, 16).astype('float32')

def faiss_computes():
    index = faiss.index_factory(16, 'VLC8x8')
    index.train(vectors)
    index.add(vectors)
    return index.search(vectors, 1)[1]

print(faiss.omp_get_max_threads())
torch_computes()
found = faiss_computes()
assert (found[:, 0] == np.arange(len(vectors))).mean() > .9
torch_computes()
for threads in (1, 2): # of both, whose OpenMP may be one
    torch.set_num_threads(threads)
    faiss.omp_set_num_threads(threads)
    torch_computes()
    assert (faiss_computes() == found).all()
failures = []

def repeat(work, times):
    try:
        for _ in range(times):
            work()
    except BaseException as error:
        failures.append(error)

def search():
    assert (faiss_computes() == found).all()

together = [threading.Thread(target=repeat, args=one) for one in ((torch_computes, 5), (search, 2), (search, 2))]
for one in together:
    one.start()
for one in together:
    one.join()
assert not failures, failures
print('done', *wrong)
"""


if __name__ == "__main__":
    unittest.main()
