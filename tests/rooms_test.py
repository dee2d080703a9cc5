"""The rooms of faiss_vlc: each is a folder whose README.md says what it may include and which public headers are
its own. Nothing includes upwards: what the READMEs allow has no circle, and the includes keep to it."""

import graphlib
import os
import re
import shutil
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MOST_FILES = 20 # in a folder, where opencl/ is left out: its stems belong together
MANY_FILES = {"faiss_vlc/docs/decisions"} # one for each decision
CODE = (".h", ".cpp")
BESIDE_ROOMS = {"clients", "data", "examples", "fuzz", "python", "report", "sanitizer_suppressions", "support"} # in tests/
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', re.M)
README_LINES = 5 # of the heading and what follows it


def folders(root, top):
    """Every folder below top as (path relative to root, names of its files)."""
    for path, below, files in os.walk(os.path.join(root, top)):
        below[:] = sorted(name for name in below if name[0] not in "._")
        yield os.path.relpath(path, root), sorted(name for name in files if name[0] != ".")


def has_code(root, folder):
    return any(name.endswith(CODE) for _, files in folders(root, folder) for name in files)


def rooms_of(root):
    top = os.path.join(root, "faiss_vlc")
    return sorted(name for name in os.listdir(top)
                  if os.path.isdir(os.path.join(top, name)) and has_code(root, f"faiss_vlc/{name}"))


def folder_of(room):
    return room if room == "opencl" else f"faiss_vlc/{room}"


class House:
    """What the READMEs say: `allowed` and `headers` of each room, bottom up in `order`."""

    def __init__(self, root):
        self.root, self.faults = root, []
        self.allowed, self.room_of_header, self.order = {}, {}, []
        for room in [*rooms_of(root), "opencl"]:
            self.read(room)
        unknown = {(room, other) for room, others in self.allowed.items() for other in others - set(self.allowed)}
        for room, other in sorted(unknown):
            self.faults.append(f"{folder_of(room)}/README.md names {other!r}, which is no room")
            self.allowed[room].discard(other)
        try:
            self.order = list(graphlib.TopologicalSorter(self.allowed).static_order())
        except graphlib.CycleError as error:
            self.faults.append("rooms that may include each other: " + " <- ".join(error.args[1]))

    def read(self, room):
        path = f"{folder_of(room)}/README.md"
        self.allowed[room] = set()
        if not os.path.exists(os.path.join(self.root, path)):
            self.faults.append(f"{path} is missing")
            return
        with open(os.path.join(self.root, path), encoding="utf-8") as file:
            text = file.read()
        included = re.search(r"^- May include: (.+)\.$", text, re.M)
        headers = re.search(r"^- Public headers: (.+)\.$", text, re.M)
        if not included or not headers or len([line for line in text.splitlines() if line]) != README_LINES:
            self.faults.append(f"{path}: expected a heading and four lines, two of which begin with "
                               "'- May include: ' and '- Public headers: '")
            return
        if included[1] != "no other room":
            self.allowed[room] = set(included[1].split(", "))
        for header in [] if headers[1] == "none" else headers[1].split(", "):
            self.room_of_header[f"faiss_vlc/{header}"] = room

    def room_of(self, path):
        """The room of a file, or None where it is in none."""
        parts = path.split("/")
        if parts[0] == "opencl":
            return "opencl"
        if parts[0] != "faiss_vlc":
            return None
        return self.room_of_header.get(path) if len(parts) == 2 else parts[1]


def check_includes(house):
    found = []
    for top in ("faiss_vlc", "opencl"):
        for folder, files in folders(house.root, top):
            for name in files:
                if name.endswith(CODE):
                    found += check_file(house, f"{folder}/{name}")
    return found


def check_file(house, path):
    room = house.room_of(path)
    if room is None:
        return [f"{path} belongs to no room: no README names it"]
    with open(os.path.join(house.root, path), encoding="utf-8") as file:
        includes = INCLUDE.findall(file.read())
    found = []
    for bracket, target in includes:
        other = house.room_of(target)
        if bracket == '"':
            found.append(f'{path} includes "{target}": expected <> and the path from the root')
        elif target.startswith(("tests/", "benchmarks/")):
            found.append(f"{path} includes {target}, which is no part of the library")
        elif path in house.room_of_header and target.startswith("faiss_vlc/") and target not in house.room_of_header:
            found.append(f"{path} is installed and includes {target}, which is not")
        elif other is not None and other != room and other not in house.allowed.get(room, ()):
            found.append(f"{path} includes {target}: {room} may not include {other}")
    return found


def check_bindings(house):
    """The bindings take devices from index, too."""
    path = "python_bindings/swigvlc.i"
    with open(os.path.join(house.root, path), encoding="utf-8") as file:
        return [f"{path} includes {target}: only index may" for _, target in INCLUDE.findall(file.read())
                if house.room_of(target) == "opencl"]


def check_folders(house):
    found = [f"{folder} holds {len(files)} files, expected at most {MOST_FILES}"
             for top in ("faiss_vlc", "tests") for folder, files in folders(house.root, top)
             if len(files) > MOST_FILES and folder not in MANY_FILES]
    rooms = set(rooms_of(house.root)) | {"opencl"}
    tests = {os.path.basename(folder) for folder, _ in folders(house.root, "tests") if folder.count("/") == 1}
    found += [f"tests/{name} is missing: each room has its tests" for name in sorted(rooms - tests)]
    found += [f"tests/{name} is no room's" for name in sorted(tests - rooms - BESIDE_ROOMS)]
    return found


