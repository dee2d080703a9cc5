#!/usr/bin/env python3
"""try_wheel.py <wheel>... [--python PYTHON] [--see FOLDER]...

Installs each wheel as a user does, from PyPI into a new environment, and runs there the README's ten lines, check.py
and, where PyTorch is seen, tests/python/torch_test.py. It prints a row of faiss_vlc/docs/versions.md for each and needs
nothing but Python with venv: no compiler, no other package.

--see names folders whose packages the environment sees behind its own, such as one that has PyTorch.
"""

import argparse
import hashlib
import os
import pathlib
import platform
import re
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
SKIPPED = 77


def ten_lines():
    return re.search(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)[1]


def seconds(*command, **options):
    start = time.monotonic()
    subprocess.run([str(part) for part in command], check=True, **options)
    return time.monotonic() - start


def install(wheel, python, seen, folder):
    """The environment's Python and how long making it and installing took; what is downloaded is not kept."""
    pip = "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-cache-dir", "install", "--only-binary", ":all:"
    new = folder / "venv" / "bin" / "python"
    took = seconds(python, "-m", "venv", folder / "venv") + seconds(new, *pip, wheel)
    if seen:
        (site,) = (folder / "venv").glob("lib/python*/site-packages")
        (site / "seen.pth").write_text("".join(f"{path.resolve()}\n" for path in seen), encoding="utf-8")
    return new, took


def torch_says(python):
    """How torch_test.py went; ends this program where it failed."""
    done = subprocess.run([python, ROOT / "tests" / "python" / "torch_test.py"], check=False)
    if done.returncode == SKIPPED:
        return ""
    done.check_returncode()
    return subprocess.run([python, "-c", "import torch; print(torch.__version__)"], check=True, text=True,
                          stdout=subprocess.PIPE).stdout.strip()


def system():
    found = dict(re.findall(r'^(\w+)="?(.*?)"?$', pathlib.Path("/etc/os-release").read_text(encoding="utf-8"), re.M))
    return found.get("PRETTY_NAME", platform.system())


def row(wheel, python, seen, folder):
    """A row of the table; whatever fails ends this program."""
    (folder / "tests").symlink_to(ROOT / "tests")
    new, installing = install(wheel, python, seen, folder)
    running = seconds(new, "-c", ten_lines(), cwd=folder)
    hashed = hashlib.sha256((folder / "my.vlc").read_bytes()).hexdigest()[:8]
    faiss_version = re.search(r"\+faiss\.([\d.]+)-", wheel.name)[1]
    seconds(new, ROOT / "python_bindings" / "wheels" / "check.py", faiss_version)
    version = subprocess.run([new, "-c", "import platform; print(platform.python_version())"], check=True, text=True,
                             stdout=subprocess.PIPE).stdout.strip()
    return (f"| {system()} | {os.confstr('CS_GNU_LIBC_VERSION').split()[1]} | {version} | {faiss_version} | "
            f"{installing:.0f} | {running:.1f} | {hashed} | {torch_says(new)} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheels", type=pathlib.Path, nargs="+")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--see", type=pathlib.Path, action="append", default=[])
    given = parser.parse_args()
    rows = []
    for wheel in given.wheels:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(row(wheel.resolve(), given.python, given.see, pathlib.Path(folder)))
    print("| system | glibc | Python | faiss-cpu | install, s | ten lines, s | file | PyTorch |", *rows, sep="\n")


if __name__ == "__main__":
    main()
