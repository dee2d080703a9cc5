"""An IndexVLC in the place of an IVFPQ, for programs that know only that: keys, classes, parameters, arguments."""

import contextlib
import copy
import io
import os
import pickle
import tempfile
import unittest

import faiss
import numpy as np

import faiss_vlc
from faiss_vlc import IndexVLC, SearchParametersVLC
from python_fixture import BASE, D, FAISS_VERSION, IVFPQ, QUERIES, TRAIN, VLC, assert_same, fresh_process, make

KEYS = {"IVF16,PQ8": (16, 8), "OPQ8,IVF16,PQ8": (16, 8), "OPQ8_16,IVF16_HNSW32,PQ8x8": (16, 8),
        "IVF16,PQ16x4fs": (16, 8), "IVF16,PQ16x4": (16, 8), "IDMap,IVF16,PQ8": (16, 8), "PCA16,IVF16,PQ8": (16, 8),
        "IVF16,PQ8,RFlat": (16, 8)}


@contextlib.contextmanager
def standing_in():
    faiss_vlc.stand_in_for_ivfpq()
    try:
        yield
    finally:
        faiss_vlc.stand_in_for_ivfpq(False)


class StandIn(unittest.TestCase):
    def test_keys(self):
        for key, (lists, size) in KEYS.items():
            for metric in (faiss.METRIC_L2, faiss.METRIC_INNER_PRODUCT):
                self.assertEqual(faiss_vlc._plug.vlcs_in(faiss.index_factory(D, key, metric)), [])
                with standing_in():
                    index = faiss.index_factory(D, key, metric)
                vlc, = faiss_vlc._plug.vlcs_in(index)
                self.assertEqual((vlc.nlist, vlc.code_size, vlc.metric_type), (lists, size, metric), key)
        with standing_in():
            for key in ("IVF16,Flat", "PQ8", "HNSW8", "IVF16,PQ8+4"):
                self.assertEqual(faiss_vlc._plug.vlcs_in(faiss.index_factory(D, key)), [])
            self.assertEqual(faiss_vlc._plug.vlcs_in(faiss.index_factory(D, "IVF16,PQ8", faiss.METRIC_L1)), [])

    def test_same_bytes(self):
        for key in ("IVF16,PQ8", "IVF16,PQ16x4fs", "IVF16,PQ8x5"):
            stock = faiss.downcast_index(faiss.index_factory(D, key))
            with standing_in():
                self.assertEqual(faiss.index_factory(D, key).code_size, stock.code_size, key)

    def test_classes(self):
        kinds = [(faiss.IndexIVFPQ, 8, 8), (faiss.IndexIVFPQFastScan, 16, 4)]
        for kind, m, bits in kinds:
            for metric in (faiss.METRIC_L2, faiss.METRIC_INNER_PRODUCT):
                quantizer = faiss.IndexFlat(D, metric)
                self.assertIs(type(kind(quantizer, D, 16, m, bits, metric)), kind)
                with standing_in():
                    index = kind(quantizer, D, 16, m, bits, metric)
                self.assertIs(type(index), IndexVLC)
                self.assertEqual((index.d, index.nlist, index.code_size, index.metric_type), (D, 16, 8, metric))
                index.own_fields = True # as callers of FAISS do
                index.train(TRAIN)
                index.add(BASE)
                self.assertEqual(index.search(QUERIES, 5)[1].shape, (len(QUERIES), 5))
        with standing_in():
            stock = faiss.deserialize_index(faiss.serialize_index(make(IVFPQ)))
            self.assertIs(type(faiss.clone_index(stock)), faiss.IndexIVFPQ)

    def test_what_no_vlc_can_be_stays(self):
        flat = faiss.IndexFlat(D, faiss.METRIC_L1)
        with standing_in():
            self.assertIs(type(faiss.IndexIVFPQ(flat, D, 16, 8, 8, faiss.METRIC_L1)), faiss.IndexIVFPQ)
            self.assertIs(type(faiss.IndexIVFPQR(faiss.IndexFlat(D), D, 16, 8, 8, 8, 8)), faiss.IndexIVFPQR)
            if FAISS_VERSION >= (1, 12):
                bare = faiss.IndexIVFPQ(faiss.IndexFlat(D), D, 16, 8, 8, faiss.METRIC_L2, False)
                self.assertIs(type(bare), faiss.IndexIVFPQ)

    def test_centroids_of_the_quantizer(self):
        flat = faiss.IndexFlatL2(D)
        flat.add(TRAIN[:16])
        with standing_in():
            index = faiss.IndexIVFPQ(flat, D, 16, 8, 8)
        index.train(TRAIN)
        self.assertLess(np.abs(index.quantizer.reconstruct_n(0, 16) - TRAIN[:16]).max(), 0.05)

    def test_environment(self):
        code = "import faiss, faiss_vlc; print(type(faiss.index_factory(32, 'IVF16,PQ8')).__name__)"
        for value, name in (("1", "IndexVLC"), ("0", "IndexIVFPQ"), ("", "IndexIVFPQ")):
            self.assertEqual(fresh_process(code, VLC_FOR_IVFPQ=value), name)
        self.assertRaisesRegex(AssertionError, "VLC_FOR_IVFPQ: expected 1 or 0, got 'x'", fresh_process, code,
                               VLC_FOR_IVFPQ="x")

    def test_early_names(self):
        code = ("from faiss import index_factory, IndexIVFPQ, IndexFlatL2\nimport faiss_vlc\n"
                "faiss_vlc.stand_in_for_ivfpq()\n"
                "print(type(index_factory(32, 'IVF16,PQ8')).__name__,"
                " type(IndexIVFPQ(IndexFlatL2(32), 32, 16, 8, 8)).__name__)")
        self.assertEqual(fresh_process(code), "IndexVLC IndexVLC")