def faults_of(root):
    house = House(root)
    return house.faults + check_includes(house) + check_bindings(house) + check_folders(house)


class Rooms(unittest.TestCase):
    def test_this_house(self):
        self.assertEqual(faults_of(ROOT), [])

    def test_order_is_what_the_house_wants(self):
        order = House(ROOT).order
        for below, above in [("lib", "container"), ("codec", "kernels"), ("kernels", "model"), ("model", "query"),
                             ("model", "train"), ("train", "tune"), ("query", "search"), ("search", "opencl"),
                             ("opencl", "index"), ("index", "storage"), ("storage", "interop"), ("interop", "cli"),
                             ("vectors", "train")]:
            self.assertLess(order.index(below), order.index(above), (below, above))
        self.assertEqual(order[-1], "cli")


class PlantedFaults(unittest.TestCase):
    """Each fault is found in a copy of the house, and nothing else is."""

    def setUp(self):
        self.root = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.root)
        for top in ("faiss_vlc", "opencl", "python_bindings", "tests"):
            shutil.copytree(os.path.join(ROOT, top), os.path.join(self.root, top),
                            ignore=shutil.ignore_patterns("*.npy", "*.vlc", "*.cl", "__pycache__"))

    def append(self, path, text):
        with open(os.path.join(self.root, path), "a", encoding="utf-8") as file:
            file.write(text)

    def replace(self, path, old, new):
        full = os.path.join(self.root, path)
        with open(full, encoding="utf-8") as file:
            text = file.read()
        self.assertIn(old, text)
        with open(full, "w", encoding="utf-8") as file:
            file.write(text.replace(old, new))

    def expect(self, *faults):
        self.assertEqual(faults_of(self.root), list(faults))

    def test_include_upwards(self):
        self.append("faiss_vlc/model/lattice.cpp", "#include <faiss_vlc/train/sample.h>\n")
        self.expect("faiss_vlc/model/lattice.cpp includes faiss_vlc/train/sample.h: model may not include train")

    def test_public_header_from_below(self):
        self.append("faiss_vlc/train/stages/near.cpp", "#  include <faiss_vlc/IndexVLC.h>\n")
        self.expect("faiss_vlc/train/stages/near.cpp includes faiss_vlc/IndexVLC.h: train may not include index")

    def test_opencl_from_elsewhere(self):
        self.append("faiss_vlc/cli/info.cpp", "#include <opencl/device.h>\n")
        self.append("python_bindings/swigvlc.i", "%{\n#include <opencl/device.h>\n%}\n")
        self.expect("faiss_vlc/cli/info.cpp includes opencl/device.h: cli may not include opencl",
                    "python_bindings/swigvlc.i includes opencl/device.h: only index may")

    def test_inside_of_a_public_header(self):
        self.append("faiss_vlc/IndexVLC.h", "#include <faiss_vlc/model/model.h>\n")
        self.expect("faiss_vlc/IndexVLC.h is installed and includes faiss_vlc/model/model.h, which is not")

    def test_public_header_of_nobody(self):
        self.append("faiss_vlc/new.h", "#pragma once\n")
        self.expect("faiss_vlc/new.h belongs to no room: no README names it")

    def test_include_beside(self):
        self.append("faiss_vlc/lib/error.cpp", '#include "error.h"\n#include <tests/support/unit_test.h>\n')
        self.expect('faiss_vlc/lib/error.cpp includes "error.h": expected <> and the path from the root',
                    "faiss_vlc/lib/error.cpp includes tests/support/unit_test.h, which is no part of the library")

    def test_readme_that_allows_a_circle(self):
        self.replace("faiss_vlc/lib/README.md", "no other room", "search")
        found = faults_of(self.root)
        self.assertEqual(len(found), 1)
        self.assertIn("rooms that may include each other: ", found[0])

    def test_readme_that_is_missing_or_says_nothing(self):
        os.remove(os.path.join(self.root, "opencl/README.md"))
        self.replace("faiss_vlc/vectors/README.md", "May include", "Includes")
        found = faults_of(self.root)
        self.assertEqual(found[0], "faiss_vlc/vectors/README.md: expected a heading and four lines, two of which begin "
                                   "with '- May include: ' and '- Public headers: '")
        self.assertEqual(found[1], "opencl/README.md is missing")

    def test_room_that_is_unknown(self):
        self.replace("faiss_vlc/cli/README.md", "interop", "interoperation")
        found = faults_of(self.root)
        self.assertEqual(found[0], "faiss_vlc/cli/README.md names 'interoperation', which is no room")
        self.assertTrue(any(fault.endswith("cli may not include interop") for fault in found), found)

    def test_new_room_and_full_folder(self):
        os.mkdir(os.path.join(self.root, "faiss_vlc/attic"))
        self.append("faiss_vlc/attic/old.cpp", "\n")
        for i in range(MOST_FILES):
            self.append(f"tests/lib/more_{i}_test.cpp", "\n")
        count = len(os.listdir(os.path.join(self.root, "tests/lib")))
        self.expect("faiss_vlc/attic/README.md is missing",
                    f"tests/lib holds {count} files, expected at most {MOST_FILES}",
                    "tests/attic is missing: each room has its tests")


if __name__ == "__main__":
    unittest.main()
