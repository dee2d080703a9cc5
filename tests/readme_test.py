"""README.md's commands and programs work as they are written there.

VLC_BUILD=build/release /usr/bin/python3 tests/readme_test.py

Each command is run or known to be run elsewhere: a new kind of command fails this test until it is."""

import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[1]
BUILD = pathlib.Path(os.environ.get("VLC_BUILD", ROOT / "build/release")).resolve()
SAMPLE = ROOT / "tests" / "data" / "sift20k"
README = (ROOT / "README.md").read_text(encoding="utf-8")

FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)


def fences(language):
    return [body for name, body in FENCE.findall(README) if name == language]


def commands():
    """The indented lines, without their comments; those of a block are a list."""
    blocks = re.findall(r"(?:^    \S.*\n)+", FENCE.sub("", README), re.M)
    return [[shlex.split(line, comments=True) for line in block.splitlines()] for block in blocks]


def commands_of(program):
    return [command for block in commands() for command in block if command[0] == program]


class Readme(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        (self.folder / "tests").symlink_to(ROOT / "tests")
        for file in SAMPLE.glob("*.npy"):
            (self.folder / file.name).symlink_to(file)

    def check(self, command, folder=None, **environment):
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        done = subprocess.run(command, cwd=folder or self.folder, env={**inherited, **environment}, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        self.assertEqual(done.returncode, 0, f"{command}\n{done.stdout}")
        return done.stdout

    def test_every_command_is_known(self):
        met = {command[0] for block in commands() for command in block}
        self.assertEqual(met, {"make", "python3", "venv/bin/pip", "vlc"})
        self.assertEqual({name for name, _ in FENCE.findall(README)}, {"python", "cpp"})

    def test_make(self):
        """CI runs them; here they are there, and say the same in `make help`."""
        targets = [command[1] for command in commands_of("make")]
        self.assertGreater(len(targets), 2)
        offered = self.check(["make", "help"], ROOT)
        for target in targets:
            self.assertRegex(offered, rf"(?m)^make (?:[\w-]+ )*{target} ")
            self.check(["make", "--dry-run", target], ROOT)
            self.assertRegex((ROOT / ".ci" / "run").read_text(encoding="utf-8"), rf"(?m)^make {target}$")

    def test_wheel(self):
        """It has the name that the script gives, which CI calls for that version and installs what it makes."""
        (command,) = [command for command in commands_of("venv/bin/pip") if command[2] != "."]
        script = (ROOT / "python_bindings" / "wheels" / "build.py").read_text(encoding="utf-8")
        project = re.search(r"project\(faiss_vlc VERSION ([\d.]+)", (ROOT / "CMakeLists.txt").read_text("utf-8"))[1]
        faiss_version = re.search(r"^version=(.+)$", (ROOT / ".ci" / "faiss_wheel").read_text("utf-8"), re.M)[1]
        platform = re.search(r'^PLATFORM = "(.+)"$', script, re.M)[1]
        self.assertIn("wheel.py-api=cp310", script)
        self.assertIn("+faiss.{version}", script)
        self.assertEqual(command, ["venv/bin/pip", "install",
                                   f"faiss_vlc-{project}+faiss.{faiss_version}-cp310-abi3-{platform}.whl"])
        # Debian has no pip elsewhere
        self.assertIn("After `python3 -m venv venv`:\n\n    venv/bin/pip install faiss_vlc-", README)
        bindings = (ROOT / "python_bindings" / "README.md").read_text(encoding="utf-8")
        self.assertIn("[build.py\nmakes them](python_bindings/README.md)", README)
        self.assertIn(f"    python_bindings/wheels/build.py {faiss_version} ", bindings)
        self.check([sys.executable, ROOT / "python_bindings" / "wheels" / "build.py", "--help"])

    def test_package_lists(self):
        named = set(re.findall(r"`(\w+)\.txt`", README))
        self.assertEqual(named, {path.stem for path in (ROOT / ".ci" / "packages").glob("*.txt")})

    def test_venv_and_pip(self):
        """Without the building, which takes minutes: the wheels' script has pip do that, and CI calls it."""
        for command in commands_of("python3"):
            self.assertEqual(command[1:3], ["-m", "venv"])
            self.check(["/usr/bin/" + command[0], *command[1:]])
        wheel, sources = commands_of("venv/bin/pip")
        self.assertRegex(wheel[2], r"^faiss_vlc-.*\.whl$") # see test_wheel
        self.assertEqual(sources, ["venv/bin/pip", "install", "."])
        self.check(["venv/bin/pip", "--version"])
        self.check(["venv/bin/python", "-c", "import faiss, numpy"]) # Debian's are seen
        script = (ROOT / "python_bindings" / "wheels" / "build.py").read_text(encoding="utf-8")
        self.assertRegex(script, r'"pip", .*"wheel", ')
        self.assertIn("python_bindings/wheels/build.py", (ROOT / ".ci" / "faiss_wheel").read_text(encoding="utf-8"))
        self.assertRegex((ROOT / ".ci" / "run").read_text(encoding="utf-8"), r"(?m)^\.ci/faiss_wheel$")

    @unittest.skipUnless((BUILD / "python").is_dir(), "this build has no Python package")
    def test_python(self):
        (body,) = fences("python")
        body += "\nassert faiss.read_index('my.vlc').ntotal == len(x) and ids.shape == (len(queries), 10)\n"
        folder = re.search(r"`PYTHONPATH=(\S+) python3`", README)[1]
        self.assertEqual(folder, "build/release/python")
        self.check([sys.executable, "-c", body], PYTHONPATH=str(BUILD / "python"))
        self.assertTrue((self.folder / "my.vlc").exists())

    def test_cpp(self):
        """Compiled, in a function that has what the lines take for granted."""
        (body,) = fences("cpp")
        lines = body.splitlines()
        includes = [line for line in lines if line.startswith("#include")]
        rest = [line for line in lines if not line.startswith("#include")]
        source = "\n".join([*includes, "void f(int d, int64_t n, const float* x) {", *rest, "}\n"])
        (self.folder / "readme.cpp").write_text(source, encoding="utf-8")
        flags = [f"-I{folder}" for folder in os.environ.get("VLC_FAISS_INCLUDE", "").split(";") if folder]
        self.check([os.environ.get("CXX", "c++"), "-std=c++17", "-fsyntax-only", f"-I{ROOT}", *flags, "readme.cpp"])

    def test_command(self):
        """With the sample data under the names that README gives to a reader's."""
        (block,) = [block for block in commands() if block[0][0] == "vlc"]
        path = f"{BUILD}{os.pathsep}{os.environ['PATH']}"
        for command in block:
            said = self.check(command, PATH=path)
            if "--out" in command:
                self.assertTrue((self.folder / command[command.index("--out") + 1]).exists())
        self.assertIn("recall", said)

    def test_other_subcommands(self):
        listed = re.search(r"There are also ([^;]+);", README)[1]
        names = re.findall(r"`(\w+)`", listed)
        self.assertEqual(len(names), 3)
        for name in names:
            self.assertIn("--idx", self.check([BUILD / "vlc", name, "--help"]))


if __name__ == "__main__":
    unittest.main()