class Parameters(unittest.TestCase):
    NAMES = "ht=24,k_factor=2,efSearch=16,quantizer_efSearch=16,quantizer_nprobe=2"

    def test_those_of_ivfpq_are_ignored_once(self):
        said = fresh_process(
            "import contextlib, io, faiss, faiss_vlc\n"
            "with contextlib.redirect_stderr(io.StringIO()) as said:\n"
            "    for key in ('VLC16', 'PCA16,VLC16', 'IDMap,VLC16', 'VLC16,RFlat'):\n"
            "        index = faiss.index_factory(32, key)\n"
            "        faiss.ParameterSpace().set_index_parameters(index, 'nprobe=3,ht=24,efSearch=16')\n"
            "        faiss.ParameterSpace().set_index_parameter(index, 'ht', 7)\n"
            "        assert faiss_vlc._plug.vlcs_in(index)[0].nprobe == 3\n"
            "print(said.getvalue())")
        self.assertEqual(said.splitlines(), [f"faiss_vlc: ParameterSpace: '{name}' is for IVFPQ or a quantizer, and "
                                             "ignored in an IndexVLC" for name in ("ht", "efSearch")])

    def test_all(self):
        with contextlib.redirect_stderr(io.StringIO()):
            index = make(VLC, add=False)
            faiss.ParameterSpace().set_index_parameters(index, self.NAMES + ",nprobe=5,max_probes=6,max_codes=7")
            self.assertEqual((index.nprobe, index.max_probes, index.max_codes), (5, 6, 7))
            for name in self.NAMES.split(","):
                faiss.ParameterSpace().set_index_parameter(index, name.split("=")[0], 3)

    def test_other_indexes_and_names_are_refused_as_before(self):
        for index, name in ((faiss.IndexFlat(D), "ht"), (make(VLC, add=False), "hts"), (make(VLC, add=False), "quantizer")):
            self.assertRaises(RuntimeError, faiss.ParameterSpace().set_index_parameter, index, name, 1)
            self.assertRaises(RuntimeError, faiss.ParameterSpace().set_index_parameters, index, name + "=1")
        stock = make(IVFPQ, add=False)
        faiss.ParameterSpace().set_index_parameters(stock, "nprobe=5,ht=24")
        self.assertEqual((stock.nprobe, stock.polysemous_ht), (5, 24))


