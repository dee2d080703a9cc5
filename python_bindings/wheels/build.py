#!/usr/bin/env python3
"""build.py <version of faiss-cpu> <folder that holds faiss/Index.h> [--out FOLDER] [--python PYTHON] [--first FILE]
         [--wrong]

Builds the wheel of faiss-vlc for one version of PyPI's faiss-cpu and tests it in a fresh environment, with that
faiss-cpu and without OpenCL. The wheel serves every Python from 3.10 on (limited API) and requires exactly this
faiss-cpu. It runs on Linux with glibc 2.28 or later, opens OpenCL only if a device is asked for and needs none.

The headers are those of FAISS's sources, tag v<version>; for a version in DERIVED those of an earlier one.

--wrong takes headers of another version and has them say that they were this one's. The wheel is not kept, and the test
is that its import is refused.
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PLATFORM = "manylinux_2_28_x86_64"

# Versions whose headers cannot be had: those of an earlier one, and what to insert behind which text of which file.
# That nothing else has changed is proven when the wheel is imported.
DERIVED = {
    "1.15.1": ("1.15.0", "faiss/Clustering.h", "double early_stop_threshold = 0.0;", "bool use_super_kmeans = false;"),
}


def run(*command, **environment):
    print("+", *command, flush=True)
    subprocess.run([str(part) for part in command], check=True, env={**os.environ, **environment})


def parts_of(version):
    return tuple(int(part) for part in version.split("."))


def version_of(headers):
    text = (headers / "faiss" / "Index.h").read_text(encoding="utf-8")
    return ".".join(re.search(rf"#define FAISS_VERSION_{part} (\d+)", text)[1] for part in ("MAJOR", "MINOR", "PATCH"))


def replace_once(path, old, new):
    text = path.read_text(encoding="utf-8")
    if text.count(old) != 1:
        sys.exit(f"{path}: expected '{old}' once, met it {text.count(old)} times")
    path.write_text(text.replace(old, new), encoding="utf-8")


def relabelled(version, headers, work):
    """A copy of another version's headers that says it were this one's, as somebody in a hurry makes it."""
    met = version_of(headers)
    if met == version:
        sys.exit(f"{headers}: expected headers of another FAISS than {version}")
    shutil.copytree(headers / "faiss", work / "headers" / "faiss")
    for part, old, new in zip(("MAJOR", "MINOR", "PATCH"), met.split("."), version.split(".")):
        line = f"#define FAISS_VERSION_{part} "
        replace_once(work / "headers" / "faiss" / "Index.h", line + old, line + new)
    return work / "headers"


def headers_for(version, headers, work):
    """The folder of the version's headers, derived if need be."""
    met = version_of(headers)
    if met == version:
        return headers
    base, file, before, inserted = DERIVED.get(version, (version, "", "", ""))
    if met != base:
        sys.exit(f"{headers}: expected headers of FAISS {base}, met those of {met}")
    derived = work / "headers"
    shutil.copytree(headers / "faiss", derived / "faiss")
    replace_once(derived / file, before, f"{before}\n    {inserted}")
    patch = "#define FAISS_VERSION_PATCH "
    replace_once(derived / "faiss" / "Index.h", patch + base.rpartition(".")[2], patch + version.rpartition(".")[2])
    return derived


def environment(folder, python, *requirements):
    """A new virtual environment; the path of its Python."""
    run(python, "-m", "venv", "--clear", folder)
    new = folder / "bin" / "python"
    run(new, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", *requirements)
    return new


def sources(tools, version, work):
    """A source distribution, unpacked where nothing else lies around it, with the wheel's own metadata."""
    run(tools, "-c", "import os, sys; os.chdir(sys.argv[1]); from scikit_build_core import build; "
        "build.build_sdist(sys.argv[2])", ROOT, work)
    (archive,) = work.glob("faiss_vlc-*.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(work)
    folder = work / archive.name.removesuffix(".tar.gz")
    project = folder / "pyproject.toml"
    replace_once(project, 'dependencies = ["numpy"]', f'dependencies = ["numpy", "faiss-cpu=={version}"]')
    replace_once(project, 'requires-python = ">=3.9"', 'requires-python = ">=3.10"')
    # one version for each FAISS: pip takes the one whose faiss-cpu is there or was asked for
    replace_once(project, "provider = \"scikit_build_core.metadata.regex\"",
                 f'provider = "scikit_build_core.metadata.regex"\nresult = "{{value}}+faiss.{version}"')
    return folder


def build(version, headers, python, out, work):
    swig = "swig-4.3.txt" if parts_of(version) < (1, 14) else "swig-4.4.txt" # types are shared within these
    tools = environment(work / "tools", python, "--require-hashes", "-r", HERE / "tools.txt", "-r", HERE / swig)
    folder = sources(tools, version, work)
    binaries = tools.parent
    settings = ["cmake.define.FAISS_VLC_WHEEL=ON", f"cmake.define.SWIG={binaries / 'swig'}", "wheel.py-api=cp310",
                f"build-dir={work / 'build'}"]
    run(tools, "-m", "pip", "--disable-pip-version-check", "wheel", "--no-deps", "--no-build-isolation", "--no-index",
        "-w", work / "raw", *[f"--config-settings={one}" for one in settings], folder, FAISS_INCLUDE_DIR=str(headers))
    (raw,) = (work / "raw").glob("*.whl")
    run(tools, "-m", "auditwheel", "repair", "--plat", PLATFORM, "--only-plat", "--strip", "--exclude", "faiss_vlc_link.so",
        "--exclude", "_swigfaiss*", "-w", work / "repaired", raw, PATH=f"{binaries}:{os.environ['PATH']}")
    (wheel,) = (work / "repaired").glob("*.whl")
    out.mkdir(parents=True, exist_ok=True)
    return pathlib.Path(shutil.copy(wheel, out))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("version")
    parser.add_argument("headers", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "build" / "wheels")
    parser.add_argument("--python", default=sys.executable, help="builds and tests")
    parser.add_argument("--first", type=pathlib.Path, help="pinned requirements, installed before the wheel is tested")
    parser.add_argument("--wrong", action="store_true", help="a wheel from another version's headers is refused")
    given = parser.parse_args()
    work = ROOT / "build" / "wheels" / (given.version + ("-wrong" if given.wrong else ""))
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    os.environ.setdefault("CMAKE_BUILD_PARALLEL_LEVEL", str(os.cpu_count()))
    headers = (relabelled if given.wrong else headers_for)(given.version, given.headers.resolve(), work)
    out = work / "refused" if given.wrong else given.out.resolve()
    wheel = build(given.version, headers, given.python, out, work)
    first = ["--require-hashes", "-r", given.first] if given.first else ["pip"]
    tested = environment(work / "venv", given.python, "--only-binary", ":all:", *first)
    run(tested, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--only-binary", ":all:", wheel)
    if given.wrong:
        wheel.unlink() # nobody shall install it
        run(tested, HERE / "check.py", given.version, "--refused")
        print("refused, as it should be")
        return
    run(tested, HERE / "check.py", given.version)
    print(f"{wheel}: {wheel.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
