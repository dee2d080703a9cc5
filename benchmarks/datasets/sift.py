"""SIFT descriptors of the photographs in Debian's wallpaper packages and in GCompris."""

import functools
import os
import pathlib
import re
import time

import numpy as np

from common import QUERIES, copy_licences, finish, run_parts, save, unpack_packages

PACKAGES = [
    "gcompris-qt-data",
    "gnome-backgrounds",
    "lomiri-wallpapers-16.04",
    "lomiri-wallpapers-20.04",
    "mate-backgrounds",
    "plasma-workspace-wallpapers",
    "ukui-wallpapers",
]
# Qt's resource files of GCompris that hold photographs
RESOURCES = ["clickgame", "erase", "explore_farm_animals", "explore_monuments",
             "explore_world_animals", "explore_world_music"]
LONG_SIDE = 1800      # larger photographs are made smaller: they would drown the others
SHORT_SIDE = 400      # smaller images are icons
PER_PHOTOGRAPH = 6000
EVERY = 10            # every tenth photograph gives queries and no base vectors


def embedded_images(path):
    """Offsets of the JPEG and WebP images in a file that holds them uncompressed."""
    data = path.read_bytes()
    return [m.start() for m in re.finditer(rb"RIFF....WEBP|\xff\xd8\xff[\xe0\xe1\xdb]", data, re.S)]


def photographs(folder, packages=PACKAGES, resources=RESOURCES):
    """(name, file, offset), one entry a picture: the largest of several sizes, in a fixed order."""
    largest = {}
    for package in packages:
        for path in sorted((folder / package).rglob("*")):
            if path.is_symlink() or path.suffix.lower() not in (".jpg", ".jpeg", ".png", ".webp"):
                continue
            relative = path.relative_to(folder).as_posix()
            if "/doc/" in relative or "/icons/" in relative or "screenshot" in relative:
                continue
            name = re.sub(r"/contents/.*|[_-]\d+x\d+.*|-[dl]\.webp$|\.\w+$", "", relative)
            if name not in largest or path.stat().st_size > largest[name].stat().st_size:
                largest[name] = path
    found = [(name, path, None) for name, path in largest.items()]
    for resource in resources:
        path = folder / "gcompris-qt-data/usr/share/gcompris-qt/rcc" / f"{resource}.rcc"
        for i, offset in enumerate(embedded_images(path)):
            found.append((f"gcompris-qt-data/{resource}/{i:03}", path, offset))
    return sorted(found, key=lambda entry: entry[0])


def part_path(parts, name):
    return parts / (name.replace("/", "_") + ".npy")


def describe(parts, photograph):
    """Writes one photograph's descriptors, the strongest first."""
    import cv2
    cv2.setNumThreads(1)
    name, path, offset = photograph
    data = np.fromfile(path, dtype=np.uint8, offset=offset or 0)
    image = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
    descriptors = np.empty((0, 128), dtype=np.uint8)
    if image is not None and min(image.shape) >= SHORT_SIDE:
        scale = LONG_SIDE / max(image.shape)
        if scale < 1:
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        sift = cv2.SIFT_create(nfeatures=PER_PHOTOGRAPH, contrastThreshold=0.015)
        points, rows = sift.detectAndCompute(image, None)
        if rows is not None:
            order = np.argsort([-p.response for p in points], kind="stable")
            # One point in two directions gives two descriptors of one place: both stay, exact
            # repetitions do not.
            rows = rows[order].astype(np.uint8)
            _, first = np.unique(rows, axis=0, return_index=True)
            descriptors = rows[np.sort(first)]
    save(part_path(parts, name), descriptors)


def cap_for(counts, n):
    """The number of descriptors a photograph may give so that all give n, or a few more."""
    low, high = 1, max(counts)
    while low < high:
        middle = (low + high) // 2
        if sum(min(c, middle) for c in counts) >= n:
            high = middle
        else:
            low = middle + 1
    return low


def make(arguments):
    deadline = time.monotonic() + arguments.seconds
    out = arguments.out / "sift"
    parts = out / "parts"
    parts.mkdir(parents=True, exist_ok=True)
    folder = arguments.out / "packages"
    versions = unpack_packages(PACKAGES, folder)
    pictures = photographs(folder)
    todo = [p for p in pictures if not part_path(parts, p[0]).exists()]
    if not run_parts(functools.partial(describe, parts), todo, arguments.jobs, deadline):
        return False

    found = [(name, np.load(part_path(parts, name))) for name, _, _ in pictures]
    found = [(name, rows) for name, rows in found if len(rows) >= 100]
    base = [(name, rows) for i, (name, rows) in enumerate(found) if i % EVERY != EVERY // 2]
    queries = [(name, rows) for i, (name, rows) in enumerate(found) if i % EVERY == EVERY // 2]
    cap = cap_for([len(rows) for _, rows in base], arguments.n)
    vectors = np.vstack([rows[:cap] for _, rows in base])[:arguments.n]
    if len(vectors) < arguments.n:
        print(f"sift: expected {arguments.n} descriptors, the photographs give {len(vectors)}")
    pool = np.vstack([rows[:cap] for _, rows in queries])
    chosen = np.random.default_rng(1).choice(len(pool), QUERIES, replace=False)
    if not (out / "base.npy").exists():
        save(out / "query.npy", pool[np.sort(chosen)])
        save(out / "base.npy", vectors)

    import cv2
    copy_licences(folder, PACKAGES, out / "licences")
    lines = ["# SIFT descriptors of photographs", "",
             f"Made by benchmarks/datasets/make_datasets.py with OpenCV {cv2.__version__} (Apache-2.0): "
             f"{len(vectors)} descriptors of {len(base)} pictures, at most {cap} of each; "
             f"{QUERIES} queries from {len(queries)} others.", "",
             "The pictures come from these Debian packages; their terms are in licences/.", ""]
    lines += [f"- {name} {version}" for name, version in versions.items()]
    lines += ["", "Base: " + ", ".join(name for name, _ in base) + ".",
              "", "Queries: " + ", ".join(name for name, _ in queries) + ".", ""]
    finish(out, "\n".join(lines))
    return True
