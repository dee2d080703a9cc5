"""What an index says of itself: its parts, its sections, and what they hold (docs/FORMAT.md)."""

from __future__ import annotations

import dataclasses
import struct
from typing import Any

import faiss
import numpy as np

from faiss_vlc import _plug, swigvlc

WHOLE_WORDS = 3 # in the place of factor bytes: none, and words are of vectors


class ReportError(Exception):
    """What went wrong, in words for whoever called the report."""


@dataclasses.dataclass
class Parts:
    """An index taken apart, from the outside in, down to its IndexVLC."""

    whole: Any
    vlc: Any
    transforms: list[Any] = dataclasses.field(default_factory=list) # above the VLC, outermost first
    labels: Any = None # of the VLC's ids; None: the same
    refine: Any = None # (index that refines, transforms above it, labels)
    known: bool = True # whether all that lies above the VLC is understood

    def inner(self, queries: Any) -> Any:
        """Queries as the VLC gets them."""
        return transformed(self.transforms, queries)

    def outer(self, ids: Any) -> Any:
        """The labels that the whole gives to the VLC's ids; -1 stays."""
        return relabelled(self.labels, ids)


def transformed(transforms: list[Any], x: Any) -> Any:
    for transform in transforms:
        x = transform.apply(np.ascontiguousarray(x, dtype="float32"))
    return x


def relabelled(labels: Any, ids: Any) -> Any:
    """ids as numbers of labels; None: they are labels themselves."""
    if labels is None:
        return ids
    if np.size(ids) and np.max(ids) >= len(labels):
        raise ReportError(f"the index has the id {np.max(ids)}, but labels for {len(labels)} vectors only")
    return np.where(ids < 0, -1, labels[np.maximum(ids, 0)]) if len(labels) else ids


def take_apart(whole: Any) -> Parts:
    """Throws a ReportError unless there is one trained IndexVLC."""
    found = _plug.vlcs_in(whole)
    if len(found) != 1:
        raise ReportError(f"expected one IndexVLC in the index, met {len(found) or 'none'}")
    parts = Parts(whole, _plug._part_of(whole, found[0]))
    if not parts.vlc.is_trained:
        raise ReportError("the index is not trained: there is nothing to show yet")
    node = faiss.downcast_index(whole)
    while not isinstance(node, swigvlc.IndexVLC):
        if isinstance(node, faiss.IndexPreTransform):
            parts.transforms += [faiss.downcast_VectorTransform(node.chain.at(i)) for i in range(node.chain.size())]
            node = node.index
        elif isinstance(node, (faiss.IndexIDMap, faiss.IndexIDMap2)):
            ids = faiss.vector_to_array(node.id_map)
            parts.labels = relabelled(parts.labels, ids)
            node = node.index
        elif isinstance(node, faiss.IndexRefine):
            parts.refine = faiss.downcast_index(node.refine_index), list(parts.transforms), parts.labels
            node = node.base_index
        else:
            parts.known = False
            break
        node = faiss.downcast_index(node)
    return parts


def section_sizes(vlc: Any) -> dict[str, int]:
    """Bytes of each section that a file of it has."""
    return {name: int(size) for name, size in (line.split() for line in swigvlc.section_lines(vlc).splitlines())}


def section(vlc: Any, name: str) -> bytes:
    """A section's bytes; none if it isn't there."""
    content = np.empty(section_sizes(vlc).get(name, 0), dtype="uint8")
    if len(content):
        swigvlc.copy_section(vlc, name, faiss.swig_ptr(content))
    return content.tobytes()


@dataclasses.dataclass
class Code:
    """How a vector's code is made up."""

    words: bool
    factor_bytes: int
    bits: Any = None # levels: of each of d axes
    reach: Any = None # words: of each block the RMS length of its words, in the data's units
    axes: Any = None # words: of each block how many axes it has


def code_of(vlc: Any) -> Code:
    words = section(vlc, "words")
    if not words:
        return Code(False, 2, bits=bits_of_axes(vlc.d, section(vlc, "layout")))
    code_bytes, factor_bytes, axes, unit = struct.unpack_from("<IIIf", words)
    if factor_bytes == WHOLE_WORDS:
        factor_bytes = 0
    component = np.frombuffer(words, "<i2", axes * 256, 16).reshape(axes, 256).astype(np.float64)
    blocks = min(code_bytes, axes)
    ends = np.arange(blocks + 1) * axes // blocks
    scale = struct.unpack_from("<f", section(vlc, "lattice"))[0]
    reach = [np.sqrt((component[a:b] ** 2).sum(0).mean()) * unit / scale for a, b in zip(ends, ends[1:])]
    return Code(True, factor_bytes, reach=np.array(reach), axes=np.diff(ends))


def bits_of_axes(d: int, layout: bytes) -> Any:
    bits = np.zeros(d, dtype=int)
    _, fields = struct.unpack_from("<II", layout)
    for i in range(fields):
        first, _, lanes, width, _, _ = struct.unpack_from("<HHBBBB", layout, 8 + 8 * i)
        bits[first : first + lanes] = width
    return bits


@dataclasses.dataclass
class Training:
    vectors: int
    iterations: int
    energy: float
    held_out: float
    course: Any # energy of each iteration; empty where it was not kept


def training_of(vlc: Any) -> Training | None:
    record = section(vlc, "training")
    if not record:
        return None
    vectors, iterations, _, energy, held = struct.unpack("<qiIff", record)
    if not np.isfinite([energy, held]).all():
        raise ReportError(f"section training: expected finite energies, got {energy} and {held}")
    return Training(vectors, iterations, energy, held, np.frombuffer(section(vlc, "energy"), "<f4"))


def bytes_of(vlc: Any, file_bytes: int, code: Code) -> dict[str, int]:
    """What the bytes of a file go to, the largest first."""
    sizes = section_sizes(vlc)
    factors = vlc.ntotal * code.factor_bytes
    groups = {"anchors": ("anchors", "spread", "routing"), "axes": ("frame", "sigma", "layout"), "words": ("words",),
              "ids": ("ids",), "second codes": ("seconds",), "the second tier's axes": ("second",)}
    spent = {"codes": sizes["codes"] - factors, "factors": factors}
    spent.update({name: sum(sizes.get(one, 0) for one in parts) for name, parts in groups.items()})
    payload = swigvlc.payload_size(vlc)
    spent["the rest"] = payload - sum(spent.values())
    spent["other parts of the index"] = max(0, file_bytes - payload)
    return dict(sorted(((name, size) for name, size in spent.items() if size), key=lambda item: -item[1]))


def list_sizes(vlc: Any) -> Any:
    return np.array([vlc.invlists.list_size(j) for j in range(vlc.nlist)])
