"""Anchors that somebody puts into the quantizer before training, as FAISS's own wrappers do it."""

import unittest

import faiss
import numpy as np
from faiss.contrib import clustering

from python_fixture import BASE, D, IVFPQ, KEYS, QUERIES, TRAIN, VLC, assert_same, make


class GivenAnchors(unittest.TestCase):
    def test_they_are_taken(self):
        centroids = faiss.Kmeans(D, 16, seed=5)
        centroids.train(TRAIN)
        flat = faiss.IndexFlat(D)
        flat.add(BASE)
        truth = flat.search(QUERIES, 10)[1]
        for key in (VLC, "VLCx4"):
            for metric in (faiss.METRIC_L2, faiss.METRIC_INNER_PRODUCT):
                index = faiss.index_factory(D, key, metric)
                index.quantizer.add(centroids.centroids)
                index.train(TRAIN)
                anchors = index.quantizer.reconstruct_n(0, 16)
                self.assertEqual(index.nlist, 16)
                self.assertLess(np.abs(anchors - centroids.centroids).max(), 0.02) # a step of the lattice
                index.add(BASE)
                index.nprobe = 16
                if metric == faiss.METRIC_L2:
                    found = index.search(QUERIES, 10)[1]
                    self.assertGreater(np.mean([len(np.intersect1d(a, b)) / 10 for a, b in zip(found, truth)]), 0.8)
                again = faiss.deserialize_index(faiss.serialize_index(index))
                assert_same(again.search(QUERIES, 5), index.search(QUERIES, 5))

    def test_training_again_does_not_keep_trained_ones(self):
        index = make(VLC, add=False)
        expected = faiss.serialize_index(index).tobytes()
        index.train(TRAIN[::-1].copy())
        self.assertNotEqual(faiss.serialize_index(index).tobytes(), expected)

    def test_what_does_not_fit_is_refused(self):
        for key, rows in ((VLC, 15), (VLC, 17)):
            index = faiss.index_factory(D, key)
            index.quantizer.add(TRAIN[:rows])
            self.assertRaisesRegex(RuntimeError, f"quantizer holds {rows} vectors.*expected none.*or 16", index.train,
                                   TRAIN)
        index = faiss.index_factory(D, VLC)
        index.quantizer.add(np.full((16, D), np.nan, dtype="float32"))
        self.assertRaisesRegex(RuntimeError, "anchors", index.train, TRAIN)

    def test_two_levels(self):
        if not hasattr(clustering, "train_ivf_index_with_2level"):
            self.skipTest("not in this version of FAISS")
        for key in KEYS:
            index = faiss.index_factory(D, key)
            clustering.train_ivf_index_with_2level(index, TRAIN)
            index.add(BASE)
            index.nprobe = 16
            self.assertTrue((index.search(QUERIES, 5)[1] >= 0).all())

    def test_independent_quantizers_are_trained(self):
        if not hasattr(faiss, "IndexIVFIndependentQuantizer"):
            self.skipTest("not in this version of FAISS")
        flat = faiss.IndexFlat(D)
        flat.add(BASE)
        truth = flat.search(QUERIES, 10)[1]
        recall = {}
        for key in KEYS:
            rows = np.eye(2 * D, dtype="float32")[:D]
            half = faiss.LinearTransform(2 * D, D, False)
            faiss.copy_array_to_vector(rows.ravel(), half.A)
            half.is_trained = True
            inner = faiss.index_factory(D, key)
            both = faiss.IndexIVFIndependentQuantizer(faiss.IndexFlat(2 * D), inner, half)
            both.train(np.hstack([TRAIN] * 2))
            self.assertTrue(inner.is_trained)
            both.add(np.hstack([BASE] * 2))
            inner.nprobe = 8
            recall[key] = np.mean([len(np.intersect1d(a, b)) / 10 for a, b in
                                   zip(both.search(np.hstack([QUERIES] * 2), 10)[1], truth)])
        self.assertGreater(recall[VLC], recall[IVFPQ])
        self.assertGreater(recall[VLC], 0.7)

    def test_shards_train_together(self):
        if not hasattr(faiss, "IndexShardsIVF"):
            self.skipTest("not in this version of FAISS")
        for key in KEYS:
            quantizer = faiss.IndexFlatL2(D)
            shards = faiss.IndexShardsIVF(quantizer, 16, False, False)
            parts = [faiss.index_factory(D, key) for _ in range(3)]
            for part in parts:
                shards.add_shard(part)
            shards.train(TRAIN)
            shards.add(BASE)
            alone = faiss.index_factory(D, key)
            alone.quantizer.add(quantizer.reconstruct_n(0, 16))
            alone.train(TRAIN)
            alone.add(BASE)
            for index in parts + [alone]:
                index.nprobe = 16 # lists on the border of two anchors may change places
            assert_same(shards.search(QUERIES, 5), alone.search(QUERIES, 5))


if __name__ == "__main__":
    unittest.main()
