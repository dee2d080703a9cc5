"""python -m faiss_vlc: programs whose faiss knows VLC though they don't import it."""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

PROGRAM = """\
import sys
import faiss
index = faiss.index_factory(8, "VLC16")
print(type(index).__name__, __name__, __file__, sys.argv, sys.path[0])
"""


def run(*arguments, folder=None):
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
            code, out, err = run(name, "--help", "-m", "x y", folder=folder)
            self.assertEqual((code, err), (0, ""))
            self.assertEqual(out, f"IndexVLC __main__ {name} {[name, '--help', '-m', 'x y']} {self.folder / 'below'}")

    def test_module(self):
        code, out, err = run("-m", "below.program", "1", folder=self.folder)
        self.assertEqual((code, err), (0, ""))
        self.assertEqual(out, f"IndexVLC __main__ {self.script} {[str(self.script), '1']} {self.folder}")

    def test_folder(self):
        (self.folder / "below" / "__main__.py").write_text("import program\n")
        code, out, err = run("below", folder=self.folder)
        self.assertEqual((code, err), (0, ""))
        self.assertRegex(out, "^IndexVLC program ")

    def test_what_the_program_ends_with(self):
        self.script.write_text("import sys; sys.exit(5)")
        self.assertEqual(run(str(self.script))[0], 5)
        self.script.write_text("raise KeyError('nothing')")
        code, _, err = run(str(self.script))
        self.assertEqual((code, err.splitlines()[-1]), (1, "KeyError: 'nothing'"))

    def test_multiprocessing(self):
        self.script.write_text("import multiprocessing\n"
                               "def square(x):\n"
                               "    return x * x\n"
                               "if __name__ == '__main__':\n"
                               "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
                               "        print(pool.map(square, [3]))\n")
        self.assertEqual(run(str(self.script)), (0, "[9]", ""))

    def test_wrong_use(self):
        for arguments, words in [((), "usage: python -m faiss_vlc"), (("-m",), "usage"),
                                 (("--hlep",), "expected a program, -m, report or --help, got '--hlep'"),
                                 (("nothing.py",), "expected a program, got 'nothing.py', where there is no file")]:
            code, out, err = run(*arguments, folder=self.folder)
            self.assertGreater(code, 0)
            self.assertEqual(out, "")
            self.assertIn(words, err)
        self.assertEqual(run("-m", "no_such_module")[0], 1)
        code, out, err = run("--help")
        self.assertEqual((code, err), (0, ""))
        self.assertIn("usage: python -m faiss_vlc", out)


if __name__ == "__main__":
    unittest.main()
