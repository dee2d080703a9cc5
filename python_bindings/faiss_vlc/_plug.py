"""FAISS's functions, taught to handle IndexVLC, and their installation in the faiss package."""

import functools
import os
import re
import sys

import faiss
import numpy as np

from faiss_vlc import swigvlc
from faiss_vlc._index import PARAMETERS, IndexVLC
from faiss_vlc._loader import faiss_extension

IO_FLAG_MMAP_SECOND = swigvlc.IO_FLAG_MMAP_SECOND

# FAISS's Python functions look these up in its extension at each call.
_stock = {name: getattr(faiss_extension(), name) for name in (
    "clone_index", "downcast_index", "extract_index_ivf", "index_factory", "read_index", "try_extract_index_ivf",
    "write_index")}
_StockSpace = faiss.ParameterSpace
_stock_methods = {name: getattr(_StockSpace, name) for name in ("set_index_parameter", "set_index_parameters")}


def vlcs_in(index):
    """Every IndexVLC in a tree of indexes, innermost first."""
    found = []
    while (vlc := swigvlc.vlc_in_tree(index, len(found))) is not None:
        found.append(vlc)
    return found


def _has_vlc(index):
    return isinstance(index, faiss.Index) and swigvlc.vlc_in_tree(index, 0) is not None


def index_factory(d, description, metric=faiss.METRIC_L2, own_invlists=True):
    """faiss.index_factory with one more token, VLC[<m>][x<bits>[+<bits>] | b<bytes>[+<bytes>]],
    where an inverted file may stand: m anchors (left out: about 4 sqrt(n) of the training set), code bits per
    dimension or bytes per vector, and after a + the same of a second tier of codes. For example "VLC1024x4",
    "OPQ16_64,VLC256b32", "PCA64,VLC", "IDMap,VLC", "VLC256x2,RFlat", "VLC1024b16+80".
    After stand_in_for_ivfpq(), "IVF<n>,PQ<m>" is a VLC, too.

    Parameters
    ----------
    d : int
        Dimensions.
    description : str
        What to build.
    metric : int, optional
        faiss.METRIC_L2 (default) or faiss.METRIC_INNER_PRODUCT.
    own_invlists : bool, optional
        FAISS's from 1.12 on; a VLC has lists of its own, so that False is an error for it.
    """
    if isinstance(description, str) and swigvlc.names_vlc(description):
        if "VLC" in description and not own_invlists:
            raise RuntimeError(f"index_factory: own_invlists = False for {description!r}: expected True, as an "
                               "IndexVLC takes no lists but its own")
        return swigvlc.index_factory(d, description, metric, own_invlists)
    return _stock["index_factory"](d, description, metric, *(() if own_invlists else (False,)))


def read_index(source, io_flags=0):
    """faiss.read_index, which also reads .vlc files and makes an IndexVLC of every one inside.

    Parameters
    ----------
    source : str, path or faiss.IOReader
    io_flags : int, optional
        As FAISS's. Of a .vlc file ``faiss.IO_FLAG_MMAP`` leaves ids and codes in the file, and
        ``faiss_vlc.IO_FLAG_MMAP_SECOND`` the second tier of codes alone: for sets larger than memory. The file may
        be replaced or removed meanwhile, but not changed in place.
    """
    if isinstance(source, (str, os.PathLike)):
        return swigvlc.read_index(os.fspath(source), io_flags)
    if isinstance(source, faiss.IOReader):
        return swigvlc.read_index(source, io_flags)
    return upgrade(_stock["read_index"](source, io_flags & ~IO_FLAG_MMAP_SECOND))


def train(index, x, queries):
    """index.train(x) with an IndexVLC in the index, whose training also gets queries like those that will be
    searched for. Give them where queries are unlike the vectors, as texts that search among images. Each
    IndexVLC chooses its axes and their bits, its estimator, the ranking of lists and nprobe by them. They are
    copied, and not kept.

    Parameters
    ----------
    index : faiss.Index
        An IndexVLC, or a tree with one in it. What lies above it transforms the queries, too. Its other parts
        are trained as index.train() does.
    x : array_like
        Training vectors, shape (n, d), float32.
    queries : array_like
        Queries, shape (n_queries, d), float32. Some hundreds do; of more than 4,096, as many are taken at even
        steps.
    """
    x, queries = (np.ascontiguousarray(rows, dtype="float32") for rows in (x, queries))
    for rows, what in ((x, "vectors"), (queries, "queries")):
        if rows.ndim != 2 or rows.shape[1] != index.d:
            raise ValueError(f"train: expected {what} of shape (n, {index.d}), got {rows.shape}")
    swigvlc._train(index, len(x), faiss.swig_ptr(x), len(queries), faiss.swig_ptr(queries))


def upgrade(index):
    """Makes an IndexVLC of every one in an index that FAISS's own reader has read. Use the result, not
    what was given."""
    if index is None: # later versions of FAISS save and read None
        return None
    index.this.disown()
    return swigvlc._upgrade(index)


