"""faiss.contrib and faiss.ivflib on an IndexVLC, as on an IVFPQ."""

import importlib.util
import os
import tempfile
import unittest

import faiss
import numpy as np
from faiss.contrib import evaluation, factory_tools, inspect_tools, ivf_tools, ondisk

import faiss_vlc
from python_fixture import BASE, D, FAISS_VERSION, IVFPQ, KEYS, QUERIES, VLC, assert_same, make


def has(module):
    return importlib.util.find_spec(module) is not None


def same_neighbours(found, expected, at_least=0.95):
    common = [len(np.intersect1d(a, b)) / len(b) for a, b in zip(found, expected)]
    assert np.mean(common) >= at_least, np.mean(common)


class IvfTools(unittest.TestCase):
    def test_preassigned(self):
        for key in KEYS:
            index = make(key)
            coarse, lists = index.quantizer.search(QUERIES, index.nprobe)
            expected = index.search(QUERIES, 5)
            found = ivf_tools.search_preassigned(index, QUERIES, 5, lists, coarse)
            assert_same(found, expected)
            radius = float(np.median(expected[0]))
            limits, _, ids = ivf_tools.range_search_preassigned(index, QUERIES, radius, lists, coarse)
            wanted = index.range_search(QUERIES, radius)
            self.assertGreater(limits[-1], 50)
            self.assertAlmostEqual(int(limits[-1]), int(wanted[0][-1]), delta=0.05 * wanted[0][-1])
            self.assertGreater(np.isin(ids, wanted[2]).mean(), 0.95)

    def test_gathering_in_heaps(self):
        for metric in (faiss.METRIC_L2, faiss.METRIC_INNER_PRODUCT):
            index = make(VLC, metric)
            expected = index.search(QUERIES, 5)
            coarse, lists = index.quantizer.search(QUERIES, index.nprobe)
            heap = faiss.ResultHeap(len(QUERIES), 5, keep_max=metric == faiss.METRIC_INNER_PRODUCT)
            index.parallel_mode |= index.PARALLEL_MODE_NO_HEAP_INIT
            pointer = faiss.swig_ptr
            search = getattr(index, "search_preassigned_c", index.search_preassigned) # 1.7.3 takes pointers
            for part in range(4): # some lists at a time
                some = np.where(lists % 4 == part, lists, -1)
                search(len(QUERIES), pointer(QUERIES), 5, pointer(some), pointer(coarse), pointer(heap.D),
                       pointer(heap.I), False)
            heap.finalize()
            assert_same((heap.D, heap.I), expected)

    def test_the_lists_of_the_quantizer(self):
        index = make(VLC)
        for nprobe in (1, 4):
            lists = np.ascontiguousarray(index.quantizer.search(QUERIES, max(nprobe, 2))[1][:, :nprobe])
            index.nprobe = nprobe
            assert_same(ivf_tools.search_preassigned(index, QUERIES, 5, lists), index.search(QUERIES, 5))

    def test_one_list_is_that_of_add(self):
        for key in KEYS:
            index = make(key)
            for x in (BASE, QUERIES):
                np.testing.assert_array_equal(index.quantizer.search(x, 1)[1][:, 0], index.quantizer.assign(x, 1)[:, 0])
        index = make(VLC)
        np.testing.assert_array_equal(index.quantizer.search(QUERIES, 1)[1][:, 0], index.assign_lists(QUERIES))

    def test_add_preassigned(self):
        for key in KEYS:
            index = make(key, add=False)
            lists = index.quantizer.search(BASE, 1)[1].ravel()
            ivf_tools.add_preassigned(index, BASE, lists)
            assert_same(index.search(QUERIES, 5), make(key).search(QUERIES, 5))
            ivf_tools.add_preassigned(index, BASE[:9], lists[:9], np.arange(9) + 10 ** 6)
            self.assertEqual(index.ntotal, len(BASE) + 9)
        with self.assertRaisesRegex(RuntimeError, "expected lists below 16, got 16"):
            ivf_tools.add_preassigned(make(VLC), BASE[:1], np.array([16]))


    def test_permuting_lists_is_refused(self):
        if not hasattr(ivf_tools, "permute_invlists"):
            self.skipTest("not in this version of FAISS")
        index = make(VLC)
        expected = index.search(QUERIES, 5)
        self.assertRaisesRegex(RuntimeError, "cannot permute", ivf_tools.permute_invlists, index, np.arange(16)[::-1])
        assert_same(index.search(QUERIES, 5), expected)


