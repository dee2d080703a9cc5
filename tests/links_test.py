"""The pages of the project: links lead somewhere, lines are short, decisions have their form."""

import pathlib
import re
import unittest

ROOT = next(folder for folder in pathlib.Path(__file__).resolve().parents if (folder / "CHANGELOG.md").exists())
DECISIONS = ROOT / "faiss_vlc" / "docs" / "decisions"
LEFT_OUT = {"build", ".git", "venv"}  # folders
WIDE = {"RESULTS.md", "GPU.md", "SOURCES.md", "CHANGELOG.md"}  # tables of many columns, and lists

LINK = re.compile(r"!?\[[^\]]*\]\(\s*([^)\s]+)\s*\)")
FENCE = re.compile(r"^```.*?^```$", re.M | re.S)


def pages():
    for path in sorted(ROOT.rglob("*.md")):
        if not LEFT_OUT & set(path.relative_to(ROOT).parts) and not path.parts[-2].startswith("build"):
            yield path


def prose(path):
    """A page without its code."""
    return re.sub(r"`[^`]*`", "``", FENCE.sub("", path.read_text(encoding="utf-8")))


def anchors(path):
    """What GitHub makes of the headings."""
    found = set()
    for heading in re.findall(r"^#+ +(.+)$", FENCE.sub("", path.read_text(encoding="utf-8")), re.M):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        found.add(re.sub(r"[^\w\- ]", "", text).replace(" ", "-"))
    return found


def broken(path):
    """The links of a page that lead nowhere."""
    for target in LINK.findall(prose(path)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        if not there.exists():
            yield f"{path.relative_to(ROOT)}: {target}: no such file"
        elif anchor and anchor not in anchors(there):
            yield f"{path.relative_to(ROOT)}: {target}: no such heading"


class Pages(unittest.TestCase):
    def test_relative_links_lead_somewhere(self):
        links = [link for path in pages() for link in LINK.findall(prose(path))]
        self.assertGreater(len(links), 50)
        self.assertEqual([fault for path in pages() for fault in broken(path)], [])

    def test_lines_are_short(self):
        long = [f"{path.relative_to(ROOT)}:{number}" for path in pages() if path.name not in WIDE
                for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1) if len(line) > 110]
        self.assertEqual(long, [])

    def test_readme_is_short(self):
        self.assertLessEqual(len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()), 120)


class Decisions(unittest.TestCase):
    def test_form(self):
        files = sorted(path for path in DECISIONS.glob("*.md") if path.name != "README.md")
        self.assertGreater(len(files), 25)
        for number, path in enumerate(files, 1):
            text = path.read_text(encoding="utf-8")
            with self.subTest(path.name):
                self.assertRegex(path.name, rf"^{number:04}-[a-z0-9-]+\.md$")
                self.assertTrue(text.startswith(f"# {number:04}. "))
                self.assertEqual(re.findall(r"^## (.+)$", text, re.M),
                                 ["Question", "What was tried", "What was chosen", "Date"])
                self.assertEqual(len(re.findall(r"^\|(?:---\|)+$", text, re.M)), 1, "one table")
                self.assertRegex(text, r"## Date\n\n20\d\d-\d\d-\d\d\n$")

    def test_index_has_each(self):
        index = (DECISIONS / "README.md").read_text(encoding="utf-8")
        rows = re.findall(r"^\| \[(\d{4})\]\((.+?)\) \| (.+) \| (.+) \|$", index, re.M)
        wanted = []
        for path in sorted(DECISIONS.glob("0*.md")):
            text = path.read_text(encoding="utf-8")
            title = re.match(r"# (\d{4})\. (.+)\n", text)
            wanted.append((title[1], path.name, title[2], text.split("## Date\n\n")[1].strip()))
        self.assertEqual(rows, wanted)


if __name__ == "__main__":
    unittest.main()
