"""The stub says what the package has, and a type checker (Debian's mypy) finds no fault in the examples and in
README's Python. Skipped where there is no mypy."""

import importlib.util
import inspect
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

import faiss_vlc
import faiss_vlc.report

ROOT = next(folder for folder in pathlib.Path(__file__).resolve().parents if (folder / "CHANGELOG.md").exists())
PACKAGE = pathlib.Path(faiss_vlc.__file__).parent
PRIVATE = r"faiss_vlc\.(_\w+|swigvlc|to_faiss\w*)(\..*)?"  # modules
NOT_OURS = r".*\.(thisown|__swig_destroy__|original_init|Sequence|Iterable|Iterator)"  # SWIG's, and typing's
SKIPPED = 77


def python_in_pages(folder):
    """README's and the guide's Python, a file each, and the notebook's cells as one."""
    for page in (ROOT / "README.md", ROOT / "faiss_vlc" / "docs" / "GUIDE.md"):
        for i, body in enumerate(re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)):
            path = folder / f"{page.stem.lower()}_{i}.py"
            path.write_text(body if "import faiss" in body else f"import faiss_vlc\nindex: faiss_vlc.IndexVLC\n{body}")
            yield path
    for notebook in sorted((ROOT / "tests" / "examples").glob("*.ipynb")):
        path = folder / f"{notebook.stem}_notebook.py"
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        path.write_text("\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"))
        yield path


class Types(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        holder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(holder.cleanup)
        cls.folder = pathlib.Path(holder.name)  # with mypy's cache, which all tests use
        cls.settings = cls.folder / "mypy.ini"
        ignored = "".join(f"[mypy-faiss_vlc.{path.stem}]\nignore_errors = True\n" for path in PACKAGE.glob("*.py")
                          if path.stem.startswith("_") and path.stem not in ("__init__", "__main__"))
        # FAISS has no types, and what SWIG writes has errors
        cls.settings.write_text("[mypy]\nignore_missing_imports = True\ncheck_untyped_defs = True\n"
                                f"[mypy-faiss_vlc.swigvlc]\nignore_errors = True\n{ignored}")

    def mypy(self, module, *arguments):
        paths = {"MYPYPATH": str(PACKAGE.parent), "PYTHONPATH": str(PACKAGE.parent)}
        done = subprocess.run([sys.executable, "-m", module, *map(str, arguments)], cwd=self.folder, text=True,
                              env={**os.environ, **paths}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        return done.returncode, done.stdout

    def check(self, *files):
        return self.mypy("mypy", "--config-file", self.settings, *files)

    def test_the_stub_is_what_the_package_has(self):
        allowed = self.folder / "allowed"
        allowed.write_text(f"{PRIVATE}\n{NOT_OURS}\n")
        code, said = self.mypy("mypy.stubtest", "faiss_vlc", "--mypy-config-file", self.settings, "--concise",
                               "--allowlist", allowed)
        self.assertEqual(code, 0, said)

    def test_examples_and_pages(self):
        examples = [path for path in (ROOT / "tests" / "examples").rglob("*.py") if not path.stem.endswith("_test")]
        pages = list(python_in_pages(self.folder))
        self.assertGreaterEqual(len(examples), 5)
        self.assertGreaterEqual(len(pages), 3)
        code, said = self.check(*examples, *pages)
        self.assertEqual(code, 0, said)

    def test_the_report_is_typed(self):
        code, said = self.check("--disallow-untyped-defs", *sorted((PACKAGE / "report").glob("*.py")))
        self.assertEqual(code, 0, said)

    def test_mistakes_are_found(self):
        (self.folder / "wrong.py").write_text(
            'import faiss_vlc\nfaiss_vlc.VLCParameters(n=3)\nfaiss_vlc.index_factory("64", "VLC")\n'
            "faiss_vlc.report_of\nprint(faiss_vlc.VLCParameters().anchors)\n")
        code, said = self.check(self.folder / "wrong.py")
        self.assertEqual((code, said.count(": error:")), (1, 4), said)


class Docstrings(unittest.TestCase):
    """Without mypy, too."""

    def test_every_public_name_has_one(self):
        missing = []
        for module in (faiss_vlc, faiss_vlc.report):
            for name in module.__all__:
                one = getattr(module, name)
                missing += [name] if not isinstance(one, str) and not inspect.getdoc(one) else []
                members = vars(one).items() if inspect.isclass(one) else ()
                missing += [f"{name}.{key}" for key, member in members
                            if not key.startswith("_") and key not in ("this", "thisown", "original_init")
                            and not isinstance(member, (int, str)) and not inspect.getdoc(member)]
        self.assertEqual(missing, [])

    def test_parameters_are_described(self):
        """Those of public functions with several, by name."""
        seen = 0
        for one in (faiss_vlc.index_factory, faiss_vlc.train, faiss_vlc.read_index, faiss_vlc.write_index,
                    faiss_vlc.IndexVLC.train_distributed, faiss_vlc.IndexVLC.assign_lists, faiss_vlc.IndexVLC.__init__,
                    faiss_vlc.report.write_report):
            described = re.split(r"\n *-{3,}\n", inspect.getdoc(one))[1]
            for name, parameter in inspect.signature(one).parameters.items():
                if name != "self" and parameter.kind != parameter.VAR_POSITIONAL:
                    with self.subTest(f"{one.__qualname__}: {name}"):
                        self.assertRegex(described, rf"(?m)^(\w+, )*{name}(, \w+)* : ")
                        seen += 1
        self.assertGreater(seen, 20)


if __name__ == "__main__":
    if importlib.util.find_spec("mypy") is None:
        result = unittest.TextTestRunner().run(unittest.defaultTestLoader.loadTestsFromTestCase(Docstrings))
        if not result.wasSuccessful():
            sys.exit(1)
        print("*" * 72, "SKIPPED: no mypy here (Debian's package mypy): types were not checked", "*" * 72, sep="\n")
        sys.exit(SKIPPED)
    unittest.main()
