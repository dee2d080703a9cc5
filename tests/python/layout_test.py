"""The import proves that FAISS's classes are as the headers say, and refuses what differs."""

import pathlib
import re
import sys
import tempfile
import types
import unittest
from unittest import mock

import faiss

import faiss_vlc
from faiss_vlc import _layout, _loader, swigvlc

EXTENSION = _loader.faiss_extension()
SOURCES = pathlib.Path(__file__).resolve().parents[2] / "faiss_vlc"
NAMES = {"operator()": "__call__", # as Python has them
         "FAISS_VLC_FILE_DESCRIPTOR": "filedescriptor" if hasattr(faiss.IOReader, "filedescriptor") else "fileno"}


class Altered:
    """Our extension with some lines of what it says of the headers changed, as other headers would."""

    def __init__(self, which, old, new):
        self.which, self.old, self.new = which, old, new

    def __getattr__(self, name):
        function = getattr(swigvlc, name)
        if name != self.which:
            return function
        text = function()
        assert text.count(self.old) == 1, (self.old, text.count(self.old))
        return lambda: text.replace(self.old, self.new)


def line_of(text, start):
    (line,) = [line for line in text.splitlines() if line.startswith(start + " ")]
    return line + "\n"


def overridden_functions():
    """(class of FAISS's, function) of each class of ours that derives from it, by the sources."""
    for file in sorted(path for path in SOURCES.rglob("*") if path.suffix in (".h", ".cpp")):
        for base, body in re.findall(r"^(?:struct|class) \w+ : (?:public )?faiss::(\w+) \{\n(.*?)^\};",
                                     file.read_text(encoding="utf-8"), re.M | re.S):
            for function in re.findall(r"(operator\(\)|(?<!~)\b\w+)\((?:[^;{}()]|\([^()]*\))*\)(?: const)? override\b",
                                       body):
                yield base, NAMES.get(function, function)


