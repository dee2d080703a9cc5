"""The report's page in a browser, Chromium without a window: it loads without errors, its pictures are there, and
nothing is too wide or too small on a telephone or a wide screen, light or dark.

Skipped where there is no Chromium (Debian's package chromium)."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest
import urllib.parse

import faiss
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "python"))
from python_fixture import BASE, QUERIES, make
from faiss_vlc import report
from faiss_vlc.report import measure

measure.RUN_SECONDS = 0.001
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SKIPPED = 77

# What the page looks like, put where --dump-dom shows it.
PROBE = """<script>
addEventListener("load", () => {
  const box = (e) => { const b = e.getBoundingClientRect(); return [b.left, b.right, b.top, b.bottom]; };
  const inside = (a, b) => a[0] >= b[0] - 2 && a[1] <= b[1] + 2 && a[2] >= b[2] - 2 && a[3] <= b[3] + 2;
  const size = (t) => {
    const m = t.getScreenCTM(), s = parseFloat(getComputedStyle(t).fontSize);
    return s * Math.hypot(m.a, m.b);
  };
  const luminance = (colour) => {
    const linear = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = colour.match(/[\\d.]+/g).map((v) => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => {
    const [x, y] = [luminance(a), luminance(b)];
    return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05);
  };
  const on = (e) => getComputedStyle(e.closest(".card")).backgroundColor;
  const svgs = [...document.querySelectorAll("figure svg")];
  const letters = svgs.flatMap((s) => [...s.querySelectorAll("text")]);
  const words = [...document.querySelectorAll("h1, h2, p, dd, dt, figcaption")];
  const met = {
    width: innerWidth,
    scroll: document.documentElement.scrollWidth,
    svgs: svgs.map((s) => ({name: s.parentElement.id, box: box(s), shapes: s.querySelectorAll("path").length})),
    outside: letters.filter((t) => !inside(box(t), box(t.closest("svg")))).map((t) => t.textContent),
    letters: Math.min(...letters.map(size)),
    contrast: Math.min(...letters.map((t) => contrast(getComputedStyle(t).fill, on(t)))),
    cut: words.filter((e) => e.scrollWidth > e.clientWidth + 1).map((e) => e.textContent),
    dark: matchMedia("(prefers-color-scheme: dark)").matches,
  };
  const said = encodeURIComponent(JSON.stringify(met));
  document.documentElement.dataset.met = said;
  parent.postMessage(said, "*");
});
</script>"""
# A window is 500 pixels wide at least; a frame may be narrower.
FRAME = """<!DOCTYPE html><meta charset="utf-8"><meta name="color-scheme" content="light dark"><script>
addEventListener("message", (said) => { document.documentElement.dataset.met = said.data; });
</script><iframe src="URL" style="width: WIDTHpx; height: 800px; border: 0"></iframe>"""


def opened(path, width, dark=False):
    """(what the probe met; lines of the console)."""
    with tempfile.TemporaryDirectory() as home:
        frame = pathlib.Path(home) / "frame.html"
        frame.write_text(FRAME.replace("URL", pathlib.Path(path).as_uri()).replace("WIDTH", str(width)), encoding="utf-8")
        done = subprocess.run(
            [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
             "--disable-dev-shm-usage", f"--user-data-dir={home}/profile", f"--window-size={width + 20},900",
             "--virtual-time-budget=3000", "--enable-logging=stderr",
             *(["--blink-settings=preferredColorScheme=0"] if dark else []), "--dump-dom", frame.as_uri()],
            capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0:
        raise AssertionError(f"exit code {done.returncode}\n{done.stderr}")
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    _, found, rest = done.stdout.partition('data-met="')
    if not found:
        raise AssertionError(f"the page did not load\n{done.stderr}")
    return json.loads(urllib.parse.unquote(rest.partition('"')[0])), console


class Browser(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.holder = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.holder.name)
        np.save(cls.folder / "queries.npy", QUERIES)
        np.save(cls.folder / "gt.npy", faiss.knn(QUERIES, BASE, 10)[1])
        cls.pages = {}
        for key, gt in (("VLC16x4", True), ("VLC16b16block", False)):
            faiss.write_index(make(key), str(cls.folder / f"{key}.vlc"))
            path = cls.folder / f"{key}.html"
            report.write_report(str(cls.folder / f"{key}.vlc"), str(path), queries=str(cls.folder / "queries.npy"),
                                gt=str(cls.folder / "gt.npy") if gt else None)
            cls.pages[key] = path
            cls.probed(path)

    @classmethod
    def tearDownClass(cls):
        cls.holder.cleanup()

    @classmethod
    def probed(cls, path, more=""):
        text = path.read_text(encoding="utf-8")
        assert "<script" not in text # the page has none of its own
        path.write_text(text.replace("</body>", f"{PROBE}{more}</body>"), encoding="utf-8")

    def check(self, path, width, dark=False):
        met, console = opened(path, width, dark)
        self.assertEqual(console, [])
        self.assertEqual((met["width"], met["dark"]), (width, dark))
        self.assertEqual([svg["name"] for svg in met["svgs"]], ["speed", "losses", "lists", "code", "energy", "bytes"])
        for svg in met["svgs"]:
            left, right, top, bottom = svg["box"]
            self.assertGreater(right - left, min(300, width - 80), svg)
            self.assertGreater(bottom - top, 120, svg)
            self.assertGreater(svg["shapes"], 5, svg)
        self.assertLessEqual(met["scroll"], width)
        self.assertEqual((met["outside"], met["cut"]), ([], []))
        self.assertGreater(met["letters"], 8.5) # pixels
        self.assertGreater(met["contrast"], 4.5) # WCAG's AA
        return met

    def test_on_a_telephone(self):
        for path in self.pages.values():
            self.check(path, 400)

    def test_on_a_wide_screen(self):
        met = self.check(self.pages["VLC16x4"], 1600)
        first, second = (svg["box"] for svg in met["svgs"][:2])
        self.assertGreater(second[0], first[1]) # side by side

    def test_in_the_dark(self):
        self.check(self.pages["VLC16b16block"], 1000, dark=True)

    def test_faults_are_noticed(self):
        """What the tests above look for, put into a page."""
        bad = self.folder / "bad.html"
        bad.write_text(self.pages["VLC16x4"].read_text(encoding="utf-8").replace(
            "</main>", "<p style='width: 3000px'>wide</p><img src='none.png'></main><script>nothing.at.all</script>"))
        met, console = opened(bad, 400)
        self.assertGreater(met["scroll"], 2000)
        self.assertTrue(any("nothing is not defined" in line for line in console), console)


if __name__ == "__main__":
    if CHROMIUM is None:
        print("*" * 72, "SKIPPED: no Chromium here (Debian's package chromium): the report was not looked at", "*" * 72,
              sep="\n")
        sys.exit(SKIPPED)
    unittest.main()
