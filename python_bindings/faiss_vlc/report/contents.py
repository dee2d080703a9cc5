"""What a report says: facts of an index, and what queries found in it."""

from __future__ import annotations

import dataclasses
import os
from typing import Any, Sequence

import faiss
import numpy as np

import faiss_vlc
from faiss_vlc.report import facts, measure
from faiss_vlc.report.facts import Code, Parts, ReportError, Training
from faiss_vlc.report.measure import Losses, Point
from faiss_vlc.report.vectors import VectorFile, read_labels


@dataclasses.dataclass
class Report:
    """All that the page shows."""

    name: str
    kind: str # "IndexVLC", or of a tree what is around it
    n: int
    d: int
    metric: str
    file_bytes: int
    code_size: int
    second_size: int
    nprobe: int # the default
    sizes: Any # of the lists
    code: Code
    training: Training | None
    spent: dict[str, int]
    training_losses: Losses | None
    training_k: int
    added: Any # AddedRows
    version: str
    k: int = 0 # 0: no queries
    queries: int = 0
    truth: str = "" # where true neighbours come from, a sentence
    threads: int = 0
    points: Sequence[Point] = ()
    losses: Losses | None = None
    by_decoded: bool = False # whether true neighbours are those of decoded vectors
    notes: list[str] = dataclasses.field(default_factory=list)

    @property
    def chosen(self) -> Point | None:
        return next((p for p in self.points if p.nprobe == self.nprobe), None)


@dataclasses.dataclass
class Asked:
    """Files that a report measures with; see write_report."""

    queries: str
    gt: str | None
    base: str | None
    dtype: str
    dataset: str
    max_queries: int


def describe(path: str) -> tuple[Report, Parts]:
    """What an index file says of itself."""
    try:
        whole = faiss_vlc.read_index(path)
    except RuntimeError as error:
        if path in str(error):
            raise
        raise ReportError(f"{path}: not an index that can be read: {error}") from error # FAISS's own words
    try:
        parts = facts.take_apart(whole)
    except ReportError as error:
        raise ReportError(f"{path}: {error}") from error
    vlc, file_bytes = parts.vlc, os.path.getsize(path)
    code, held = facts.code_of(vlc), vlc.held_out_recall
    report = Report(
        name=os.path.basename(path), kind="IndexVLC" if whole.this == vlc.this else f"{type(whole).__name__} around an IndexVLC",
        n=whole.ntotal, d=whole.d, metric="inner product" if whole.metric_type == faiss.METRIC_INNER_PRODUCT else "L2",
        file_bytes=file_bytes, code_size=vlc.code_size, second_size=vlc.second_code_size(), nprobe=measure.default_nprobe(vlc), sizes=facts.list_sizes(vlc),
        code=code, training=facts.training_of(vlc), spent=facts.bytes_of(vlc, file_bytes, code),
        training_losses=measure.losses_of_training(held), training_k=held.sought // held.queries if held.queries else 0,
        added=vlc.added_rows, version=faiss_vlc.__version__, notes=notes_of(vlc))
    return report, parts


def notes_of(vlc: Any) -> list[str]:
    """What the owner of an index should know."""
    held, added, notes = vlc.held_out_recall, vlc.added_rows, []
    if vlc.ntotal == 0:
        notes.append("The index is empty: nothing can be found in it yet.")
    if held.below_product():
        notes.append("In training a product quantizer of as many bytes found clearly more. Try other codes "
                     "(codec, see the guide), or compare with IVFPQ.")
    if held.coarse_lattice():
        notes.append("The int8 lattice is too coarse for these vectors: their lists are smaller than its steps tell apart.")
    if added.many_outside():
        notes.append(f"{added.outside:,} of {added.rows:,} rows that were added are unlike what training saw. "
                     "Train again with vectors like them.")
    return notes


def measure_with(asked: Asked, report: Report, parts: Parts) -> None:
    """Adds to the report what queries find."""
    queries, rows = read_queries(asked, parts.whole.d)
    if parts.whole.ntotal == 0:
        return # the note says it
    truth, report.truth = true_neighbours(asked, parts, queries, rows, report.notes)
    report.k, report.queries, report.threads = truth.shape[1], len(queries), faiss.omp_get_max_threads()
    report.points = measure.curve(parts, queries, truth)
    if not parts.known:
        report.notes.append("The index has parts that this report does not know. It shows where training lost recall, "
                            "not where your queries do.")
        return
    report.by_decoded = asked.gt is None and asked.base is None and parts.refine is None
    report.losses = measure.losses(parts, queries, truth, report.by_decoded)
    if parts.refine is not None:
        report.notes.append("The index refines what its codes find. Recall and speed are those of the whole; where "
                            "recall is lost is shown of the IndexVLC alone, before that.")


def read_queries(asked: Asked, d: int) -> tuple[Any, Any]:
    """(queries, their rows in the file)."""
    file = VectorFile(asked.queries, d, asked.dtype, asked.dataset)
    if file.d != d:
        raise ReportError(f"{asked.queries}: expected queries of {d} dimensions, as the index has, got {file.d}")
    queries = file.read(file.n)
    rows = np.arange(len(queries))
    if len(queries) > asked.max_queries:
        rows = np.arange(asked.max_queries) * len(queries) // asked.max_queries
    return np.ascontiguousarray(queries[rows]), rows


def true_neighbours(asked: Asked, parts: Parts, queries: Any, rows: Any, notes: list[str]) -> tuple[Any, str]:
    """(labels, where they come from). rows: those of the queries in their file."""
    whole = parts.whole
    k = min(measure.K, whole.ntotal)
    if asked.gt is not None:
        return given_neighbours(asked, whole, k, rows, notes), f"True neighbours are those of {os.path.basename(asked.gt)}."
    if asked.base is not None:
        file = VectorFile(asked.base, whole.d, asked.dtype)
        if (file.n, file.d) != (whole.ntotal, whole.d):
            raise ReportError(f"{asked.base}: expected the {whole.ntotal} vectors of {whole.d} dimensions that the index "
                              f"holds, got {file.n} of {file.d}")
        found = measure.nearest(queries, file.blocks(), k, whole.metric_type)
        return found, f"True neighbours were looked up in {os.path.basename(asked.base)}."
    if not parts.known:
        raise ReportError("the index has parts that the report cannot decode: true neighbours are needed (--gt or --base)")
    notes.append("No true neighbours were given. Queries are compared with the nearest of the decoded vectors, not of the "
                 "originals. So what the codes lose is not seen, and recall says only how well a search orders what is "
                 "stored. Give the true neighbours (--gt) or the vectors (--base) to see the recall of the originals.")
    transform, blocks = measure.stored(parts)
    found = measure.nearest(transform(queries), blocks, k, whole.metric_type)
    return found, "True neighbours are the nearest of the decoded vectors."


def given_neighbours(asked: Asked, whole: Any, k: int, rows: Any, notes: list[str]) -> Any:
    """The first k of a file, for these rows of it."""
    assert asked.gt is not None
    labels = read_labels(asked.gt)
    file = VectorFile(asked.queries, whole.d, asked.dtype, asked.dataset)
    if len(labels) != file.n:
        raise ReportError(f"{asked.gt}: expected neighbours of {file.n} queries, got {len(labels)} rows")
    if (labels[:, :k] < 0).all():
        raise ReportError(f"{asked.gt}: expected labels of 0 or above, all are below")
    return np.ascontiguousarray(labels[rows, :k])
