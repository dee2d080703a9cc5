"""Saving, loading, cloning and pickling through FAISS's own names."""

import copy
import io
import os
import pathlib
import pickle
import tempfile
import unittest

import faiss
import numpy as np

import faiss_vlc
from python_fixture import (BASE, D, FAISS_VERSION, KEYS, QUERIES, VLC, add_base, assert_same, fresh_process,
                            make)

TREES = ["{}", "PCA16,{}", "IDMap,{}", "IDMap2,{}", "{},RFlat"]


def indexes():
    """Every tree of both kinds, and a search in it."""
    for tree in TREES:
        for key in KEYS:
            index = make(tree.format(key))
            yield index, index.search(QUERIES, 5)


class Files(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.path = str(self.folder / "x.index")

    def test_file(self):
        for index, expected in indexes():
            faiss.write_index(index, self.path)
            again = faiss.read_index(self.path)
            self.assertIs(type(again), type(index))
            assert_same(again.search(QUERIES, 5), expected)
            faiss.write_index(index, self.path + "2")
            self.assertEqual((self.folder / "x.index").read_bytes(), (self.folder / "x.index2").read_bytes())

    def test_flags(self):
        index = make(VLC)
        faiss.write_index(index, self.path)
        for flags in (faiss.IO_FLAG_MMAP, faiss.IO_FLAG_READ_ONLY, faiss_vlc.IO_FLAG_MMAP_SECOND):
            assert_same(faiss.read_index(self.path, flags).search(QUERIES, 5), index.search(QUERIES, 5))

    def test_second_tier_in_the_file(self):
        index = make("VLC16b6+20")
        expected = index.search(QUERIES, 5)
        faiss.write_index(index, self.path)
        mapped = faiss.read_index(self.path, faiss_vlc.IO_FLAG_MMAP_SECOND)
        self.assertLess(mapped.memory(), index.memory() - 20 * len(BASE))
        assert_same(mapped.search(QUERIES, 5), expected)
        os.remove(self.path)  # a file may go
        mapped.add(BASE[:5])
        index.add(BASE[:5])
        assert_same(mapped.search(QUERIES, 5), index.search(QUERIES, 5))
        other = make(KEYS[0])  # FAISS is not bothered with the flag
        faiss.write_index(other, self.path)
        again = faiss.read_index(self.path, faiss_vlc.IO_FLAG_MMAP_SECOND)
        assert_same(again.search(QUERIES, 5), other.search(QUERIES, 5))
        faiss.write_index(index, self.path)
        with open(self.path, "r+b") as file:
            file.truncate(os.path.getsize(self.path) - 1)
        with self.assertRaises(RuntimeError):
            faiss.read_index(self.path, faiss_vlc.IO_FLAG_MMAP_SECOND)

    def test_flags_of_writing(self):
        skip = 1 # storage of graphs: there is none here
        for index, _ in indexes():
            if FAISS_VERSION >= (1, 9):
                faiss.write_index(index, self.path)
                faiss.write_index(index, self.path + "2", skip)
                self.assertEqual((self.folder / "x.index").read_bytes(), (self.folder / "x.index2").read_bytes())
            elif faiss_vlc._plug.vlcs_in(index):
                with self.assertRaisesRegex(RuntimeError, "no flags for writing: expected 0, got 1"):
                    faiss.write_index(index, self.path, skip)
                self.assertEqual(list(self.folder.iterdir()), [])

    def test_pathlib(self):
        faiss.write_index(make(VLC), self.folder / "p.vlc")
        self.assertEqual(faiss.read_index(self.folder / "p.vlc").ntotal, len(BASE))

    def test_by_itself_it_is_a_vlc_file(self):
        faiss.write_index(make(VLC), self.path)
        self.assertEqual((self.folder / "x.index").read_bytes()[:8], b"\x89VLC\r\n\x1a\n")

    def test_callbacks(self):
        for index, expected in indexes():
            stream = io.BytesIO()
            faiss.write_index(index, faiss.PyCallbackIOWriter(stream.write, 777))
            stream.seek(0)
            again = faiss.read_index(faiss.PyCallbackIOReader(stream.read, 555))
            self.assertIs(type(again), type(index))
            assert_same(again.search(QUERIES, 5), expected)

    def test_a_failing_callback(self):
        def write(_):
            raise OSError("disk full")
        for key in KEYS:
            with self.assertRaisesRegex(OSError, "disk full"):
                faiss.write_index(make(key), faiss.PyCallbackIOWriter(write))

    def test_file_readers(self):
        for index, expected in indexes():
            writer = faiss.FileIOWriter(self.path)
            faiss.write_index(index, writer)
            del writer
            again = faiss.read_index(faiss.FileIOReader(self.path))
            assert_same(again.search(QUERIES, 5), expected)

    def test_buffered(self):
        for index, expected in indexes():
            writer = faiss.VectorIOWriter()
            buffered = faiss.BufferedIOWriter(writer, 1000)
            faiss.write_index(index, buffered)
            del buffered
            reader = faiss.VectorIOReader()
            faiss.copy_array_to_vector(faiss.vector_to_array(writer.data), reader.data)
            assert_same(faiss.read_index(faiss.BufferedIOReader(reader, 999)).search(QUERIES, 5), expected)

    def test_errors(self):
        self.assertRaises(RuntimeError, faiss.read_index, str(self.folder / "nothing"))
        self.assertRaises(RuntimeError, faiss.write_index, make(VLC), str(self.folder / "no" / "folder"))
        index = make(VLC)
        data = faiss.serialize_index(index)
        for damaged in (data[:-1], data[:100], np.concatenate((data[:2000], data[2001:])), data[:0]):
            self.assertRaises(RuntimeError, faiss.deserialize_index, damaged.copy())

    def test_untrained(self):
        for tree in TREES:
            index = faiss.index_factory(D, tree.format(VLC))
            again = faiss.deserialize_index(faiss.serialize_index(index))
            self.assertFalse(again.is_trained)
            again.train(BASE)
            add_base(again)
            self.assertEqual(again.search(BASE[:1], 1)[1][0, 0], 0)

    def test_nothing_of_stock_changes(self):
        index = faiss.index_factory(D, "PCA8,IVF4,Flat")
        index.train(BASE)
        stock = faiss_vlc._plug._stock["write_index"]
        stock(index, self.path)
        self.assertEqual((self.folder / "x.index").read_bytes(), faiss.serialize_index(index).tobytes())

    def test_stock_reads_and_upgrade(self):
        index = make("PCA16," + VLC)
        faiss.write_index(index, self.path)
        stock = faiss_vlc._plug._stock["read_index"](self.path)
        inner = faiss.downcast_index(stock.index)
        self.assertIs(type(inner), faiss.IndexIVFFlat)
        plain = stock.search(QUERIES, 5)[1] # by plain decoding
        found = index.search(QUERIES, 5)[1]
        common = [len(np.intersect1d(a, b)) for a, b in zip(plain, found)]
        self.assertGreater(np.mean(common), 4)
        assert_same(faiss_vlc.upgrade(stock).search(QUERIES, 5), index.search(QUERIES, 5))

    def test_without_the_plugin(self):
        for tree, words in [("PCA16,{}", "RuntimeError.*(InvertedListsIOHook|ilVC|InvertedListIOHook)"),
                            ("{}", "RuntimeError.*Index type")]:
            faiss.write_index(make(tree.format(VLC)), self.path)
            self.assertRegex(fresh_process(
                "import faiss, sys\n"
                "try:\n"
                "    faiss.read_index(sys.argv[1])\n"
                "except RuntimeError as error:\n"
                "    print('RuntimeError', str(error).replace('\\n', ' '))\n", self.path), words)

    def test_ids_below_something_else(self):
        # an IDMap as the quantizer of an inverted file: the last ids of the file are not its own
        quantizer = faiss.IndexIDMap2(faiss.IndexFlat(D))
        quantizer.add_with_ids(BASE[:30], np.arange(30))
        index = faiss.IndexIVFFlat(quantizer, D, 100)
        faiss.write_index(index, self.path)
        again = faiss.read_index(self.path)
        self.assertEqual(again.quantizer.ntotal, 30)

    def test_none(self):
        try:
            data = faiss.serialize_index(None)
        except (RuntimeError, TypeError):
            self.skipTest(f"FAISS {faiss.__version__} does not save None")
        self.assertIsNone(faiss.deserialize_index(data))


class Copies(unittest.TestCase):
    def test_serialize(self):
        for index, expected in indexes():
            data = faiss.serialize_index(index)
            self.assertEqual(data.dtype, np.uint8)
            again = faiss.deserialize_index(data)
            self.assertIs(type(again), type(index))
            assert_same(again.search(QUERIES, 5), expected)

    def test_clone(self):
        for tree in ["{}", "PCA16,{}"]:
            for key in KEYS:
                index = make(tree.format(key))
                again = faiss.clone_index(index)
                self.assertIs(type(again), type(index))
                assert_same(again.search(QUERIES, 5), index.search(QUERIES, 5))
                again.add(BASE)
                self.assertEqual((index.ntotal, again.ntotal), (len(BASE), 2 * len(BASE)))

    def test_a_clone_outlives_its_original(self):
        index = make(VLC)
        expected = index.search(QUERIES, 5)
        clone = faiss.clone_index(index)
        del index
        assert_same(clone.search(QUERIES, 5), expected)

    def test_pickle_and_copy(self):
        for index, expected in indexes():
            for again in [pickle.loads(pickle.dumps(index)), copy.copy(index), copy.deepcopy(index)]:
                self.assertIs(type(again), type(index))
                assert_same(again.search(QUERIES, 5), expected)

    def test_pickle_protocols(self):
        index = make(VLC)
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            self.assertEqual(pickle.loads(pickle.dumps(index, protocol)).ntotal, len(BASE))
        self.assertEqual(pickle.loads(pickle.dumps({"a": [index]}))["a"][0].ntotal, len(BASE))
        parameters = faiss_vlc.VLCParameters(m=3, device="reference")
        self.assertEqual(pickle.loads(pickle.dumps(parameters)), parameters)

    def test_a_fresh_process_unpickles(self):
        with tempfile.TemporaryDirectory() as folder:
            for tree in TREES:
                index = make(tree.format(VLC))
                path = os.path.join(folder, "x.pkl")
                with open(path, "wb") as file:
                    pickle.dump((index, QUERIES), file)
                labels = fresh_process(
                    "import pickle, sys\n"
                    "index, queries = pickle.load(open(sys.argv[1], 'rb'))\n"
                    "print(index.search(queries, 5)[1].tolist())\n", path)
                self.assertEqual(labels, str(index.search(QUERIES, 5)[1].tolist()))


if __name__ == "__main__":
    unittest.main()
