#!/usr/bin/env python3
"""Finds out which pictures of Debian's packages a set of SIFT descriptors was made of.

    benchmarks/datasets/trace_sample.py tests/data/sift20k

Looks for each picture's descriptors, byte for byte, among the rows of base.npy and query.npy, and writes
SOURCES.md beside them: the pictures, their copyright and licence as the package's copyright file has them,
and how many rows are theirs. The packages are downloaded and unpacked under build/datasets, never installed.
"""

import concurrent.futures
import fnmatch
import functools
import pathlib
import re
import struct
import sys

from make_datasets import ROOT, enter_venv

SMALLEST = 150  # of a side
LARGEST = 2600  # that larger pictures were made: at other sizes that were tried none of their rows is in the sample
LONG = 200      # list of authors, the whole package's
CHANCE = 5      # so many rows of flat places may be the same in any two pictures


def resources(path):
    """(name, bytes) of each file in a Qt resource file."""
    data = path.read_bytes()
    version, tree, content, names = struct.unpack(">4i", data[4:20])
    size = 14 if version == 1 else 22

    def walk(node, folder):
        at = tree + node * size
        name, flags = struct.unpack(">IH", data[at:at + 6])
        length = struct.unpack(">H", data[names + name:names + name + 2])[0]
        start = names + name + 6
        here = f"{folder}/{data[start:start + 2 * length].decode('utf-16-be')}" if node else ""
        if flags & 2:
            count, first = struct.unpack(">II", data[at + 6:at + 14])
            for child in range(first, first + count):
                yield from walk(child, here)
        elif not flags & 1:  # not compressed, as pictures are not
            start = content + struct.unpack(">I", data[at + 10:at + 14])[0]
            yield here.lstrip("/"), data[start + 4:start + 4 + struct.unpack(">I", data[start:start + 4])[0]]

    yield from walk(0, "")


def pictures(folder, packages):
    """(package, name in its copyright file, bytes)"""
    for package in packages:
        for path in sorted((folder / package).rglob("*")):
            if path.is_symlink() or not path.is_file():
                continue
            if path.suffix == ".rcc":
                for name, data in resources(path):
                    if re.search(r"\.(jpe?g|png|webp)$", name):
                        yield package, re.sub(r"^gcompris/", "", name), data
            elif path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"):
                yield package, path.relative_to(folder / package / "usr" / "share").as_posix(), path.read_bytes()


@functools.cache
def terms(copyright_file):
    """(pattern, copyright, licence) of each paragraph of files, in order."""
    found = []
    for paragraph in re.split(r"\n\s*\n", copyright_file.read_text(encoding="utf-8", errors="replace")):
        fields = dict(re.findall(r"^(Files|Copyright|License):((?:.*)(?:\n[ \t].*)*)", paragraph, re.M))
        if {"Files", "Copyright", "License"} <= set(fields):
            owner = ", ".join(line.strip() for line in fields["Copyright"].strip().splitlines())
            licence = fields["License"].strip().splitlines()[0]
            found += [(pattern, owner, licence) for pattern in fields["Files"].split()]
    return found


def terms_of(folder, package, name):
    """(copyright, licence): the last paragraph that fits rules, as Debian's policy has it. Pictures were turned
    into WebP after the paragraphs were written."""
    copyright_file = folder / package / "usr" / "share" / "doc" / package / "copyright"
    names = [name, *(re.sub(r"\.webp$", suffix, name) for suffix in (".jpg", ".png"))]
    fits = [(owner, licence) for pattern, owner, licence in terms(copyright_file)
            if any(fnmatch.fnmatchcase(some, pattern) or fnmatch.fnmatchcase(pattern, f"*/{pathlib.PurePath(some).name}")
                   for some in names)]
    owner, licence = fits[-1] if fits else ("not told", "not told")
    return (owner if len(owner) < LONG else "the package's authors"), licence


def descriptors(picture):
    """The picture's descriptors, as bytes."""
    import cv2
    import numpy as np
    cv2.setNumThreads(1)
    image = cv2.imdecode(np.frombuffer(picture[2], dtype=np.uint8), cv2.IMREAD_GRAYSCALE)
    if image is None or min(image.shape) < SMALLEST:
        return set()
    scale = LARGEST / max(image.shape)
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    rows = cv2.SIFT_create(contrastThreshold=0.015).detectAndCompute(image, None)[1]
    return set() if rows is None else {row.tobytes() for row in rows.astype(np.uint8)}


def main(target):
    import cv2
    import numpy as np

    from common import unpack_packages, write_text
    from sift import PACKAGES
    folder = ROOT / "build" / "datasets" / "packages"
    versions = unpack_packages(PACKAGES, folder)
    sets = [np.load(target / name) for name in ("base.npy", "query.npy")]
    wanted = [{row.tobytes() for row in rows} for rows in sets]
    unknown = [set(rows) for rows in wanted]
    lines = []
    found = list(pictures(folder, PACKAGES))
    with concurrent.futures.ProcessPoolExecutor() as pool:
        for (package, name, _), rows in zip(found, pool.map(descriptors, found)):
            met = [len(rows & some) for some in wanted]
            if max(met) > CHANCE:
                owner, licence = terms_of(folder, package, name)
                lines.append(f"| {package} | {name} | {owner} | {licence} | {met[0]} | {met[1]} |")
                for rest in unknown:
                    rest -= rows
                print(lines[-1], flush=True)
    traced = [sum(row.tobytes() not in rest for row in rows) for rows, rest in zip(sets, unknown)]
    write_text(target / "SOURCES.md", "\n".join([
        "# Pictures that descriptors were traced to", "",
        f"By benchmarks/datasets/trace_sample.py, with OpenCV {cv2.__version__}: {traced[0]:,} of {len(sets[0]):,} rows "
        f"of base.npy and {traced[1]:,} of {len(sets[1]):,} rows of query.npy are, byte for byte, descriptors of these "
        f"{len(lines)} pictures. Names, copyright and licences are those of the packages' own copyright files.", "",
        *(f"- {package} {version}" for package, version in versions.items()
          if any(line.startswith(f"| {package} |") for line in lines)),
        "", "| package | picture | copyright | licence | rows of base | of query |", "|---|---|---|---|---|---|",
        *lines, ""]))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    enter_venv()
    main(pathlib.Path(sys.argv[1]))