def write_index(index, target, io_flags=0):
    """faiss.write_index, which writes an IndexVLC by itself as a .vlc file, and one inside another index
    into FAISS's own format. Files are replaced atomically.

    Parameters
    ----------
    index : faiss.Index
    target : str, path or faiss.IOWriter
    io_flags : int, optional
        As FAISS's, from 1.9 on. They are about the other indexes of a tree.
    """
    path = os.fspath(target) if isinstance(target, os.PathLike) else target
    if _has_vlc(index) and isinstance(path, (str, faiss.IOWriter)):
        swigvlc.write_index(index, path, io_flags)
    else: # before 1.9 FAISS's takes no flags
        _stock["write_index"](index, path, *((io_flags,) if io_flags else ()))


def clone_index(index):
    """A deep copy: adding to it leaves the original alone. IndexVLCs share what training learnt."""
    return swigvlc.clone_index(index) if _has_vlc(index) else _stock["clone_index"](index)


def _part_of(whole, part):
    """A part is not to outlive the index that owns it."""
    if part is not None and part is not whole:
        part.referenced_objects = [whole]
    return part


def downcast_index(index):
    """The same index with the Python class of what it really is."""
    if index is None or isinstance(index, IndexVLC):
        return index
    cast = swigvlc.downcast_index if _has_vlc(index) else _stock["downcast_index"]
    return _part_of(index, cast(index))


def extract_index_ivf(index):
    """The inverted file inside IndexPreTransform, IndexIDMap, IndexRefine and the like."""
    return _part_of(index, downcast_index(_stock["extract_index_ivf"](index)))


def try_extract_index_ivf(index):
    """extract_index_ivf, or None where there is no inverted file."""
    return _part_of(index, downcast_index(_stock["try_extract_index_ivf"](index)))


_SEARCH_PARAMETERS = ("max_probes", "refine_k", "exact_ranking") # of an IndexVLC, beside those of every IndexIVF


def _is_ours(name):
    return name in _SEARCH_PARAMETERS or name.startswith("vlc_")


# What ParameterSpace sets in an IVFPQ, or in a quantizer that is an index, and a VLC has no use for.
_IVFPQ_ONLY = re.compile("ht|k_factor|efSearch|quantizer_.*")
_ignored = set()


def _ignore(name):
    """Says it once in a process."""
    if name not in _ignored:
        _ignored.add(name)
        print(f"faiss_vlc: ParameterSpace: {name!r} is for IVFPQ or a quantizer, and ignored in an IndexVLC",
              file=sys.stderr)


class ParameterSpace(_StockSpace):
    """faiss.ParameterSpace, which also sets, in every IndexVLC of an index, max_probes, refine_k, exact_ranking
    and the parameters of training: "vlc_" and the name of a number in VLCParameters, as in
    "nprobe=16,vlc_iterations=30". What only an IVFPQ has, as ht, is ignored in an IndexVLC."""

    def set_index_parameter(self, index, name, value):
        """Sets one parameter by name."""
        if not _is_ours(name):
            try:
                _stock_methods["set_index_parameter"](self, index, name, value)
            except RuntimeError:
                if not _IVFPQ_ONLY.fullmatch(name) or not _has_vlc(index):
                    raise
                _ignore(name)
            return
        field = name[len("vlc_"):] if name.startswith("vlc_") else None
        found = vlcs_in(index)
        if not found or (field is not None and field not in PARAMETERS):
            raise RuntimeError(f"ParameterSpace: could not set {name!r}: " +
                               ("no IndexVLC in the index" if found == [] else
                                f"expected vlc_ and one of {', '.join(PARAMETERS)}"))
        for vlc in found:
            if field is None:
                setattr(vlc, name, type(getattr(vlc, name))(value))
            else:
                swigvlc.set_parameter(vlc.parameters, field, value)

    def set_index_parameters(self, index, parameters):
        """Sets parameters from "name=value,name=value", or those of a combination by its number."""
        if not isinstance(parameters, str) or not any(
                _is_ours(name) or _IVFPQ_ONLY.fullmatch(name) for name in re.split("[=, ]+", parameters)):
            _stock_methods["set_index_parameters"](self, index, parameters)
            return
        for setting in filter(None, parameters.replace(" ", ",").split(",")):
            name, _, value = setting.partition("=")
            self.set_index_parameter(index, name, float(value))


def _restore(data):
    """Unpickles: being here, it has a fresh process import faiss_vlc first."""
    return faiss.deserialize_index(np.frombuffer(data, dtype="uint8"))


def _reduce_ex(self, protocol):
    if _has_vlc(self):
        return _restore, (faiss.serialize_index(self).tobytes(),)
    return object.__reduce_ex__(self, protocol)


def _marking(init):
    """An IDMap's constructor, which also tells an IndexVLC below."""
    @functools.wraps(init)
    def with_mark(self, *args):
        init(self, *args)
        if args and _has_vlc(self):
            swigvlc.mark_id_maps(self)
    return with_mark


def install():
    """Puts these functions into the faiss package; done when faiss_vlc is imported. Those of FAISS that were
    imported by name before, as `from faiss import read_index` does, come upon them in its extension."""
    for name in _stock:
        setattr(faiss_extension(), name, globals()[name])
        setattr(faiss, name, globals()[name])
    for name in _stock_methods:
        setattr(_StockSpace, name, getattr(ParameterSpace, name))
    faiss.ParameterSpace = ParameterSpace
    for id_map in (faiss.IndexIDMap, faiss.IndexIDMap2):
        id_map.__init__ = _marking(id_map.__init__)
    faiss.Index.__reduce_ex__ = _reduce_ex
    swigvlc.register_hooks()
