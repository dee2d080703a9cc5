"""A report on an index to look at: one HTML file with pictures and numbers.

    python -m faiss_vlc report my.vlc --queries query.npy --gt gt.npy -o report.html

It draws with matplotlib, which faiss_vlc does not need otherwise.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from typing import Sequence

import faiss

from faiss_vlc.report import contents
from faiss_vlc.report.facts import ReportError

__all__ = ["ReportError", "main", "write_report"]


def write_report(index: str, out: str, *, queries: str | None = None, gt: str | None = None, base: str | None = None,
                 dtype: str = "", dataset: str = "test", max_queries: int = 2000) -> None:
    """Writes a report on an index file as an HTML file.

    Parameters
    ----------
    index : str
        The index's file: a .vlc file, or FAISS's of a tree with an IndexVLC in it.
    out : str
        The HTML file, which is replaced when the new one is complete.
    queries : str, optional
        A file of queries; recall and speed are measured with them.
    gt : str, optional
        Their exact neighbours, the best first. Without gt and base, queries are compared with the decoded
        vectors, and the report says so.
    base : str, optional
        Instead of gt: the vectors of the index, in the order of their ids, to find the neighbours in.
    dtype : str, optional
        Of queries and base, if they are raw files.
    dataset : str, optional
        Of queries in an HDF5 file.
    max_queries : int, optional
        Of more, as many are taken at even steps.

    Raises
    ------
    ReportError, RuntimeError, ValueError, OSError
        Whose message names the file and what was expected.
    """
    try:
        from faiss_vlc.report import page
    except ImportError as error:
        raise ReportError(f"the report is drawn by matplotlib, which cannot be imported ({error}): install "
                          "python3-matplotlib of your system, or pip install matplotlib") from error
    if queries is None and (gt is not None or base is not None):
        raise ReportError("true neighbours need queries, and none were given")
    if gt is not None and base is not None:
        raise ReportError("expected exact neighbours or the vectors to find them in, got both")
    if max_queries < 1:
        raise ReportError(f"expected at least 1 query at most, got {max_queries}")
    folder = os.path.dirname(os.path.abspath(out))
    if not os.path.isdir(folder): # better now than when all is measured
        raise ReportError(f"{out}: the folder {folder} is not there")
    report, parts = contents.describe(index)
    if queries is not None:
        contents.measure_with(contents.Asked(queries, gt, base, dtype, dataset, max_queries), report, parts)
    _write(out, page.page(report))


def _write(out: str, text: str) -> None:
    """Through a temporary file: no half of a page is left."""
    descriptor, temporary = tempfile.mkstemp(prefix=".report-", dir=os.path.dirname(os.path.abspath(out)))
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, out)
    except BaseException:
        os.unlink(temporary)
        raise


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m faiss_vlc report", description="Writes a report on an index, with pictures, as one HTML file.")
    parser.add_argument("index", metavar="INDEX", help="the index: a .vlc file, or FAISS's of a tree with an IndexVLC in it")
    parser.add_argument("--queries", metavar="FILE", help="queries, to measure recall and speed with")
    truth = parser.add_mutually_exclusive_group()
    truth.add_argument("--gt", metavar="FILE", help="their exact neighbours, best first")
    truth.add_argument("--base", metavar="FILE", help="or the vectors of the index, in which they are looked up; with "
                       "neither, the decoded vectors are searched instead")
    parser.add_argument("-o", "--out", metavar="FILE", default="report.html", help="the report (default: report.html)")
    parser.add_argument("--dtype", default="", choices=["float32", "float16", "float64", "uint8", "int8", "uint16", "int16"],
                        help="type of a raw file's values")
    parser.add_argument("--dataset", metavar="NAME", default="test", help="HDF5 dataset of the queries (default: test)")
    parser.add_argument("--max-queries", metavar="N", type=int, default=2000,
                        help="of more queries, take so many at even steps (default: 2000)")
    parser.add_argument("--threads", metavar="T", type=int, default=0, help="threads of searches (default: all cores)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Returns 0, or 1 after an error, which is said on stderr; argparse exits with 2."""
    parser = _parser()
    asked = parser.parse_args(argv)
    if asked.queries is None and (asked.gt or asked.base):
        parser.error("--gt and --base need --queries")
    for name, value in (("--max-queries", asked.max_queries), ("--threads", asked.threads or 1)):
        if value < 1:
            parser.error(f"{name}: expected 1 or above, got {value}")
    if asked.threads:
        faiss.omp_set_num_threads(asked.threads)
    try:
        write_report(asked.index, asked.out, queries=asked.queries, gt=asked.gt, base=asked.base, dtype=asked.dtype,
                     dataset=asked.dataset, max_queries=asked.max_queries)
    except (ReportError, RuntimeError, ValueError, OSError, MemoryError) as error:
        print(f"faiss_vlc report: {error or type(error).__name__}", file=sys.stderr)
        return 1
    print(asked.out)
    return 0
