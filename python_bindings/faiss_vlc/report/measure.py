"""What queries find: recall, queries a second, and where neighbours are lost."""

from __future__ import annotations

import dataclasses
import time
from typing import Any, Callable, Iterable, Iterator

import faiss
import numpy as np

from faiss_vlc.report.facts import Parts, transformed
from faiss_vlc.report.vectors import BLOCK_VALUES

K = 10 # neighbours that are sought
MARGIN = 16 # more of them, that float32's rounding may confuse with the best
RUN_SECONDS = 0.1 # that one measurement of speed takes at least
RUNS = 5 # of which the fastest counts

Blocks = Iterable[tuple[Any, Any]] # (labels, vectors)


@dataclasses.dataclass
class Losses:
    """Shares of the true neighbours, from 0 to 1."""

    decoded: float # found by distances to decoded vectors, all lists probed
    estimated: float # found by a search of all lists
    in_lists: float # that lie in the lists which the default nprobe reaches
    found: float # found by a search with the default nprobe
    product: float | None = None # found by a product quantizer of as many bytes


@dataclasses.dataclass
class Point:
    nprobe: int
    recall: float
    qps: float


def nearest(queries: Any, blocks: Blocks, k: int, metric: int) -> Any:
    """The labels of the k exact neighbours, the best first; of equal ones the smaller label."""
    distances = np.full((len(queries), 0), np.inf)
    labels = np.empty((len(queries), 0), dtype="int64")
    for names, rows in blocks:
        rows = np.ascontiguousarray(rows, dtype="float32")
        _, near = faiss.knn(queries, rows, min(k + MARGIN, len(rows)), metric=metric)
        exact = exact_distances(queries, rows, near, metric)
        distances = np.hstack([distances, exact])
        labels = np.hstack([labels, names[near]])
        order = np.lexsort((labels, distances))[:, :k]
        distances, labels = (np.take_along_axis(a, order, 1) for a in (distances, labels))
    return labels