class Layout(unittest.TestCase):
    def differences(self, which, start, change):
        line = line_of(getattr(swigvlc, which)(), start)
        return _layout.differences(EXTENSION, Altered(which, line, change(line.split())))

    def test_this_build_fits(self):
        self.assertEqual(_layout.differences(EXTENSION, swigvlc), [])

    def test_what_is_looked_at(self): # else the proof would be of nothing
        fields = {tuple(line.split()[:2]) for line in swigvlc.layout_fields().splitlines()}
        for owner, field in [("Index", "d"), ("Index", "metric_arg"), ("IndexIVF", "direct_map"), ("IndexIVF", "cp"),
                             ("IndexIVF", "clustering_index"), ("IndexIVFPQ", "pq"), ("ClusteringParameters", "seed"),
                             ("IndexIDMap", "id_map"), ("IndexHNSW", "storage"), ("IndexShards", "successive_ids"),
                             ("DirectMap", "array"), ("InvertedLists", "nlist"), ("InvertedListScanner", "code_size"),
                             ("SearchParametersIVF", "nprobe"), ("RangeSearchResult", "labels")]:
            self.assertIn((owner, field), fields)
            self.assertIn(field, _layout._accessors(getattr(faiss, owner)))
        self.assertGreater(len(swigvlc.layout_virtuals().splitlines()), 50)

    def test_what_our_classes_override_is_looked_at(self):
        overridden = set(overridden_functions())
        self.assertGreater(len(overridden), 30)
        looked_at = [line.split()[:2] for line in swigvlc.layout_virtuals().splitlines()]
        for base, function in overridden:
            cls = getattr(faiss, base)
            owners = [owner for owner, name in looked_at if name == function and issubclass(cls, getattr(faiss, owner))]
            with self.subTest(base=base, function=function):
                self.assertTrue(owners or not hasattr(cls, function)) # some came with a later FAISS

    def test_a_field_elsewhere(self):
        for owner, field, by in [("Index", "ntotal", 8), ("Index", "verbose", 1), ("Index", "metric_arg", -4),
                                 ("IndexIVF", "invlists", 8), ("ClusteringParameters", "seed", 4),
                                 ("IndexIVF", "direct_map", 8), ("IndexIVF", "cp", -8),
                                 ("IndexIVF", "PARALLEL_MODE_NO_HEAP_INIT", 4), ("IndexIDMap", "id_map", 8),
                                 ("SearchParametersIVF", "nprobe", 8), ("RangeSearchResult", "lims", -8)]:
            with self.subTest(owner=owner, field=field):
                found = self.differences("layout_fields", f"{owner} {field}", lambda words: " ".join(
                    [*words[:2], str(int(words[2]) + by), *words[3:]]) + "\n") # noqa: B023
                self.assertEqual(len(found), 1, found)
                self.assertIn(f"{owner}.{field} lies elsewhere", found[0])

    def test_a_field_of_another_size(self):
        found = self.differences("layout_fields", "Index d", lambda words: " ".join([*words[:3], "8", "i"]) + "\n")
        self.assertEqual(len(found), 1)
        self.assertIn("Index.d lies elsewhere: not the 8 bytes", found[0])

    def test_a_field_that_the_headers_lack(self):
        found = self.differences("layout_fields", "ClusteringParameters seed", lambda words: "")
        self.assertEqual(found, ["ClusteringParameters.seed is unknown to the headers"])

    def test_another_virtual_function(self):
        for owner, function in [("Index", "add"), ("IndexIVF", "encode_vectors"), ("InvertedLists", "get_ids"),
                                ("IndexIVF", "search_preassigned"), ("IDSelector", "is_member"),
                                ("IOReader", "__call__"), ("Cloner", "clone_Index")]:
            with self.subTest(owner=owner, function=function):
                found = self.differences("layout_virtuals", f"{owner} {function}", lambda words: " ".join(
                    [*words[:2], str(int(words[2]) + 1)]) + "\n")
                self.assertEqual(len(found), 1)
                self.assertRegex(found[0], rf"{owner}.{function}\(\) is virtual function \d+ rather than \d+")

    def test_a_virtual_function_that_faiss_lacks(self):
        found = self.differences("layout_virtuals", "IndexIVF add_core", lambda words: "IndexIVF add_cores 20\n")
        self.assertEqual(found, ["IndexIVF.add_cores() is only in the headers"])

    def refusal(self):
        line = line_of(swigvlc.layout_fields(), "IndexIVF nprobe")
        with self.assertRaises(ImportError) as caught:
            _loader._prove_layout(EXTENSION, Altered("layout_fields", line, ""))
        text = str(caught.exception)
        for part in (f"are not those of {EXTENSION.__file__} (FAISS {faiss.__version__})",
                     "IndexIVF.nprobe is unknown to the headers", "FAISS_INCLUDE_DIR="):
            self.assertIn(part, text)
        return text

    def test_what_the_import_says(self):
        with mock.patch.object(_loader, "_is_pypis", lambda package: False):
            self.assertIn(f"Install FAISS {faiss_vlc.FAISS_VERSION}", self.refusal())

    def test_what_the_import_says_beside_pypis(self): # to install the same again would not help
        with mock.patch.object(_loader, "_is_pypis", lambda package: package is faiss):
            text = self.refusal()
        self.assertIn("This FAISS is PyPI's own, so the headers were wrong ones.", text)
        self.assertIn(f"python_bindings/README.md says which they are): python_bindings/wheels/build.py "
                      f"{faiss.__version__} <", text)
        self.assertNotIn("Install FAISS", text)

    def test_whose_package_it_is(self):
        with tempfile.TemporaryDirectory() as folder:
            ours, theirs = (pathlib.Path(folder, where, "faiss", "__init__.py") for where in ("a", "."))
            for file in (ours, theirs):
                file.parent.mkdir(parents=True)
                file.touch()
            information = pathlib.Path(folder, "faiss_cpu-1.2.3.dist-info")
            information.mkdir()
            (information / "METADATA").write_text("Metadata-Version: 2.1\nName: faiss-cpu\nVersion: 1.2.3\n", "utf-8")
            with mock.patch.object(sys, "path", [folder, *sys.path]):
                self.assertTrue(_loader._is_pypis(types.SimpleNamespace(__file__=str(theirs))))
                self.assertFalse(_loader._is_pypis(types.SimpleNamespace(__file__=str(ours))))
        self.assertFalse(_loader._is_pypis(types.SimpleNamespace(__file__=str(theirs)))) # gone again


if __name__ == "__main__":
    unittest.main()