class InspectTools(unittest.TestCase):
    def test_lists(self):
        for key in KEYS:
            index = make(key)
            sizes = inspect_tools.get_invlist_sizes(index.invlists)
            self.assertEqual(sizes.sum(), len(BASE))
            seen = []
            for i in range(index.nlist):
                ids, codes = inspect_tools.get_invlist(index.invlists, i)
                self.assertEqual(codes.shape, (sizes[i], index.code_size))
                seen += ids.tolist()
            self.assertEqual(sorted(seen), list(range(len(BASE))))
            self.assertGreaterEqual(index.invlists.imbalance_factor(), 1)

    def test_codes_are_those_of_sa_encode(self):
        index = make(VLC)
        packed = index.sa_encode(BASE)
        for i in range(index.nlist):
            ids, codes = inspect_tools.get_invlist(index.invlists, i)
            np.testing.assert_array_equal(packed[ids, 1:], codes)


class Evaluation(unittest.TestCase):
    def test_range_precision(self):
        for key in KEYS:
            index = make(key)
            flat = faiss.IndexFlat(D)
            flat.add(BASE)
            radius = float(np.median(flat.search(QUERIES, 10)[0]))
            truth, found = flat.range_search(QUERIES, radius), index.range_search(QUERIES, radius)
            precision, recall = evaluation.range_PR(truth[0], truth[2], found[0], found[2])
            self.assertTrue(0 <= precision <= 1 and 0 <= recall <= 1)
            if key == VLC:
                self.assertGreater(min(precision, recall), 0.6)

    def test_intersection(self):
        expected = make(VLC).search(QUERIES, 5)[1]
        self.assertEqual(evaluation.knn_intersection_measure(expected, expected), 1)


