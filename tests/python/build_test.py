"""What pip's build says of the faiss package that it is for, and what the import says of another one."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import faiss

from python_fixture import fresh_process

SCRIPT = pathlib.Path(__file__).parents[2] / "python_bindings" / "check_faiss.cmake"
CMAKE = shutil.which("cmake")


def check(version, python=sys.executable, *options, environment=None):
    """The exit code of the check and what it says, on one line: headers of this version, a faiss package of Python's."""
    done = subprocess.run([CMAKE, f"-DFAISS_VLC_FAISS_VERSION={version}", f"-DPython3_EXECUTABLE={python}", *options,
                           "-P", SCRIPT], capture_output=True, text=True, env={**os.environ, **(environment or {})})
    return done.returncode, " ".join((done.stdout + done.stderr).split())


@unittest.skipIf(CMAKE is None, "no cmake")
class Build(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.python = os.path.join(folder.name, "python") # stands for one whose faiss is of some version

    def python_with(self, version):
        with open(self.python, "w", encoding="utf-8") as file:
            file.write(f"#!/bin/sh\nprintf '%s' '{version} /a b/faiss/__init__.py'\n")
        os.chmod(self.python, 0o755)
        return self.python

    def test_this_faiss(self):
        status, text = check(faiss.__version__)
        self.assertEqual((status, text), (0, ""))

    def test_another_faiss(self):
        status, text = check("1.2.3")
        self.assertNotEqual(status, 0)
        for part in ("headers are those of FAISS 1.2.3", f"{faiss.__file__} is FAISS {faiss.__version__}",
                     f"tag v{faiss.__version__} hold the headers", "FAISS_INCLUDE_DIR=<"):
            self.assertIn(part, text)

    def test_what_pip_puts_first_is_not_asked(self): # while it builds, PYTHONPATH names a folder of its own
        folder = os.path.dirname(self.python)
        pathlib.Path(folder, "faiss.py").write_text("__version__ = '1.2.3'\n", encoding="utf-8")
        status, text = check("1.2.3", environment={"PYTHONPATH": folder})
        self.assertNotEqual(status, 0)
        self.assertIn(f"is FAISS {faiss.__version__}", text)

    def test_before_pypi_showed_functions(self):
        for version, hidden in [("1.12.0", True), ("1.13.0", False), ("1.7.4", True)]:
            status, text = check("1.2.3", self.python_with(version))
            self.assertNotEqual(status, 0)
            self.assertIn(f"/a b/faiss/__init__.py is FAISS {version}.", text)
            self.assertEqual("keeps its functions to itself" in text, hidden, version)

    def test_versions_that_begin_alike(self):
        for headers, package in [("1.1.1", "1.1.10"), ("1.1.10", "1.1.1"), ("1.1.1", "1.111")]:
            self.assertNotEqual(check(headers, self.python_with(package))[0], 0)
        self.assertEqual(check("1.1.1", self.python_with("1.1.1"))[0], 0)

    def test_headers_that_were_asked_for(self):
        status, text = check("1.2.3", sys.executable, "-DFAISS_INCLUDE_DIR=/some")
        self.assertEqual(status, 0)
        self.assertIn("cannot be imported here", text)

    def test_no_faiss(self):
        for python in ("/bin/false", "/no/such/python"):
            status, text = check("1.2.3", python)
            self.assertEqual(status, 0)
            self.assertIn(f"{python} has no faiss to compare with; building for FAISS 1.2.3", text)


class Import(unittest.TestCase):
    def advice(self, built, found):
        return fresh_process(
            "import faiss, sys\n"
            "sys.modules['faiss'].__version__ = sys.argv[2]\n"
            "import importlib.util\n"
            "folder = importlib.util.find_spec('faiss_vlc').submodule_search_locations[0]\n"
            "import types\n"
            "package = sys.modules['faiss_vlc'] = types.ModuleType('faiss_vlc')\n"
            "package.__path__ = [folder]\n"
            "from faiss_vlc import _build\n"
            "_build.FAISS_VERSION = sys.argv[1]\n"
            "from faiss_vlc import _loader\n"
            "try:\n"
            "    _loader.check_version()\n"
            "except ImportError as error:\n"
            "    print(error)\n", built, found)

    def test_advice_that_works(self):
        text = self.advice("1.13.2", "1.12.0")
        self.assertIn("Install FAISS 1.13.2 (pip install faiss-cpu==1.13.2)", text)
        self.assertIn("before 1.13 keeps its functions to itself", text)
        for built, found in [("1.7.3", "1.13.2"), ("1.7.4", "1.15.0")]:
            text = self.advice(built, found)
            self.assertNotIn(f"faiss-cpu=={built}", text)
            self.assertIn(f"its sources' tag v{found}", text)
            self.assertIn(f"pip install faiss-cpu=={found}", text)
        self.assertIn("python3-faiss, for /usr/bin/python3", self.advice("1.7.3", "1.13.2"))
        self.assertEqual(self.advice("1.7.3", "1.7.3"), "")


if __name__ == "__main__":
    unittest.main()
