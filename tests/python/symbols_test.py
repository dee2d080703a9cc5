"""What FAISS has loaded for itself stays its own: libraries that come later keep their symbols."""

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

import faiss

import faiss_vlc
from python_fixture import BASE, D, QUERIES, VLC, fresh_process, make

NAMES = ["sgemm_", "zdotc_", "cblas_dgemm", "GOMP_parallel", "omp_get_max_threads"] # each defined by what FAISS needs
OWN, INDIRECT = "own", "indirect" # who calls a function: the library that defines it, or one that needs that library
ANSWER = 4711
EXTENSION = faiss_vlc._loader.faiss_extension().__file__
COMPILER = shutil.which(os.environ.get("CXX", "c++"))


def compile_library(folder, name, source, *options):
    """Makes lib<name>.so; calls go through its procedure linkage table, as compilers do it for libraries."""
    path = os.path.join(folder, name + ".c")
    with open(path, "w", encoding="utf-8") as file:
        file.write(source)
    subprocess.run([COMPILER, "-x", "c", "-shared", "-fPIC", "-O0", path, "-x", "none", "-o",
                    os.path.join(folder, f"lib{name}.so"), *options], check=True)


def caller(who, name):
    return f"int {name}(void);\nint {who}_{name}(void) {{ return {name}(); }}\n"


class Libraries(unittest.TestCase):
    """As PyTorch is made: a library with a BLAS of its own, and one that needs it."""

    @classmethod
    def setUpClass(cls):
        if COMPILER is None:
            print("SKIPPED: libraries with FAISS's symbols, as there is no C compiler", file=sys.stderr)
            raise unittest.SkipTest("no compiler")
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = folder.name
        compile_library(cls.folder, OWN, "".join(
            f"{caller(OWN, name)}int {name}(void) {{ return {ANSWER}; }}\n" for name in NAMES))
        compile_library(cls.folder, INDIRECT, "".join(caller(INDIRECT, name) for name in NAMES),
                        "-L" + cls.folder, "-l" + OWN, "-Wl,-rpath," + cls.folder)

    def test_they_keep_their_symbols(self):
        for imports in ("import faiss, faiss_vlc", "import faiss_vlc", "import faiss_vlc._plug"):
            printed = fresh_process(
                f"{imports}\n"
                "import ctypes, sys\n"
                f"for who in ({INDIRECT!r}, {OWN!r}):\n"
                "    library = ctypes.CDLL(f'{sys.argv[1]}/lib{who}.so')\n"
                f"    for name in {NAMES}:\n"
                "        print(getattr(library, f'{who}_{name}')())\n", self.folder)
            self.assertEqual(printed.split(), [str(ANSWER)] * (2 * len(NAMES)), imports)


class Symbols(unittest.TestCase):
    FAISS = ["_ZN5faiss5IndexD1Ev", "_ZTIN5faiss14FaissExceptionE", "_ZTVN5faiss8IndexIVFE"]

    def test_none_is_global(self):
        extension = ctypes.CDLL(EXTENSION, mode=os.RTLD_NOLOAD)
        everything = ctypes.CDLL(None)
        for name in NAMES + self.FAISS:
            self.assertTrue(hasattr(extension, name), name) # else this would test nothing
            self.assertFalse(hasattr(everything, name), name)

    def test_none_of_ours_is_global(self):
        self.assertFalse(hasattr(ctypes.CDLL(None), "PyInit__swigvlc"))

    def test_an_extension_without_a_link_is_refused(self):
        class Unknown: # some library that is loaded, under no name of FAISS's
            __file__ = sys.modules["_ctypes"].__file__
            __name__ = "_swigfaiss"
        with self.assertRaisesRegex(ImportError, "cannot be bound to .*_ctypes.*SONAME"):
            faiss_vlc._loader.link_to(Unknown)


class BothSides(unittest.TestCase):
    """Classes of C++ are the same on both sides, though each may have type information of its own."""

    def test_exceptions(self):
        index = make(VLC)
        with self.assertRaisesRegex(RuntimeError, "IndexVLC"): # thrown by us, caught by FAISS's wrapper
            index.merge_from(faiss.IndexFlat(D), 0)
        with tempfile.NamedTemporaryFile() as file: # thrown by FAISS, caught by our wrapper
            file.write(b"IxSQ")
            file.flush()
            self.assertRaisesRegex(RuntimeError, "read", faiss.read_index, file.name)

    def test_casts(self):
        for tree, kind in [("PCA16," + VLC, faiss.IndexPreTransform), ("IDMap2," + VLC, faiss.IndexIDMap2)]:
            index = make(tree)
            self.assertIs(type(faiss.clone_index(index)), kind) # dynamic_cast of FAISS's classes by us
            self.assertIs(type(faiss.extract_index_ivf(index)), faiss_vlc.IndexVLC) # and of ours by FAISS

    def test_statistics_are_faisss(self): # a global variable
        faiss.cvar.indexIVF_stats.reset()
        make(VLC).search(QUERIES, 5)
        self.assertEqual(faiss.cvar.indexIVF_stats.nq, len(QUERIES))
        self.assertGreater(faiss.cvar.indexIVF_stats.ndis, len(BASE) // 4)


if __name__ == "__main__":
    unittest.main()
