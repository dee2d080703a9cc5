"""Programs whose faiss knows VLC though they don't import it: python -m faiss_vlc, and faiss_vlc.pth with the
variables VLC_LOAD and VLC_FOR_IVFPQ."""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import faiss_vlc

PACKAGE = pathlib.Path(faiss_vlc.__file__).resolve().parent
ANSWER = "import faiss; print(type(faiss.index_factory(8, {!r})).__name__)"


def run(code, folder, *options, **variables):
    """Runs code in a fresh Python that has the package among its site packages; its exit code and output."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VLC_")}
    if folder:
        environment.update(PYTHONUSERBASE=folder, PYTHONPATH="")
    done = subprocess.run([sys.executable, *options, "-c", code], capture_output=True, text=True, timeout=120,
                          env={**environment, **variables})
    return done.returncode, done.stdout.strip(), done.stderr.strip()


class Load(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = None # where pip put it already
        code, found, _ = run("import sys; print('_faiss_vlc_load' in sys.modules)", None, VLC_LOAD="1")
        if found == "True":
            return
        holder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(holder.cleanup)
        cls.folder = holder.name
        site = pathlib.Path(run("import site; print(site.getusersitepackages())", cls.folder)[1])
        site.mkdir(parents=True)
        for name in ("faiss_vlc", "_faiss_vlc_load.py", "faiss_vlc.pth"):
            (site / name).symlink_to(PACKAGE.parent / name)

    def test_without_a_variable_nothing_happens(self):
        code = "import sys; print([name for name in sys.modules if 'faiss' in name or name == 'numpy'])"
        for variables in ({}, {"VLC_LOAD": ""}, {"VLC_FOR_IVFPQ": ""}):
            self.assertEqual(run(code, self.folder, **variables), (0, "[]", ""))
        code, _, err = run(ANSWER.format("VLC4"), self.folder)
        self.assertEqual(code, 1)
        self.assertIn("could not parse index string", err)
        self.assertEqual(run("import sys, faiss; print('faiss_vlc' in sys.modules)", self.folder, VLC_LOAD="0"),
                         (0, "False", ""))

    def test_it_comes_with_faiss(self):
        self.assertEqual(run(ANSWER.format("VLC4"), self.folder, VLC_LOAD="1"), (0, "IndexVLC", ""))
        for code in ("import faiss.contrib.exhaustive_search, sys; print('faiss_vlc' in sys.modules)",
                     "from faiss import index_factory; print(type(index_factory(8, 'VLC4')).__name__ == 'IndexVLC')",
                     "import faiss_vlc, faiss; print(type(faiss.index_factory(8, 'VLC4')) is faiss_vlc.IndexVLC)",
                     "import threading, importlib\n"
                     "ts = [threading.Thread(target=importlib.import_module, args=['faiss']) for _ in range(8)]\n"
                     "[t.start() for t in ts]; [t.join() for t in ts]\n"
                     "import faiss; print(type(faiss.index_factory(8, 'VLC4')).__name__ == 'IndexVLC')"):
            self.assertEqual(run(code, self.folder, VLC_LOAD="1"), (0, "True", ""))

    def test_not_before(self):
        code = "import sys; print([name for name in sys.modules if name == 'faiss' or name == 'numpy'])"
        self.assertEqual(run(code, self.folder, VLC_LOAD="1"), (0, "[]", ""))

    def test_who_only_looks_for_faiss(self):
        code = ("import importlib.util, sys; found = importlib.util.find_spec('faiss')\n"
                "print(found.origin.endswith('__init__.py'), 'faiss' in sys.modules)\n"
                "import faiss; print(type(faiss.__loader__) is type(faiss.__spec__.loader), 'faiss_vlc' in sys.modules,\n"
                "                    type(faiss.__loader__).__name__)")
        self.assertEqual(run(code, self.folder, VLC_LOAD="1"), (0, "True False\nTrue True SourceFileLoader", ""))

    def test_children(self):
        code = ("import subprocess, sys; print(subprocess.run([sys.executable, '-c', "
                f"{ANSWER.format('VLC4')!r}], capture_output=True, text=True).stdout)")
        self.assertEqual(run(code, self.folder, VLC_LOAD="1"), (0, "IndexVLC", ""))

    def test_in_place_of_ivfpq(self):
        self.assertEqual(run(ANSWER.format("IVF4,PQ4"), self.folder, VLC_FOR_IVFPQ="1"), (0, "IndexVLC", ""))
        self.assertEqual(run(ANSWER.format("IVF4,PQ4"), self.folder, VLC_LOAD="1"), (0, "IndexIVFPQ", ""))

    def test_wrong_values(self):
        code, _, err = run("pass", self.folder, VLC_LOAD="yes")
        self.assertEqual((code, err), (0, "faiss_vlc: VLC_LOAD: expected 1 or 0, got 'yes'"))

    def test_what_cannot_be_loaded_is_said(self):
        code, _, err = run("import faiss, os; os._exit(0)\n", self.folder, VLC_LOAD="1")
        self.assertEqual((code, err), (0, ""))
        with tempfile.TemporaryDirectory() as folder: # a faiss of another version
            pathlib.Path(folder, "faiss.py").write_text("__version__ = '1.2.3'\n")
            code, _, err = run(f"import sys; sys.path.insert(0, {folder!r}); import faiss", self.folder, VLC_LOAD="1")
        self.assertEqual(code, 1)
        self.assertRegex(err.splitlines()[-1], "^ImportError: faiss_vlc .* was built for FAISS .* is FAISS 1.2.3")


PROGRAM = """\
import sys
import faiss
index = faiss.index_factory(8, "VLC16")
print(type(index).__name__, __name__, __file__, sys.argv, sys.path[0])
"""


def run_main(*arguments, folder=None):
    """Runs python -m faiss_vlc; returns its exit code, output and messages."""
    path = os.pathsep.join(os.path.abspath(part) for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part)
    done = subprocess.run([sys.executable, "-m", "faiss_vlc", *arguments], capture_output=True, text=True, cwd=folder,
                          env={**os.environ, "PYTHONPATH": path})
    return done.returncode, done.stdout.strip(), done.stderr.strip()


class Main(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(os.path.realpath(folder.name))
        (self.folder / "below").mkdir()
        self.script = self.folder / "below" / "program.py"
        self.script.write_text(PROGRAM)

    def test_script(self):
        for name, folder in ((str(self.script), None), ("below/program.py", self.folder)):
            code, out, err = run_main(name, "--help", "-m", "x y", folder=folder)
            self.assertEqual((code, err), (0, ""))
            self.assertEqual(out, f"IndexVLC __main__ {name} {[name, '--help', '-m', 'x y']} {self.folder / 'below'}")

    def test_module(self):
        code, out, err = run_main("-m", "below.program", "1", folder=self.folder)
        self.assertEqual((code, err), (0, ""))
        self.assertEqual(out, f"IndexVLC __main__ {self.script} {[str(self.script), '1']} {self.folder}")

    def test_folder(self):
        (self.folder / "below" / "__main__.py").write_text("import program\n")
        code, out, err = run_main("below", folder=self.folder)
        self.assertEqual((code, err), (0, ""))
        self.assertRegex(out, "^IndexVLC program ")

    def test_what_the_program_ends_with(self):
        self.script.write_text("import sys; sys.exit(5)")
        self.assertEqual(run_main(str(self.script))[0], 5)
        self.script.write_text("raise KeyError('nothing')")
        code, _, err = run_main(str(self.script))
        self.assertEqual((code, err.splitlines()[-1]), (1, "KeyError: 'nothing'"))

    def test_multiprocessing(self):
        self.script.write_text("import multiprocessing\n"
                               "def square(x):\n"
                               "    return x * x\n"
                               "if __name__ == '__main__':\n"
                               "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
                               "        print(pool.map(square, [3]))\n")
        self.assertEqual(run_main(str(self.script)), (0, "[9]", ""))

    def test_wrong_use(self):
        for arguments, words in [((), "usage: python -m faiss_vlc"), (("-m",), "usage"),
                                 (("--hlep",), "expected a program, -m, report or --help, got '--hlep'"),
                                 (("nothing.py",), "expected a program, got 'nothing.py', where there is no file")]:
            code, out, err = run_main(*arguments, folder=self.folder)
            self.assertGreater(code, 0)
            self.assertEqual(out, "")
            self.assertIn(words, err)
        self.assertEqual(run_main("-m", "no_such_module")[0], 1)
        code, out, err = run_main("--help")
        self.assertEqual((code, err), (0, ""))
        self.assertIn("usage: python -m faiss_vlc", out)


if __name__ == "__main__":
    unittest.main()
