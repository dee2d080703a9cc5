#!/usr/bin/env python3
"""Makes tests/data/sift20k: SIFT descriptors of pictures whose copyright and licence are known, row by row.

    benchmarks/datasets/cut_sample.py tests/data/sift20k

Writes base.npy (20,000 x 128 uint8), query.npy (500 rows, of other pictures), gt.npy (int32, the 100 nearest
base rows of each query by L2, nearest first, ties by smaller row number) and SOURCES.md, which says which
picture each row is of. The pictures are those of the `sift` set (make_datasets.py) that their package's
copyright file speaks for; it shares that set's folder, build/datasets, so nothing is made twice. The packages
are downloaded and unpacked there, never installed. The same versions give the same bytes.
"""

import argparse
import fnmatch
import functools
import json
import os
import pathlib
import re

from make_datasets import ROOT, enter_venv

# Where pictures are installed, and where the package's copyright file, which names its source, has them.
# GCompris and GNOME are not here: their copyright files don't tell whose each picture is. GCompris's speaks of
# .jpg files; the .webp ones of the same names that it ships now need not show the same.
PACKAGES = {
    "lomiri-wallpapers-16.04": ("usr/share/backgrounds", "16.04"),
    "lomiri-wallpapers-20.04": ("usr/share/backgrounds", "20.04"),
    "mate-backgrounds": ("usr/share/backgrounds/mate", ""),
    "plasma-workspace-wallpapers": ("usr/share/wallpapers", ""),
    "ukui-wallpapers": ("usr/share/backgrounds", ""),
}
BASE = 20_000
QUERIES = 500
NEIGHBOURS = 100
EVERY = 5      # every fifth picture gives queries and no base rows
FEWEST = 100   # descriptors that a picture must have


@functools.cache
def paragraphs(copyright_file):
    """(pattern, copyright, licence) of each pattern of files, in order."""
    found = []
    for paragraph in re.split(r"\n\s*\n", copyright_file.read_text(encoding="utf-8")):
        fields = dict(re.findall(r"^(Files|Copyright|License):((?:.*)(?:\n[ \t].*)*)", paragraph, re.M))
        if {"Files", "Copyright", "License"} <= set(fields):
            owner = ", ".join(line.strip() for line in fields["Copyright"].strip().splitlines())
            licence = fields["License"].strip().splitlines()[0]
            found += [(pattern, owner, licence) for pattern in fields["Files"].split()]
    return found


def own_words(path):
    """(author, licence) of a Plasma wallpaper's own description, if it has one."""
    described = path.parents[2] / "metadata.json"
    if described.exists():
        plugin = json.loads(described.read_text(encoding="utf-8"))["KPlugin"]
        return ", ".join(author["Name"] for author in plugin["Authors"]), plugin["License"]
    described = described.with_suffix(".desktop")
    if described.exists():
        fields = dict(re.findall(r"^X-KDE-PluginInfo-(Author|License)=(.*)$",
                                 described.read_text(encoding="utf-8"), re.M))
        return fields["Author"], fields["License"]
    return None


def terms(folder, package, path):
    """(copyright, licence), or None where the package claims none: the last paragraph that fits rules."""
    installed, source = PACKAGES[package]
    name = (pathlib.PurePosixPath(source) / path.relative_to(folder / package / installed)).as_posix()
    copyright_file = folder / package / "usr" / "share" / "doc" / package / "copyright"
    fits = [(owner, licence) for pattern, owner, licence in paragraphs(copyright_file)
            if fnmatch.fnmatchcase(name, pattern)]
    if not fits or "no copyright" in fits[-1][0].lower():
        return None
    owner, licence = fits[-1]
    own = own_words(path)
    return (f"{owner}; by {own[0]}", f"{licence}; its own metadata: {own[1]}") if own else (owner, licence)


