"""`python -m faiss_vlc report`: what its page says is true, and what it is given wrongly is an error.

report_browser_test.py beside it looks at the page in a browser."""

import contextlib
import html.parser
import io
import json
import os
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import unittest
import unittest.mock
import xml.etree.ElementTree as ElementTree

import faiss
import numpy as np

import faiss_vlc

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "python"))
from python_fixture import BASE, D, IVFPQ, QUERIES, make
from faiss_vlc import report
from faiss_vlc.report import contents, facts, measure

FIGURES = ["speed", "losses", "lists", "code", "energy", "bytes"]
K = 10
measure.RUN_SECONDS = 0.001  # nobody looks at the speeds


def exact(queries, base, metric=faiss.METRIC_L2):
    return faiss.knn(queries, base, K, metric=metric)[1]


TRUTH = exact(QUERIES, BASE)


class Page(html.parser.HTMLParser):
    """A page's text, its ids and links, its tables, and whether its elements are closed."""

    VOID = {"meta", "link", "br"}

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.texts, self.notes, self.rows = [], [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == [], self.open
        self.text = " ".join("".join(self.texts).split())
        self.svgs = [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", text, re.S)]

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.links += [attributes[name] for name in ("href", "src", "xlink:href") if name in attributes]
        self.open += [] if tag in self.VOID else [tag]
        self.noting = attributes.get("class") == "note" # what is open now
        self.notes += [""] if self.noting else []
        self.rows += [[]] if tag == "tr" else []
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag

    def handle_data(self, data):
        if "style" in self.open:
            return
        self.texts.append(data)
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data
        elif self.open and self.open[-1] == "p" and self.noting:
            self.notes[-1] += data

    def cell(self, first, column=1):
        """Of the row that begins so."""
        (row,) = [row for row in self.rows if row and row[0] == first]
        return row[column]

    def share(self, first, column=1):
        return float(self.cell(first, column).removesuffix(" %")) / 100


class Folder(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = pathlib.Path(holder.name)
        self.queries, self.gt, self.base = (self.save(name, rows) for name, rows in
                                            (("queries.npy", QUERIES), ("gt.npy", TRUTH), ("base.npy", BASE)))

    def save(self, name, rows):
        np.save(self.folder / name, rows)
        return self.path(name)

    def path(self, name):
        return str(self.folder / name)

    def written(self, key="VLC16x4", **more):
        index = make(key, **more) if isinstance(key, str) else key
        faiss.write_index(index, self.path("my.vlc"))
        return self.path("my.vlc")

    def page(self, index, **files):
        out = self.path("report.html")
        report.write_report(index, out, **files)
        return Page(pathlib.Path(out).read_text(encoding="utf-8"))

    def measured(self, index, queries=None, gt=None, base=None, dtype=""):
        """What a page would say, not drawn."""
        found, parts = contents.describe(index)
        contents.measure_with(contents.Asked(queries or self.queries, gt, base, dtype, "test", 2000), found, parts)
        return found

    def figures(self, page):
        return [name for name in page.ids if name in FIGURES]


class Pages(Folder):
    def test_whole(self):
        index = make("VLC16x4")
        page = self.page(self.written(index), queries=self.queries, gt=self.gt)
        self.assertEqual(self.figures(page), FIGURES)
        self.assertEqual(len(page.svgs), len(FIGURES))
        for svg in page.svgs:
            self.assertEqual(svg.get("role"), "img")
            self.assertGreater(len(svg.get("aria-label")), 60)
        self.assertEqual(len(page.ids), len(set(page.ids)))
        # one file: nothing is fetched
        self.assertEqual([link for link in page.links if not link.startswith(("#", "data:"))], [])
        self.assertEqual(page.notes, [])
        found = index.search(QUERIES, K)[1]
        self.assertAlmostEqual(page.share("8, the default"), measure.recall(found, TRUTH), delta=6e-4)
        self.assertAlmostEqual(page.share("found by a search"), measure.recall(found, TRUTH), delta=6e-4)
        held = index.held_out_recall
        self.assertAlmostEqual(page.share("found by a search", 2), held.probed / held.sought, delta=6e-4)
        self.assertEqual(page.cell("bytes of the file"), f"{os.path.getsize(self.path('my.vlc')):,}")
        self.assertIn("2,000 vectors of 32 dimensions in 16 lists", page.text)

    def test_the_same_truth_in_three_ways(self):
        index = self.written()
        by_gt = self.page(index, queries=self.queries, gt=self.gt)
        self.assertEqual(self.measured(index, gt=self.gt).losses, self.measured(index, base=self.base).losses)
        by_decoded = self.page(index, queries=self.queries)
        self.assertEqual(by_decoded.share("by decoded vectors, all lists read"), 1)
        self.assertIn("nearest of the decoded vectors", by_decoded.notes[0])
        self.assertIn("not of the originals", by_decoded.notes[0])
        self.assertIn("held-out vectors' neighbours were found in training", by_decoded.text)
        self.assertIn("your queries' true neighbours are found", by_gt.text)

    def test_without_queries(self):
        page = self.page(self.written())
        self.assertEqual(self.figures(page), FIGURES[1:])
        self.assertIn("No queries were given", page.text)

    def test_of_many_queries_some_are_taken(self):
        found, parts = contents.describe(self.written())
        contents.measure_with(contents.Asked(self.queries, self.gt, None, "", "test", 7), found, parts)
        taken = np.arange(7) * len(QUERIES) // 7
        self.assertEqual(found.queries, 7)
        self.assertAlmostEqual(found.losses.found, measure.recall(parts.vlc.search(QUERIES[taken], K)[1], TRUTH[taken]))

    def test_words(self):
        page = self.page(self.written("VLC16b16block"), queries=self.queries, gt=self.gt)
        self.assertEqual(self.figures(page), FIGURES)
        self.assertEqual(page.cell("codes of"), "words")
        self.assertIn("What each byte of a code says", page.text)

    def test_two_tiers(self):
        page = self.page(self.written("VLC16b8+12"), queries=self.queries, gt=self.gt)
        self.assertEqual((page.cell("bytes of a code"), page.cell("of these for the second tier")), ("20", "12"))
        self.assertIn("The second has 12 bytes", page.text)
        vlc = contents.describe(self.written("VLC16b8+12"))[1].vlc
        spent = facts.bytes_of(vlc, os.path.getsize(self.path("my.vlc")), facts.code_of(vlc))
        self.assertEqual(spent["second codes"], 12 * vlc.ntotal)
        self.assertEqual(spent["codes"] + spent["factors"], 8 * vlc.ntotal)
        self.assertNotIn("second tier", self.page(self.written("VLC16b16")).text)

    def test_inner_products(self):
        index = self.written("VLC16x4", metric=faiss.METRIC_INNER_PRODUCT)
        gt = self.save("ip.npy", exact(QUERIES, BASE, faiss.METRIC_INNER_PRODUCT))
        found = self.measured(index, gt=gt)
        self.assertEqual(found.losses, self.measured(index, base=self.base).losses)
        self.assertGreater(found.losses.decoded, 0.8)
        self.assertEqual(found.metric, "inner product")

    def test_trees(self):
        for key in ("IDMap,VLC16x4", "PCA24,VLC16x4", "PCA24,IDMap,VLC16x4", "VLC16x4,RFlat", "IDMap,PCA24,VLC16x4"):
            with self.subTest(key):
                index, truth = make(key, add=False), TRUTH
                if "IDMap" in key: # labels of their own
                    labels = 7 * np.arange(len(BASE)) + 3
                    index.add_with_ids(BASE, labels)
                    truth = labels[TRUTH]
                else:
                    index.add(BASE)
                found = self.measured(self.written(index), gt=self.save("labels.npy", truth))
                met = measure.recall(index.search(QUERIES, K)[1], truth)
                self.assertAlmostEqual(found.chosen.recall, met)
                self.assertGreater(found.losses.decoded, 0.5)
                self.assertAlmostEqual(found.losses.estimated, found.losses.decoded, delta=0.06)
                self.assertEqual("refines" in " ".join(found.notes), "RFlat" in key)
                if "RFlat" not in key:
                    self.assertAlmostEqual(found.losses.found, met)
                by_decoded = self.measured(self.path("my.vlc"))
                self.assertEqual(by_decoded.by_decoded, "RFlat" not in key)
                self.assertGreater(by_decoded.chosen.recall, 0.7)
        self.assertEqual(self.figures(self.page(self.path("my.vlc"), queries=self.queries)), FIGURES)

    def test_parts_that_it_does_not_know(self):
        """Wrappers of a later FAISS: speed and recall are of the whole, the rest is left out, and it says so."""
        def asked(gt):
            return contents.Asked(self.queries, gt, None, "", "test", 2000)
        found, parts = contents.describe(self.written())
        parts.known = False
        contents.measure_with(asked(self.gt), found, parts)
        self.assertEqual((len(found.points), found.losses), (5, None))
        self.assertIn("does not know", found.notes[-1])
        with self.assertRaisesRegex(report.ReportError, "cannot decode"):
            contents.measure_with(asked(None), found, parts)

    def test_an_empty_index(self):
        page = self.page(self.written("VLC16x4", add=False), queries=self.queries, gt=self.gt)
        self.assertEqual(self.figures(page), ["losses", "code", "energy", "bytes"])
        self.assertIn("The index is empty", page.notes[0])

    def test_a_file_without_energies(self):
        """As those are whose anchors were given."""
        index = faiss_vlc.IndexVLC(D, 16)
        index.quantizer.add(BASE[:16])
        index.train(BASE)
        index.add(BASE)
        page = self.page(self.written(index))
        self.assertEqual(self.figures(page), ["losses", "lists", "code", "bytes"])
        self.assertIn("does not say how the energy fell", page.text)

    def test_files_as_the_command_reads_them(self):
        raw = self.path("queries.bin")
        QUERIES.tofile(raw)
        vecs = self.path("queries.fvecs")
        np.hstack([np.full((len(QUERIES), 1), D, "<i4").view("<f4"), QUERIES]).tofile(vecs)
        index = self.written()
        wanted = self.measured(index, gt=self.gt).losses
        self.assertEqual(self.measured(index, queries=vecs, gt=self.gt).losses, wanted)
        self.assertEqual(self.measured(index, queries=raw, gt=self.gt, dtype="float32").losses, wanted)

    def test_names_are_escaped(self):
        faiss.write_index(make("VLC16x4"), self.path("<b>&.vlc"))
        self.assertIn("Report on <b>&.vlc", self.page(self.path("<b>&.vlc")).text)


class Measures(Folder):
    """Against what is written out plainly."""

    def parts(self, key="VLC16x4"):
        return contents.describe(self.written(key))[1]

    def test_decoded_vectors(self):
        for key in ("VLC16x4", "VLC16b16block", "IDMap,VLC16x4"):
            parts = self.parts(key)
            labels, rows = map(np.concatenate, zip(*measure.decoded(parts)))
            np.testing.assert_array_equal(np.sort(labels), np.arange(len(BASE)))
            parts.vlc.make_direct_map()
            np.testing.assert_array_equal(rows[np.argsort(labels)], parts.vlc.reconstruct_n(0, len(BASE)))

    def test_labels(self):
        ids = np.array([[2, -1], [0, 1]])
        np.testing.assert_array_equal(facts.relabelled(np.array([7, 8, 9]), ids), [[9, -1], [7, 8]])
        np.testing.assert_array_equal(facts.relabelled(None, ids), ids)
        with self.assertRaisesRegex(report.ReportError, "the id 2, but labels for 2 vectors"):
            facts.relabelled(np.array([7, 8]), ids)

    def test_nearest(self):
        for metric in (faiss.METRIC_L2, faiss.METRIC_INNER_PRODUCT):
            blocks = [(np.arange(i, min(i + 300, 2000)), BASE[i : i + 300]) for i in range(0, 2000, 300)]
            np.testing.assert_array_equal(measure.nearest(QUERIES, blocks, K, metric), exact(QUERIES, BASE, metric))
        # of equal ones the smaller label, in however many blocks
        twice = [(np.arange(2000, 4000), BASE), (np.arange(2000), BASE)]
        found = measure.nearest(QUERIES, twice, K, faiss.METRIC_L2)
        np.testing.assert_array_equal(found[:, ::2], TRUTH[:, :5])
        np.testing.assert_array_equal(found[:, 1::2], TRUTH[:, :5] + 2000)

    def test_in_lists(self):
        parts = self.parts()
        lists = parts.vlc.assign_lists(BASE)
        for nprobe in (1, 2, 8, 16):
            parts.vlc.nprobe = nprobe
            ranked = parts.vlc.quantizer.search(QUERIES, 16)[1][:, :nprobe]
            wanted = np.mean([lists[label] in row for row, labels in zip(ranked, TRUTH) for label in labels])
            self.assertAlmostEqual(measure.in_lists(parts, QUERIES, TRUTH), wanted)

    def test_curve(self):
        parts = self.parts()
        points = measure.curve(parts, QUERIES, TRUTH)
        self.assertEqual([p.nprobe for p in points], [1, 2, 4, 8, 16])
        self.assertLess(points[0].recall, points[-1].recall)
        self.assertTrue(all(p.qps > 0 for p in points))
        self.assertEqual(parts.vlc.nprobe, 8)

    def test_bits_bytes_and_energies(self):
        vlc = self.parts("VLC16x4lattice").vlc
        bits = facts.code_of(vlc).bits
        self.assertEqual((len(bits), bits.sum()), (D, 8 * (vlc.code_size - 2)))
        self.assertTrue((np.diff(bits) <= 0).all())
        size = os.path.getsize(self.path("my.vlc"))
        spent = facts.bytes_of(vlc, size, facts.code_of(vlc))
        self.assertEqual(sum(spent.values()), size)
        self.assertEqual(spent["codes"] + spent["factors"], vlc.ntotal * vlc.code_size)
        training = facts.training_of(vlc)
        self.assertEqual(len(training.course), training.iterations)
        self.assertAlmostEqual(training.course[-1], training.energy, delta=0.05 * training.energy)
        info = json.loads(subprocess.run([os.environ["VLC_CLI"], "info", "--idx", self.path("my.vlc"), "--json"],
                                         capture_output=True, text=True, check=True).stdout)
        self.assertEqual(facts.section_sizes(vlc), {section["name"]: section["bytes"] for section in info["sections"]})
        widths = {str(width): int(count) for width, count in zip(*np.unique(bits, return_counts=True))}
        self.assertEqual(widths, info["code"]["dimensions_by_bits"])

    def test_energies_that_are_no_numbers(self):
        record = struct.pack("<qiIff", 1000, 5, 1, float("nan"), 2.0)
        with unittest.mock.patch.object(facts, "section", lambda vlc, name: record):
            with self.assertRaisesRegex(facts.ReportError, "section training: expected finite energies, got nan and 2.0"):
                facts.training_of(None)

    def test_blocks_of_words(self):
        code = facts.code_of(self.parts("VLC16b16block").vlc)
        self.assertEqual((code.words, code.axes.sum()), (True, D))
        self.assertEqual(len(code.reach), 16 - code.factor_bytes)
        self.assertTrue((code.reach > 0).all())

    def test_whole_words_have_no_factors(self):
        index = faiss_vlc.IndexVLC(64, faiss_vlc.VLCParameters(m=16, bytes=8, device="reference"))
        index.train((np.random.default_rng(1).random((4000, 64)) < 0.1).astype("float32"))
        index.add((np.random.default_rng(2).random((1000, 64)) < 0.1).astype("float32"))
        self.assertEqual(struct.unpack_from("<II", facts.section(index, "words")), (8, facts.WHOLE_WORDS))
        code = facts.code_of(index)
        self.assertEqual((code.factor_bytes, len(code.reach)), (0, 8))
        spent = facts.bytes_of(index, facts.swigvlc.payload_size(index), code)
        self.assertEqual(spent["codes"], 8000)


class Errors(Folder):
    def refused(self, pattern, *arguments, code=1):
        """The command fails so, in one line and without leaving a page."""
        out, said = self.path("report.html"), io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            try:
                met = report.main([*map(str, arguments), "-o", out])
            except SystemExit as error: # argparse
                met = error.code
        self.assertEqual(met, code, said.getvalue())
        self.assertRegex(said.getvalue(), pattern)
        self.assertFalse(os.path.exists(out))
        self.assertEqual([name for name in os.listdir(self.folder) if name.startswith(".report")], [])

    def test_index(self):
        good = self.written()
        content = pathlib.Path(good).read_bytes()
        for at in (20, 70, len(content) // 2, len(content) - 3): # header, table, sections
            bad = bytearray(content)
            bad[at] ^= 1
            pathlib.Path(self.path("bad.vlc")).write_bytes(bad)
            self.refused(r"bad\.vlc", self.path("bad.vlc"))
        pathlib.Path(self.path("bad.vlc")).write_bytes(content[:-100])
        self.refused(r"bad\.vlc", self.path("bad.vlc"))
        self.refused(r"queries\.npy: not an index", self.queries)
        self.refused(r"none\.vlc", self.path("none.vlc"))
        self.refused(r"expected one IndexVLC in the index, met none", self.written(IVFPQ))
        self.refused(r"not trained", self.written(faiss_vlc.IndexVLC(D, 16)))
        two = faiss.IndexRefine(make("VLC16x4"), make("VLC16x4"))
        self.refused(r"expected one IndexVLC in the index, met 2", self.written(two))

    def test_queries(self):
        index = self.written()
        for rows, pattern in ((QUERIES[:, :20], "expected queries of 32 dimensions, as the index has, got 20"),
                              (QUERIES[:0], r"rows\.npy"),
                              (np.where(np.arange(D) == 3, np.nan, QUERIES[:5]).astype("float32"), "row 0, column 3 is nan"),
                              (TRUTH, r"rows\.npy")):
            self.refused(pattern, index, "--queries", self.save("rows.npy", rows))
        self.refused(r"none\.npy", index, "--queries", self.path("none.npy"))
        QUERIES.tofile(self.path("raw"))
        self.refused("raw", index, "--queries", self.path("raw"))

    def test_truth(self):
        index, queries = self.written(), ("--queries", self.queries)
        self.refused("neighbours of 40 queries, got 39", index, *queries, "--gt", self.save("g.npy", TRUTH[:39]))
        self.refused("all are below", index, *queries, "--gt", self.save("g.npy", -1 - TRUTH))
        self.refused("integers", index, *queries, "--gt", self.queries)
        self.refused("expected the 2000 vectors of 32", index, *queries, "--base", self.save("b.npy", BASE[:99]))
        self.refused("expected the 2000 vectors of 32", index, *queries, "--base", self.save("b.npy", BASE[:, :9]))

    def test_usage(self):
        index = self.written()
        self.refused("need --queries", index, "--gt", self.gt, code=2)
        self.refused("need --queries", index, "--base", self.base, code=2)
        self.refused("not allowed with", index, "--queries", self.queries, "--gt", self.gt, "--base", self.base, code=2)
        self.refused("--max-queries", index, "--queries", self.queries, "--max-queries", 0, code=2)
        self.refused("INDEX", code=2)
        self.refused("invalid choice", index, "--dtype", "int3", code=2)

    def test_out(self):
        index = self.written()
        with self.assertRaisesRegex(report.ReportError, "is not there"):
            report.write_report(index, self.path("none/report.html"))
        with self.assertRaises(OSError):
            report.write_report(index, str(self.folder))
        self.assertEqual(sorted(os.listdir(self.folder)), ["base.npy", "gt.npy", "my.vlc", "queries.npy"])

    def test_without_matplotlib(self):
        code = "import sys; sys.modules['matplotlib'] = None; from faiss_vlc import report; sys.exit(report.main(sys.argv[1:]))"
        done = subprocess.run([sys.executable, "-c", code, self.written(), "-o", self.path("report.html")],
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"drawn by matplotlib.*install python3-matplotlib")
        self.assertEqual(done.stderr.count("\n"), 1)


class Command(Folder):
    def test_it_writes_the_page(self):
        index = self.written()
        done = subprocess.run([sys.executable, "-m", "faiss_vlc", "report", index, "--queries", self.queries, "--gt", self.gt,
                               "--threads", "1", "-o", self.path("r.html")], capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(done.stdout, self.path("r.html") + "\n")
        self.assertIn("on 1 thread.", Page(pathlib.Path(self.path("r.html")).read_text(encoding="utf-8")).text)


if __name__ == "__main__":
    unittest.main()