class SearchParameters(unittest.TestCase):
    def test_pickle_and_copy(self):
        parameters = SearchParametersVLC(nprobe=5, max_codes=7, max_probes=9)
        for again in (pickle.loads(pickle.dumps(parameters)), copy.copy(parameters), copy.deepcopy(parameters)):
            self.assertIs(type(again), SearchParametersVLC)
            self.assertIsNot(again, parameters)
            self.assertEqual((again.nprobe, again.max_codes, again.max_probes), (5, 7, 9))
            again.nprobe = 1
            self.assertEqual(parameters.nprobe, 5)
        index = make(VLC)
        assert_same(index.search(QUERIES, 5, params=pickle.loads(pickle.dumps(parameters))),
                    index.search(QUERIES, 5, params=parameters))

    def test_every_field_of_numbers(self):
        parameters = SearchParametersVLC()
        fields = [name for name, value in faiss_vlc._index._search_fields(parameters).items()
                  if isinstance(value, (bool, int, float))]
        self.assertIn("nprobe", fields)
        for i, name in enumerate(fields):
            kind = type(getattr(parameters, name))
            setattr(parameters, name, kind(i + 3))
        again = pickle.loads(pickle.dumps(parameters))
        for name in fields:
            self.assertEqual(getattr(again, name), getattr(parameters, name), name)

    def test_selectors(self):
        index = make(VLC)
        selector = faiss.IDSelectorRange(100, 200)
        parameters = SearchParametersVLC(nprobe=16, sel=selector)
        found = index.search(QUERIES, 5, params=copy.copy(parameters))
        assert_same(found, index.search(QUERIES, 5, params=parameters))
        self.assertTrue(((found[1] >= 100) & (found[1] < 200)).all())
        self.assertRaisesRegex(TypeError, "cannot pickle sel, .*IDSelector", pickle.dumps, parameters)


class Arguments(unittest.TestCase):
    """By name and by place, as FAISS takes them."""

    def test_factory(self):
        self.assertIs(type(faiss.index_factory(D, "VLC16", faiss.METRIC_L2)), IndexVLC)
        self.assertIs(type(faiss.index_factory(D, "VLC16", metric=faiss.METRIC_INNER_PRODUCT)), IndexVLC)
        self.assertIs(type(faiss.index_factory(D, "VLC16", own_invlists=True)), IndexVLC)
        self.assertRaisesRegex(RuntimeError, "expected True", faiss.index_factory, D, "VLC16", own_invlists=False)
        with standing_in():
            if FAISS_VERSION >= (1, 12):
                self.assertIs(type(faiss.index_factory(D, "IVF16,PQ8", faiss.METRIC_L2, False)), faiss.IndexIVFPQ)
            else:
                self.assertRaisesRegex(RuntimeError, "no such argument", faiss.index_factory, D, "IVF16,PQ8",
                                       faiss.METRIC_L2, False)

    def test_files(self):
        index = make(VLC)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "x.vlc")
            faiss.write_index(index, path)
            for again in (faiss.read_index(path), faiss.read_index(path, faiss.IO_FLAG_MMAP),
                          faiss.read_index(path, io_flags=faiss.IO_FLAG_READ_ONLY)):
                assert_same(again.search(QUERIES, 5), index.search(QUERIES, 5))
            if FAISS_VERSION >= (1, 9):
                faiss.write_index(index, path, io_flags=0)
                faiss.write_index(make(IVFPQ), path, 0)

    def test_merge_from(self):
        for key in (IVFPQ, VLC):
            first, second = make(key), make(key)
            first.merge_from(second, *([0] if key == IVFPQ else [])) # which FAISS asks for
            self.assertEqual((first.ntotal, second.ntotal), (2 * len(BASE), 0))
            self.assertEqual(sorted(np.unique(first.search(QUERIES, 5)[1]))[-1] < len(BASE), True)

    def test_deleting(self):
        """del, and the explicit way of SWIG's classes."""
        for make_one in (lambda: make(VLC), SearchParametersVLC, faiss_vlc.VLCParameters):
            one = make_one()
            self.assertTrue(one.thisown)
            one.__swig_destroy__(one)
            one.thisown = False
            del one


if __name__ == "__main__":
    unittest.main()