def spread(rows, owners, n):
    """n of the rows, evenly spread, and whose they are."""
    import numpy as np
    if len(rows) < n:
        raise SystemExit(f"expected {n} different rows, the pictures give {len(rows)}")
    chosen = np.arange(n) * len(rows) // n
    return rows[chosen], owners[chosen]


def exact_neighbours(base, queries, k):
    import numpy as np
    # Products of bytes are integers that float64 holds exactly, so the order is exact.
    base = base.astype(np.float64)
    norms = (base * base).sum(axis=1)
    result = np.empty((len(queries), k), dtype=np.int32)
    for i, query in enumerate(queries.astype(np.float64)):
        distances = norms - 2 * (base @ query)  # the query's own norm changes no order
        result[i] = np.argsort(distances, kind="stable")[:k]
    return result


def main(out, sets):
    import cv2
    import numpy as np

    from common import run_parts, save, unpack_packages, write_text
    from sift import describe, part_path, photographs
    folder = sets / "packages"
    parts = sets / "sift" / "parts"
    parts.mkdir(parents=True, exist_ok=True)
    versions = unpack_packages(PACKAGES, folder)
    found = []
    for picture in photographs(folder, PACKAGES, []):
        package = picture[0].split("/")[0]
        known = terms(folder, package, picture[1])
        if known:
            found.append((picture, package, *known))
        else:
            print(f"left out, as nobody's copyright is claimed: {picture[0]}")
    run_parts(functools.partial(describe, parts),
              [picture for picture, *_ in found if not part_path(parts, picture[0]).exists()],
              os.cpu_count(), float("inf"))
    rows = [np.load(part_path(parts, picture[0])) for picture, *_ in found]
    found = [entry for entry, some in zip(found, rows) if len(some) >= FEWEST]
    rows = [some for some in rows if len(some) >= FEWEST]

    def pool(indices):
        return np.vstack([rows[i] for i in indices]), np.concatenate([np.full(len(rows[i]), i) for i in indices])

    asks = [i % EVERY == EVERY // 2 for i in range(len(rows))]
    base, base_of = pool([i for i, ask in enumerate(asks) if not ask])
    first = np.sort(np.unique(base, axis=0, return_index=True)[1])  # of rows that are equal the first stays
    base, base_of = spread(base[first], base_of[first], BASE)
    query, query_of = spread(*pool([i for i, ask in enumerate(asks) if ask]), QUERIES)

    lines = []
    for i, (picture, package, owner, licence) in enumerate(found):
        counts = (base_of == i).sum(), (query_of == i).sum()
        if max(counts) > 0:
            name = picture[1].relative_to(folder / package).as_posix()
            lines.append(f"| {package} | {name} | {owner} | {licence} | {counts[0]} | {counts[1]} |")
    out.mkdir(parents=True, exist_ok=True)
    for name, array in (("base", base), ("query", query), ("gt", exact_neighbours(base, query, NEIGHBOURS))):
        save(out / f"{name}.npy", array)
        print(f"{name}.npy: {array.shape} {array.dtype}")
    write_text(out / "SOURCES.md", "\n".join([
        "# Pictures that the rows are of", "",
        f"Written by benchmarks/datasets/cut_sample.py, which made the rows with OpenCV {cv2.__version__} (Apache-2.0) "
        f"from {len(lines)} pictures in these packages of Debian:", "",
        *(f"- {package} {version}" for package, version in versions.items()), "",
        "Rows stand in the order of the table: those of its first picture come first in base.npy and in query.npy. "
        "Copyright and licence are what the package's copyright file says of the picture; where a wallpaper's own "
        "metadata name an author and a licence, these stand behind.", "",
        "| package | picture | copyright | licence | rows of base | of query |", "|---|---|---|---|---|---|", *lines,
        f"| all | | | | {len(base)} | {len(query)} |", ""]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--sets", type=pathlib.Path, default=ROOT / "build" / "datasets",
                        help="folder of packages and of descriptors (default: build/datasets)")
    arguments = parser.parse_args()
    enter_venv()
    main(arguments.out, arguments.sets)