class FactoryTools(unittest.TestCase):
    def test_code_size(self):
        for key, size in [("VLC16x4", D // 2 + 2), ("VLC", D // 4 + 2), ("VLC8b11", 11), ("PCA16,VLC16x4", 10),
                          ("OPQ4_16,VLC16x4", 10), ("VLC16b11,Refine(SQ8)", 11 + D), ("VLC16b12block", 12), ("VLC16b1", 1),
                          ("VLC16b9block,Refine(SQ8)", 9 + D),
                          ("VLC16b6+11", 17), ("PCA16,VLC16x2+4", 6 + 11), ("VLC16b6+11,Refine(SQ8)", 17 + D),
                          (IVFPQ[:9], 8)]:
            self.assertEqual(factory_tools.get_code_size(D, key), size, key)

    def test_reverse(self):
        for key, found in [("VLC16x4", "VLC16b18"), ("VLC16b12", "VLC16b12"), ("VLC", "VLCb10"), ("VLC4b6block", "VLC4b6block"),
                           ("VLC16x4lattice", "VLC16b18lattice"),
                           ("VLC16b6+11", "VLC16b6+11"), ("VLC16x1+4block", "VLC16b6+19block"), ("VLC16b2", "VLC16b2"),
                           ("IVF16,Flat", "IVF16,Flat")]:
            self.assertEqual(factory_tools.reverse_index_factory(faiss.index_factory(D, key)), found)
        for metric in (faiss.METRIC_L2, faiss.METRIC_INNER_PRODUCT):
            two = make("VLC16b6+11", metric, add=False)
            self.assertEqual(factory_tools.reverse_index_factory(two), "VLC16b6+11")
            self.assertEqual((two.code_size, two.second_code_size()), (17, 11))


class OnDisk(unittest.TestCase):
    def test_merge_ondisk(self):
        for key in KEYS + ["PCA16," + IVFPQ, "PCA16," + VLC]:
            expected = make(key).search(QUERIES, 5)
            for shift_ids in (False, True) if FAISS_VERSION >= (1, 9) else (False,):
                with tempfile.TemporaryDirectory() as folder:
                    # equal shards, or FAISS would shift ids wrongly
                    shards = [os.path.join(folder, f"shard{i}") for i in range(4)]
                    for name, ids in zip(shards, np.split(np.arange(len(BASE)), 4)):
                        shard = make(key, add=False)
                        shard.add_with_ids(BASE[ids], ids - ids[0] if shift_ids else ids)
                        faiss.write_index(shard, name)
                    merged, lists = make(key, add=False), os.path.join(folder, "lists")
                    ondisk.merge_ondisk(merged, shards, lists, *[True] * shift_ids)
                    self.assertEqual(merged.ntotal, len(BASE))
                    assert_same(merged.search(QUERIES, 5), expected)
                    faiss.write_index(merged, os.path.join(folder, "merged"))
                    again = faiss.read_index(os.path.join(folder, "merged"))
                    assert_same(again.search(QUERIES, 5), expected)
                    if key == VLC:
                        mapped = faiss.read_index(lists, faiss.IO_FLAG_MMAP)
                        assert_same(mapped.search(QUERIES, 5), expected)
                    self.assertRaises(AssertionError, ondisk.merge_ondisk, merged, shards, lists)


@unittest.skipUnless(has("faiss.contrib.big_batch_search"), f"FAISS {faiss.__version__} lacks it")
class BigBatch(unittest.TestCase):
    def test_search(self):
        from faiss.contrib.big_batch_search import big_batch_search
        for key in KEYS:
            for metric in (faiss.METRIC_L2, faiss.METRIC_INNER_PRODUCT):
                index = make(key, metric)
                expected = index.search(QUERIES, 5)
                for method in ("index", "pairwise_distances", "knn_function"):
                    if key == IVFPQ and (method == "index" or metric == faiss.METRIC_INNER_PRODUCT):
                        continue # which FAISS gets wrong, by residuals
                    for more in ({"threaded": 0}, {"threaded": 2}, {"threaded": 0, "use_float16": True}):
                        found = big_batch_search(index, QUERIES, 5, method=method, verbose=0, **more)
                        if "use_float16" in more:
                            same_neighbours(found[1], expected[1])
                        else:
                            np.testing.assert_allclose(found[0], expected[0], rtol=1e-4, err_msg=f"{key} {method}")
                            np.testing.assert_array_equal(found[1], expected[1])

    def test_functions_of_ones_own_get_vectors(self):
        from faiss.contrib.big_batch_search import big_batch_search
        index = make(VLC)
        expected = index.search(QUERIES, 5)[1]
        own = {"knn_function": {"knn": lambda x, y, k, metric: faiss.knn(x, y, k, metric=metric)},
               "pairwise_distances": {"pairwise_distances":
                                      lambda x, y, metric: faiss.pairwise_distances(x, y, metric=metric)}}
        for method, functions in own.items():
            found = big_batch_search(index, QUERIES, 5, method=method, verbose=0, **functions)[1]
            same_neighbours(found, expected, 0.85) # by plain decoding


class Later(unittest.TestCase):
    """What versions after 1.7.3 can do with an inverted file."""

    def need(self, name):
        if not hasattr(faiss, name) and not hasattr(faiss.IndexIVF, name):
            self.skipTest(f"FAISS {faiss.__version__} lacks {name}")

    def test_search_and_return_codes(self):
        self.need("search_and_return_codes")
        for key in KEYS:
            index = make(key)
            distances, labels, codes = index.search_and_return_codes(QUERIES, 5, include_listnos=True)
            assert_same((distances, labels), index.search(QUERIES, 5))
            vectors = index.search_and_reconstruct(QUERIES, 5)[2]
            for q in range(len(QUERIES)):
                np.testing.assert_allclose(index.sa_decode(codes[q]), vectors[q], atol=1e-5)

    def test_vectors_beside_what_they_are_assigned_by(self):
        self.need("IndexIVFIndependentQuantizer")
        for key in KEYS:
            index = make(key)
            expected = index.search(QUERIES, 5)
            halves = []
            for rows in (np.eye(2 * D, dtype="float32")[:D], np.eye(2 * D, dtype="float32")[D:]):
                half = faiss.LinearTransform(2 * D, D, False)
                faiss.copy_array_to_vector(rows.ravel(), half.A)
                half.is_trained = True
                halves.append(half)
            both = faiss.IndexIVFIndependentQuantizer(faiss.IndexPreTransform(halves[0], index.quantizer), index,
                                                      halves[1])
            assert_same(both.search(np.hstack([QUERIES] * 2), 5), expected)
            both.reset()
            both.add(np.hstack([BASE] * 2))
            assert_same(both.search(np.hstack([QUERIES] * 2), 5), expected)

    def test_independent_quantizers_are_saved(self):
        self.need("IndexIVFIndependentQuantizer")
        index = make(VLC)
        both = faiss.IndexIVFIndependentQuantizer(index.quantizer, index)
        expected = both.search(QUERIES, 5)
        again = faiss.deserialize_index(faiss.serialize_index(both))
        assert_same(again.search(QUERIES, 5), expected)
        inner = faiss.downcast_index(again.index_ivf)
        self.assertIs(type(inner), faiss_vlc.IndexVLC)
        assert_same(inner.search(QUERIES, 5), index.search(QUERIES, 5))

    def test_shards_with_one_quantizer(self):
        self.need("IndexShardsIVF")
        for key in KEYS:
            index = make(key)
            shards = faiss.IndexShardsIVF(index.quantizer, index.nlist, False, True)
            parts = [make(key, add=False) for _ in range(2)]
            for part in parts:
                shards.add_shard(part)
            shards.add(BASE)
            self.assertEqual(shards.ntotal, len(BASE))
            assert_same(shards.search(QUERIES, 5), index.search(QUERIES, 5))

    def test_decode_vectors(self):
        self.need("decode_vectors")
        for key in KEYS:
            index = make(key)
            lists = index.quantizer.search(BASE, 1)[1].ravel()
            codes = np.empty((len(BASE), index.code_size), dtype="uint8")
            pointer = faiss.swig_ptr
            index.encode_vectors(len(BASE), pointer(BASE), pointer(lists), pointer(codes))
            vectors = np.empty_like(BASE)
            index.decode_vectors(len(BASE), pointer(codes), pointer(lists), pointer(vectors))
            index.make_direct_map()
            np.testing.assert_allclose(vectors, index.reconstruct_n(0, len(BASE)), atol=1e-5)


class IvfLib(unittest.TestCase):
    def test_search_centroid(self):
        for key in KEYS:
            index = make("PCA16," + key)
            lists = np.empty(len(QUERIES), dtype="int64")
            faiss.search_centroid(index, faiss.swig_ptr(QUERIES), len(QUERIES), faiss.swig_ptr(lists))
            self.assertTrue(((lists >= 0) & (lists < 16)).all())

    def test_search_and_return_centroids(self):
        for key in KEYS:
            index = make(key)
            n, k, pointer = len(QUERIES), 5, faiss.swig_ptr
            distances, labels = np.empty((n, k), "float32"), np.empty((n, k), "int64")
            query_list, result_list = np.empty(n, "int64"), np.empty((n, k), "int64")
            faiss.search_and_return_centroids(index, n, pointer(QUERIES), k, pointer(distances), pointer(labels),
                                              pointer(query_list), pointer(result_list))
            same_neighbours(labels, index.search(QUERIES, k)[1])
            sizes = inspect_tools.get_invlist_sizes(index.invlists)
            self.assertTrue((sizes[result_list] > 0).all())

    def test_search_with_parameters(self):
        for key in KEYS:
            for tree in ("{}", "PCA16,{}"):
                index = make(tree.format(key))
                distances, labels, stats = faiss.search_with_parameters(index, QUERIES, 5, output_stats=True)
                assert_same((distances, labels), index.search(QUERIES, 5))
                self.assertGreater(stats["ndis"], 0)
                radius = float(np.median(distances))
                limits = faiss.range_search_with_parameters(index, QUERIES, radius)[0]
                self.assertGreater(limits[-1], 50)

    def test_only_array_lists(self):
        # FAISS does these on ArrayInvertedLists alone, also of an IVFPQ
        for call in (lambda: faiss.SlidingIndexWindow(make(VLC)),
                     lambda: faiss.set_invlist_range(make(VLC), 0, 3, faiss.get_invlist_range(make(VLC), 0, 3))):
            self.assertRaisesRegex(RuntimeError, "only .*ArrayInvertedLists", call)


if __name__ == "__main__":
    unittest.main()
