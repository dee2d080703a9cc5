"""Searching with everything that IVFPQ takes: parameters, selectors, radii, both metrics."""

import unittest

import faiss
import numpy as np

import faiss_vlc
from python_fixture import BASE, D, FAISS_VERSION, KEYS, QUERIES, TRAIN, VLC, assert_same, make

METRICS = (faiss.METRIC_L2, faiss.METRIC_INNER_PRODUCT)


def params(nprobe=8, sel=None, max_codes=0):
    # sel only if there is one: FAISS 1.7.3 cannot set it to None
    more = {} if sel is None else {"sel": sel}
    return faiss.SearchParametersIVF(nprobe=nprobe, max_codes=max_codes, **more)


class Search(unittest.TestCase):
    def test_recall(self):
        for metric in METRICS:
            flat = faiss.IndexFlat(D, metric)
            flat.add(BASE)
            truth = flat.search(QUERIES, 10)[1]
            recall = {}
            of_equal_bytes = ("IVF16,PQ16np", "VLC16b16")
            for key in (VLC, *of_equal_bytes):
                index = make(key, metric)
                index.nprobe = 16
                found = index.search(QUERIES, 10)[1]
                recall[key] = np.mean([len(np.intersect1d(a, b)) / 10 for a, b in zip(found, truth)])
            self.assertGreater(recall[VLC], 0.8)
            ivfpq, vlc = (recall[key] for key in of_equal_bytes)
            self.assertGreater(vlc, ivfpq - 0.05) # this data has no axes to choose

    def test_nprobe(self):
        for key in KEYS:
            index = make(key)
            index.nprobe = 1
            one = index.search(QUERIES, 5)
            index.nprobe = 16
            all_lists = index.search(QUERIES, 5)
            assert_same(index.search(QUERIES, 5, params=params(1)), one)
            index.nprobe = 1
            assert_same(index.search(QUERIES, 5, params=params(16)), all_lists)
            assert_same(index.search(QUERIES, 5, params=params(100000)), all_lists)
            self.assertEqual(index.nprobe, 1)
            self.assertGreater((one[1] != all_lists[1]).mean(), 0)

    def test_on_a_device(self):
        for metric in METRICS:
            index = make(VLC, metric)
            index.refine_k = 1000 # what a device keeps, if there are two tiers
            here = index.search(QUERIES, 5)
            self.assertEqual(index.refined_on, "")
            index.search_device = "opencl:"
            assert_same(index.search(QUERIES, 5), here)
            self.assertIn(index.refined_on, ("opencl:", "reference") if index.second_code_size() else ("",))
            index.search_device = "opencl:no such device"
            with self.assertRaisesRegex(RuntimeError, "no such device"):
                index.search(QUERIES, 5)

    def test_order_and_padding(self):
        for key in KEYS:
            for metric in METRICS:
                index = make(key, metric)
                distances, labels = index.search(QUERIES, len(BASE) + 5)
                for row, ids in zip(distances, labels):
                    n = int((ids >= 0).sum())
                    self.assertTrue((ids[n:] == -1).all())
                    self.assertEqual(len(np.unique(ids[:n])), n)
                    steps = np.diff(row[:n])
                    self.assertTrue((steps >= 0).all() if metric == faiss.METRIC_L2 else (steps <= 0).all())

    def test_selectors(self):
        some = np.arange(0, len(BASE), 7)
        bits = np.zeros(len(BASE) // 8, dtype="uint8")
        bits[:25] = 0x55
        selectors = [faiss.IDSelectorBatch(some), faiss.IDSelectorArray(some), faiss.IDSelectorRange(50, 900),
                     faiss.IDSelectorBitmap(bits), faiss.IDSelectorNot(faiss.IDSelectorRange(50, 900))]
        if hasattr(faiss, "IDSelectorAll"):
            selectors.append(faiss.IDSelectorAll())
        for key in KEYS:
            for metric in METRICS:
                index = make(key, metric)
                everything = index.search(QUERIES, len(BASE))
                for selector in selectors:
                    distances, labels = index.search(QUERIES, 9, params=params(sel=selector))
                    for q in range(len(QUERIES)):
                        inside = [i >= 0 and selector.is_member(int(i)) for i in everything[1][q]]
                        n = min(9, sum(inside))
                        self.assertEqual((labels[q] >= 0).sum(), n)
                        self.assertTrue(all(selector.is_member(int(i)) for i in labels[q][:n]))
                        np.testing.assert_allclose(distances[q][:n], everything[0][q][inside][:n], rtol=1e-5)

    def test_selectors_in_trees(self):
        selector = faiss.IDSelectorRange(0, 300)
        for key in KEYS:
            index = make("PCA16," + key)
            found = index.search(QUERIES, 5, params=faiss.SearchParametersPreTransform(
                index_params=params(sel=selector)))[1]
            self.assertTrue((found < 300).all())
            if hasattr(faiss, "IndexRefineSearchParameters"):
                index = make(key + ",RFlat")
                found = index.search(QUERIES, 5, params=faiss.IndexRefineSearchParameters(
                    k_factor=3, base_index_params=params(sel=selector)))[1]
                self.assertTrue((found < 300).all())

    def test_max_codes(self):
        for key in KEYS:
            index = make(key)
            stats = faiss.cvar.indexIVF_stats
            stats.reset()
            index.search(QUERIES, 5, params=params(16, max_codes=100))
            self.assertLess(stats.ndis, len(QUERIES) * len(BASE) // 2)
            if key == VLC or FAISS_VERSION >= (1, 8): # the last list is cut
                self.assertEqual(stats.ndis, len(QUERIES) * 100)

    def test_max_codes_of_one_query_and_of_many(self):
        index = make(VLC)
        for codes in (1, 10, 99, 333):
            together = index.search(QUERIES, 5, params=params(16, max_codes=codes))
            self.assertEqual((together[1] >= 0).sum(), len(QUERIES) * min(5, codes))
            for q in range(len(QUERIES)):
                alone = index.search(QUERIES[q:q + 1], 5, params=params(16, max_codes=codes))
                np.testing.assert_array_equal(alone[0][0], together[0][q])
                np.testing.assert_array_equal(alone[1][0], together[1][q])

    def test_early_stops(self):
        more = faiss.SearchParametersIVF(nprobe=16)
        if not hasattr(more, "ensure_topk_full"):
            self.skipTest(f"FAISS {faiss.__version__} has none")
        for key in KEYS:
            index = make(key)
            selector = faiss.IDSelectorRange(0, 200)
            more = faiss.SearchParametersIVF(nprobe=16, max_codes=3, sel=selector)
            self.assertTrue((index.search(QUERIES, 10, params=more)[1] < 0).any())
            more.ensure_topk_full = True
            self.assertTrue((index.search(QUERIES, 10, params=more)[1] >= 0).all())
            radius = float(np.median(index.search(QUERIES, 50)[0]))
            more = faiss.SearchParametersIVF(nprobe=16)
            counts = []
            for more.max_empty_result_buckets in (0, 3, 1):
                counts.append(np.diff(index.range_search(QUERIES, radius, params=more)[0].astype(int)))
            self.assertTrue((counts[0] >= counts[1]).all() and (counts[1] >= counts[2]).all())
            self.assertTrue((counts[0] > counts[2]).any())
        index = make(VLC) # FAISS's own: FastScan only
        few = faiss.SearchParametersIVF(nprobe=16, max_lists_num=3)
        assert_same(index.search(QUERIES, 5, params=few), index.search(QUERIES, 5, params=params(3)))

    def test_max_probes(self):
        index = make(VLC)
        selector = faiss.IDSelectorBatch(np.arange(0, len(BASE), 50))
        own = faiss_vlc.SearchParametersVLC(nprobe=1, sel=selector)
        self.assertIsInstance(own, faiss.SearchParametersIVF)
        self.assertTrue((index.search(QUERIES, 10, params=own)[1] < 0).any())
        own.max_probes = 16
        found = index.search(QUERIES, 10, params=own)[1]
        self.assertTrue((found >= 0).all() and (found % 50 == 0).all())
        also = faiss_vlc.SearchParametersVLC(max_probes=16, nprobe=1, sel=selector)
        np.testing.assert_array_equal(index.search(QUERIES, 10, params=also)[1], found)
        index.max_probes = 16
        np.testing.assert_array_equal(index.search(QUERIES, 10, params=params(1, selector))[1], found)
        tree = make("PCA16," + VLC)
        found = tree.search(QUERIES, 10, params=faiss.SearchParametersPreTransform(index_params=also))[1]
        self.assertTrue((found >= 0).all() and (found % 50 == 0).all())
        self.assertRaises((AssertionError, AttributeError), faiss_vlc.SearchParametersVLC, nothing=1)

    def test_regions(self):
        parameters = faiss_vlc.VLCParameters(m=64, bytes=18, regions=16, device="reference")
        index = faiss_vlc.IndexVLC(D, parameters)
        index.train(TRAIN)
        index.add(BASE)
        again = faiss.deserialize_index(faiss.serialize_index(index))
        self.assertEqual(again.parameters.regions, 16)
        index.nprobe = again.nprobe = 2
        usual = index.search(QUERIES, 10)
        assert_same(again.search(QUERIES, 10), usual)
        exact = faiss_vlc.SearchParametersVLC(nprobe=2, exact_ranking=True)
        all_ranked = index.search(QUERIES, 10, params=exact)
        faiss_vlc.ParameterSpace().set_index_parameters(index, "nprobe=2,exact_ranking=1")
        self.assertIs(index.exact_ranking, True)
        assert_same(index.search(QUERIES, 10), all_ranked)
        self.assertGreater((usual[1] == all_ranked[1]).mean(), 0.9)
        faiss_vlc.ParameterSpace().set_index_parameter(index, "exact_ranking", 0)
        assert_same(index.search(QUERIES, 10), usual)
        everywhere = params(64)
        assert_same(index.search(QUERIES, 10, params=everywhere), faiss.clone_index(index).search(
            QUERIES, 10, params=faiss_vlc.SearchParametersVLC(nprobe=64, exact_ranking=True)))
        for bad in (1, -2, 65537):
            parameters.regions = bad
            with self.assertRaisesRegex(RuntimeError, f"regions: expected .* got {bad}"):
                faiss_vlc.IndexVLC(D, parameters)

    def test_statistics(self):
        for key in KEYS:
            index = make(key)
            stats = faiss.cvar.indexIVF_stats
            stats.reset()
            index.search(QUERIES, 5)
            self.assertEqual((stats.nq, stats.nlist), (len(QUERIES), len(QUERIES) * 8))
            self.assertGreater(stats.ndis, len(QUERIES) * 100)
            self.assertGreater(stats.quantization_time, 0)
            self.assertGreater(stats.search_time, stats.quantization_time)
            before = stats.search_time
            index.range_search(QUERIES, 1.0)
            self.assertGreater(stats.search_time, before)
            self.assertEqual(stats.nq, 2 * len(QUERIES))
            found = faiss.search_with_parameters(index, QUERIES, 5, output_stats=True)
            self.assertGreater(found[2]["ndis"], 0)

    def test_wrong_parameters(self):
        for key in KEYS:
            index = make(key)
            with self.assertRaisesRegex(RuntimeError, "parameters|params"):
                index.search(QUERIES, 5, params=faiss.SearchParametersHNSW())
            self.assertRaises((RuntimeError, AssertionError), index.search, QUERIES, 0)
            self.assertRaises(AssertionError, index.search, QUERIES[:, 1:].copy(), 5)

    def test_empty_and_nan(self):
        for key in KEYS:
            index = make(key)
            distances, labels = index.search(QUERIES[:0], 5)
            self.assertEqual((distances.shape, labels.shape), ((0, 5), (0, 5)))
            queries = QUERIES.copy()
            queries[1, 3] = np.nan
            found = index.search(queries, 5)[1]
            self.assertEqual(found[1].tolist(), [-1] * 5)
            np.testing.assert_array_equal(found[2:], index.search(QUERIES, 5)[1][2:])
            empty = make(key, add=False)
            self.assertTrue((empty.search(QUERIES, 5)[1] == -1).all())

    def test_untrained(self):
        index = faiss.index_factory(D, VLC)
        for call in (lambda: index.add(BASE), lambda: index.search(QUERIES, 5), lambda: index.reconstruct(0),
                     lambda: index.sa_encode(BASE), lambda: index.range_search(QUERIES, 1.0)):
            with self.assertRaisesRegex((RuntimeError, AssertionError), "trained|^$"):
                call()

    def test_output_arrays(self):
        for key in KEYS:
            index = make(key)
            distances = np.empty((len(QUERIES), 5), dtype="float32")
            labels = np.empty((len(QUERIES), 5), dtype="int64")
            index.search(QUERIES, 5, D=distances, I=labels)
            assert_same((distances, labels), index.search(QUERIES, 5))

    def test_other_types_of_input(self):
        for key in KEYS:
            index = make(key)
            expected = index.search(QUERIES, 5)
            assert_same(index.search(np.asfortranarray(QUERIES), 5), expected)
            assert_same(index.search(QUERIES[::-1], 5), (expected[0][::-1], expected[1][::-1]))

    def test_other_numbers(self):
        # what FAISS makes of them depends on its version: the same for both
        outcomes = []
        for key in KEYS:
            outcome = {}
            for kind in ("float64", "float16", "uint8", "int32"):
                index = make(key, add=False)
                for name, call in [("add", lambda x: index.add(x)), ("search", lambda x: index.search(x, 5)),
                                   ("assign", lambda x: index.assign(x, 1)),
                                   ("range_search", lambda x: index.range_search(x, 1.0)),
                                   ("sa_encode", lambda x: index.sa_encode(x)),
                                   ("train", lambda x: faiss.index_factory(D, key).train(x))]:
                    data = np.ascontiguousarray((TRAIN * 20).astype(kind))
                    try:
                        call(data)
                        outcome[kind, name] = "fine"
                    except Exception as error:
                        outcome[kind, name] = type(error)
                    if outcome[kind, name] == "fine" and name == "search":
                        assert_same(index.search(data, 5), index.search(data.astype("float32"), 5))
            outcomes.append(outcome)
        self.assertEqual(outcomes[0], outcomes[1])


class Range(unittest.TestCase):
    def test_as_search(self):
        for key in KEYS:
            for metric in METRICS:
                index = make(key, metric)
                distances, labels = index.search(QUERIES, len(BASE))
                radius = float(np.median(distances[:, 30]))
                limits, near, ids = index.range_search(QUERIES, radius)
                self.assertEqual(limits[-1], len(ids))
                left_out = [0]
                for q in range(len(QUERIES)):
                    inside = distances[q] < radius if metric == faiss.METRIC_L2 else distances[q] > radius
                    inside &= labels[q] >= 0
                    found = dict(zip(ids[limits[q]:limits[q + 1]], near[limits[q]:limits[q + 1]]))
                    wanted = dict(zip(labels[q][inside], distances[q][inside]))
                    self.assertEqual(len(found), limits[q + 1] - limits[q])
                    if "+" in key: # the first tier, by which lists are scanned, overlooks some
                        left_out.append(len(wanted) - len(found))
                        wanted = {label: wanted[label] for label in found}
                    self.assertEqual(sorted(found), sorted(wanted))
                    np.testing.assert_allclose([found[i] for i in wanted], list(wanted.values()), rtol=1e-5)
                self.assertLessEqual(sum(left_out), 0.01 * limits[-1])

    def test_parameters(self):
        for key in KEYS:
            index = make(key)
            radius = float(np.median(index.search(QUERIES, 30)[0]))
            selector = faiss.IDSelectorRange(0, 500)
            limits, _, ids = index.range_search(QUERIES, radius, params=params(16, selector))
            self.assertTrue((ids < 500).all())
            self.assertGreater(limits[-1], 0)
            self.assertLess(index.range_search(QUERIES, radius, params=params(1))[0][-1],
                            index.range_search(QUERIES, radius, params=params(16))[0][-1])


class Reconstruction(unittest.TestCase):
    def test_search_and_reconstruct(self):
        for key in KEYS:
            for tree in ("{}", "PCA16,{}"):
                index = make(tree.format(key))
                distances, labels, vectors = index.search_and_reconstruct(QUERIES, 5)
                assert_same((distances, labels), index.search(QUERIES, 5))
                self.assertEqual(vectors.shape, (len(QUERIES), 5, D))
                if tree != "PCA16,{}":
                    near = ((vectors - BASE[labels]) ** 2).sum(2).mean()
                    self.assertLess(near, ((QUERIES[:, None] - BASE[labels]) ** 2).sum(2).mean())

    def test_estimates_are_close(self):
        index = make(VLC)
        distances, labels = index.search(QUERIES, 5)
        exact = ((QUERIES[:, None] - BASE[labels]) ** 2).sum(2)
        self.assertLess(np.abs(distances - exact).mean(), 0.05 * exact.mean())

    def test_distance_computer(self):
        for key in KEYS:
            index = make(key)
            computer = index.get_distance_computer()
            computer.set_query(faiss.swig_ptr(QUERIES[:1]))
            index.make_direct_map()
            x = index.reconstruct_n(0, 10)
            for i in range(10):
                self.assertAlmostEqual(computer(i), ((QUERIES[0] - x[i]) ** 2).sum(), places=3)


if __name__ == "__main__":
    unittest.main()