def exact_distances(queries: Any, rows: Any, near: Any, metric: int) -> Any:
    """In float64, a few queries at a time; smaller is nearer."""
    result = np.empty(near.shape)
    step = max(1, BLOCK_VALUES // (near.shape[1] * queries.shape[1]))
    for i in range(0, len(queries), step):
        some = queries[i : i + step, None].astype(np.float64)
        found = rows[near[i : i + step]].astype(np.float64)
        terms = -some * found if metric == faiss.METRIC_INNER_PRODUCT else (some - found) ** 2
        result[i : i + step] = terms.sum(2)
    return result


def recall(found: Any, truth: Any) -> float:
    hits = (found[:, :, None] == truth[:, None, :]).any(2) & (found >= 0)
    return float(hits.sum() / truth.size)


def lists_of(parts: Parts) -> Iterator[tuple[int, Any, Any]]:
    """(number, ids, codes) of each list that holds something."""
    invlists = parts.vlc.invlists
    for j in range(parts.vlc.nlist):
        size = invlists.list_size(j)
        if size:
            ids, codes = invlists.get_ids(j), invlists.get_codes(j)
            own = (faiss.rev_swig_ptr(ids, size).copy(),
                   faiss.rev_swig_ptr(codes, size * parts.vlc.code_size).reshape(size, -1).copy())
            invlists.release_ids(j, ids)
            invlists.release_codes(j, codes)
            yield j, *own


def decoded(parts: Parts) -> Iterator[tuple[Any, Any]]:
    """(labels, decoded vectors) of the IndexVLC, a block at a time."""
    vlc, most = parts.vlc, max(1, BLOCK_VALUES // parts.vlc.d)
    head = vlc.coarse_code_size()
    ids: list[Any] = []
    codes: list[Any] = []

    def block() -> tuple[Any, Any]:
        labels = parts.outer(np.concatenate(ids))
        rows = vlc.sa_decode(np.concatenate(codes))
        ids.clear()
        codes.clear()
        return labels, rows

    for j, list_ids, list_codes in lists_of(parts):
        number = np.frombuffer(j.to_bytes(head, "little"), dtype="uint8")
        for i in range(0, len(list_ids), most):
            some = list_codes[i : i + most]
            ids.append(list_ids[i : i + most])
            codes.append(np.hstack([np.tile(number, (len(some), 1)), some]))
            if sum(map(len, ids)) >= most:
                yield block()
    if ids:
        yield block()


def stored(parts: Parts) -> tuple[Callable[[Any], Any], Blocks]:
    """What a search compares queries with in the end, and how it transforms them before."""
    if parts.refine is None:
        return parts.inner, decoded(parts)
    index, transforms, labels = parts.refine
    step = max(1, BLOCK_VALUES // index.d)

    def blocks() -> Iterator[tuple[Any, Any]]:
        for i in range(0, index.ntotal, step):
            count = min(step, index.ntotal - i)
            names = np.arange(i, i + count)
            yield names if labels is None else labels[names], index.reconstruct_n(i, count)

    return lambda queries: transformed(transforms, queries), blocks()


def nprobes(vlc: Any) -> list[int]:
    """Powers of 2, the default and all."""
    steps = {1 << i for i in range(vlc.nlist.bit_length()) if 1 << i <= vlc.nlist}
    return sorted(steps | {vlc.nlist, default_nprobe(vlc)})


def default_nprobe(vlc: Any) -> int:
    return min(max(1, int(vlc.nprobe)), vlc.nlist)


def curve(parts: Parts, queries: Any, truth: Any) -> list[Point]:
    """Recall and speed of the whole index, at more and more lists. Leaves nprobe as it was."""
    kept, points = parts.vlc.nprobe, []
    try:
        for nprobe in nprobes(parts.vlc):
            parts.vlc.nprobe = nprobe
            _, found = parts.whole.search(queries, truth.shape[1])
            points.append(Point(nprobe, recall(found, truth), speed(parts.whole, queries, truth.shape[1])))
    finally:
        parts.vlc.nprobe = kept
    return points


def speed(index: Any, queries: Any, k: int) -> float:
    """Queries a second, all in one batch."""
    def passes(count: int) -> float:
        start = time.perf_counter()
        for _ in range(count):
            index.search(queries, k)
        return (time.perf_counter() - start) / count

    count = 1 + int(min(1000, RUN_SECONDS / max(1e-6, passes(1))))
    return len(queries) / min(passes(count) for _ in range(RUNS))


def losses(parts: Parts, queries: Any, truth: Any, decoded_is_truth: bool) -> Losses:
    """Of the IndexVLC itself, whatever lies above it."""
    vlc, k = parts.vlc, truth.shape[1]
    inner, kept = parts.inner(queries), vlc.nprobe
    default = default_nprobe(vlc)
    try:
        vlc.nprobe = vlc.nlist
        estimated = recall(parts.outer(vlc.search(inner, k)[1]), truth)
        vlc.nprobe = default
        found = recall(parts.outer(vlc.search(inner, k)[1]), truth)
    finally:
        vlc.nprobe = kept
    by_decoded = 1.0 if decoded_is_truth else recall(nearest(inner, decoded(parts), k, vlc.metric_type), truth)
    return Losses(by_decoded, estimated, in_lists(parts, inner, truth), found)


def in_lists(parts: Parts, inner: Any, truth: Any) -> float:
    """The share of true neighbours in the lists that the default nprobe reaches."""
    labels, numbers = [], []
    for j, ids, _ in lists_of(parts):
        labels.append(parts.outer(ids))
        numbers.append(np.full(len(ids), j))
    label = np.concatenate(labels)
    order = np.argsort(label)
    label, number = label[order], np.concatenate(numbers)[order]
    at = np.minimum(np.searchsorted(label, truth), len(label) - 1)
    place = np.where(label[at] == truth, number[at], -2)
    nprobe = default_nprobe(parts.vlc)
    # a single list is that which add() takes, see the guide
    _, probed = parts.vlc.quantizer.search(inner, min(max(2, nprobe), parts.vlc.nlist))
    return float((place[:, :, None] == probed[:, None, :nprobe]).any(2).mean())


def losses_of_training(held: Any) -> Losses | None:
    """What training counted; None in an index that did not."""
    if held.sought == 0:
        return None
    share = lambda count: count / held.sought
    return Losses(share(held.decoded), share(held.estimated), share(held.in_lists), share(held.probed),
                  share(held.product) if held.product else None)
