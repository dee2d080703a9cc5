"""Functions that were imported from faiss by name before faiss_vlc, as other packages do."""

import unittest

from faiss import (IO_FLAG_MMAP, BufferedIOReader, FileIOReader, FileIOWriter, IndexFlat, IndexIVFPQ, ParameterSpace,
                   clone_index, deserialize_index, downcast_index, extract_index_ivf, index_factory, read_index,
                   serialize_index, try_extract_index_ivf, write_index)

EARLY = (clone_index, deserialize_index, downcast_index, extract_index_ivf, index_factory, read_index, serialize_index,
         try_extract_index_ivf, write_index)
assert not any(function.__module__.startswith("faiss_vlc") for function in EARLY)

import io
import os
import pathlib
import tempfile

import faiss
import numpy as np

import faiss_vlc
from faiss_vlc import IndexVLC
from python_fixture import BASE, D, IVFPQ, QUERIES, VLC, assert_same, make


class Early(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "x.index")
        self.trees = [make(tree) for tree in (VLC, "PCA16," + VLC, "IDMap2," + VLC, VLC + ",RFlat")]

    def assert_equal(self, index, expected):
        self.assertIs(type(index), type(expected))
        self.assertIsNot(index, expected)
        self.assertEqual(len(faiss_vlc._plug.vlcs_in(index)), 1)
        assert_same(index.search(QUERIES, 5), expected.search(QUERIES, 5))

    def test_they_are_not_those_of_now(self):
        for function in (clone_index, downcast_index, index_factory, read_index, write_index):
            self.assertIsNot(function, getattr(faiss, function.__name__))

    def test_index_factory(self):
        self.assertIs(type(index_factory(D, VLC)), IndexVLC)
        self.assertEqual(index_factory(D, VLC, faiss.METRIC_INNER_PRODUCT).metric_type, faiss.METRIC_INNER_PRODUCT)
        self.assertEqual(len(faiss_vlc._plug.vlcs_in(index_factory(D, "PCA16," + VLC))), 1)
        self.assertIs(type(index_factory(D, IVFPQ)), IndexIVFPQ)
        self.assertRaisesRegex(RuntimeError, "got 'VLC16y4'", index_factory, D, "VLC16y4")

    def test_files(self):
        for index in self.trees:
            write_index(index, self.path)
            self.assert_equal(read_index(self.path), index)
            self.assert_equal(read_index(pathlib.Path(self.path)), index)
            self.assert_equal(read_index(self.path, IO_FLAG_MMAP), index)
            self.assert_equal(read_index(BufferedIOReader(FileIOReader(self.path))), index)
            writer = FileIOWriter(self.path + "2")
            write_index(index, writer)
            del writer # which closes the file
            self.assert_equal(read_index(self.path + "2"), index)

    def test_they_write_what_those_of_now_write(self):
        for index in self.trees + [make(IVFPQ)]:
            write_index(index, self.path)
            faiss.write_index(index, self.path + "2")
            self.assertEqual(pathlib.Path(self.path).read_bytes(), pathlib.Path(self.path + "2").read_bytes())

    def test_callbacks(self):
        for index in self.trees:
            stream = io.BytesIO()
            write_index(index, faiss.PyCallbackIOWriter(stream.write))
            stream.seek(0)
            self.assert_equal(read_index(faiss.PyCallbackIOReader(stream.read)), index)

    def test_arrays(self):
        for index in self.trees:
            array = serialize_index(index)
            np.testing.assert_array_equal(array, faiss.serialize_index(index))
            self.assert_equal(deserialize_index(array), index)

    def test_clone_index(self):
        for index in self.trees:
            clone = clone_index(index)
            self.assert_equal(clone, index)
            clone.reset()
            self.assertEqual(index.ntotal, len(BASE))

    def test_parts(self):
        for index in self.trees[:3]:
            self.assertIs(type(extract_index_ivf(index)), IndexVLC)
            self.assertIs(type(try_extract_index_ivf(index)), IndexVLC)
        self.assertIsNone(try_extract_index_ivf(IndexFlat(D)))
        self.assertIs(type(downcast_index(self.trees[1].index)), IndexVLC)
        inner = extract_index_ivf(make("PCA16," + VLC)) # which keeps the whole
        self.assertEqual(inner.search(QUERIES[:, :16].copy(), 5)[1].shape, (len(QUERIES), 5))

    def test_stock_indexes(self):
        index = make(IVFPQ)
        write_index(index, self.path)
        for copy in (read_index(self.path), clone_index(index), deserialize_index(serialize_index(index)),
                     extract_index_ivf(index), downcast_index(index)):
            self.assertIs(type(copy), IndexIVFPQ)
            assert_same(copy.search(QUERIES, 5), index.search(QUERIES, 5))

    def test_parameter_space(self):
        index = make("PCA16," + VLC)
        space = ParameterSpace()
        self.assertIsNot(type(space), faiss.ParameterSpace)
        space.set_index_parameters(index, "nprobe=3,max_probes=9")
        space.set_index_parameter(index, "vlc_iterations", 4)
        inner = extract_index_ivf(index)
        self.assertEqual((inner.nprobe, inner.max_probes, inner.parameters.iterations), (3, 9, 4))


if __name__ == "__main__":
    unittest.main()
