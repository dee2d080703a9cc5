"""IndexVLC and VLCParameters as Python classes."""

import ctypes
import enum

import faiss
import numpy as np

from faiss_vlc import swigvlc
from faiss_vlc.swigvlc import AddedRows, HeldOutRecall, IndexVLC, SearchParametersVLC, VLCParameters


def _enumeration(name, doc):
    prefix = name + "_"
    members = {key[len(prefix):]: value for key, value in vars(swigvlc).items() if key.startswith(prefix)}
    kind = enum.IntEnum(name, members, module="faiss_vlc")
    kind.__doc__ = doc
    return kind


AnchorGrid = _enumeration("AnchorGrid", "How anchors are stored: int8 lattice, float16, or that only where the lattice is coarse.")
Codec = _enumeration("Codec", "How residuals are coded: by levels on axes (lattice), by words of trained codebooks (block), or by what finds more.")
FrameKind = _enumeration("FrameKind", "The axes of the codes: principal axes of the residuals or the data's own.")
Robust = _enumeration("Robust", "What training does about outliers: nothing, Huber's weights, or leave them out.")


def devices():
    """The OpenCL devices that training can use, GPUs first: a list of "name (platform)"."""
    return swigvlc.device_lines().splitlines()


def simd_level():
    """The instructions in use: the best level that this machine has, or what VLC_SIMD names."""
    return swigvlc.simd_lines().splitlines()[0]


def simd_levels():
    """The levels of instructions that this machine has, the best one last."""
    return swigvlc.simd_lines().splitlines()[1:]


# --- VLCParameters: keywords, comparison, pickling ---

PARAMETERS = swigvlc.parameter_lines().splitlines()
_plain_parameters = VLCParameters.__init__


def _parameters_init(self, **values):
    _plain_parameters(self)
    for name, value in values.items():
        setattr(self, name, value)


def _parameters_setattr(self, name, value):
    if name not in PARAMETERS and name not in ("this", "thisown"):
        raise AttributeError(f"VLCParameters has no {name!r}; it has {', '.join(PARAMETERS)}")
    object.__setattr__(self, name, value)


def _parameters_dict(self):
    """All parameters as a dict."""
    return {name: getattr(self, name) for name in PARAMETERS}


def _parameters_repr(self):
    default = VLCParameters().to_dict()
    changed = [f"{name}={value!r}" for name, value in self.to_dict().items() if value != default[name]]
    return f"VLCParameters({', '.join(changed)})"


def _parameters_eq(self, other):
    return self.to_dict() == other.to_dict() if isinstance(other, VLCParameters) else NotImplemented


def _make_parameters(values):
    return VLCParameters(**values)


_parameters_init.__doc__ = VLCParameters.__doc__ + "\nEvery parameter can be given as a keyword.\n"
VLCParameters.__init__ = _parameters_init
VLCParameters.__setattr__ = _parameters_setattr
VLCParameters.to_dict = _parameters_dict
VLCParameters.__repr__ = _parameters_repr
VLCParameters.__eq__ = _parameters_eq
VLCParameters.__hash__ = None
VLCParameters.__reduce__ = lambda self: (_make_parameters, (self.to_dict(),))


# --- IndexVLC ---

_plain_index = IndexVLC.__init__


def _index_init(self, d, m=0, bits_per_dim=None, metric=None, *, parameters=None):
    """An untrained index of d dimensions.

    Parameters
    ----------
    d : int
        Dimensions, 1 to 16384; or an IndexVLC, to make a copy of.
    m : int or VLCParameters
        Anchors; 0: about 4 sqrt(n) of the training set. Or all parameters at once.
    bits_per_dim : float
        Code bits per dimension, 1/8 to 8 (default 2); factors add 2 bytes a vector. After a VLCParameters in
        place of m: the metric, as in C++.
    metric : int
        faiss.METRIC_L2 (default) or faiss.METRIC_INNER_PRODUCT.
    parameters : VLCParameters, optional
        Everything else; rules over m and bits_per_dim.
    """
    if isinstance(m, VLCParameters): # IndexVLC(d, parameters[, metric]), as in C++
        if parameters is not None:
            raise TypeError("IndexVLC: expected one set of parameters, got two")
        if bits_per_dim is not None and metric is not None:
            raise TypeError("IndexVLC: expected one metric after the parameters, got two values")
        parameters, metric = m, bits_per_dim if metric is None else metric
    bits_per_dim = 2.0 if bits_per_dim is None else bits_per_dim
    metric = faiss.METRIC_L2 if metric is None else metric
    if isinstance(d, IndexVLC):
        _plain_index(self, d)
    elif parameters is not None:
        _plain_index(self, d, parameters, metric)
    else:
        _plain_index(self, d, m, bits_per_dim, metric)


def _assign_lists(self, x):
    """The list that add() would put each vector into.

    Parameters
    ----------
    x : array_like
        Vectors, shape (n, d), float32.

    Returns
    -------
    lists : array of int64, shape (n,)
    """
    x = np.ascontiguousarray(x, dtype="float32")
    n, d = x.shape
    if d != self.d:
        raise ValueError(f"assign_lists: expected vectors of {self.d} dimensions, got {d}")
    lists = np.empty(n, dtype="int64")
    self._assign_lists(n, faiss.swig_ptr(x), faiss.swig_ptr(lists))
    return lists


_AllReduce = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int64)


def _train_distributed(self, x, rank, ranks, all_reduce, queries=None):
    """Trains by several processes, each of which calls this with vectors of its own. All have then the
    index that train() makes of all vectors, bit by bit.

    Parameters
    ----------
    x : array_like
        This process's vectors, shape (n, d), float32.
    rank, ranks : int
        This process's number, from 0, and how many there are.
    all_reduce : callable
        Adds up an array of int64 over all processes, in place. With mpi4py:
        ``lambda values: comm.Allreduce(MPI.IN_PLACE, values)``.
    queries : array_like, optional
        This process's share of queries to train with, shape (n_queries, d), float32; see faiss_vlc.train. One
        process may give all of them.
    """
    x = np.ascontiguousarray(x, dtype="float32")
    n, d = x.shape
    if d != self.d:
        raise ValueError(f"train_distributed: expected vectors of {self.d} dimensions, got {d}")
    queries = np.ascontiguousarray(np.empty((0, d)) if queries is None else queries, dtype="float32")
    if queries.ndim != 2 or queries.shape[1] != d:
        raise ValueError(f"train_distributed: expected queries of shape (n, {d}), got {queries.shape}")
    raised = []

    def add_up(values, count):
        try:
            all_reduce(np.frombuffer((ctypes.c_char * (8 * count)).from_address(values), dtype="int64"))
        except BaseException as error: # C++ cannot carry it
            raised.append(error)
        return len(raised)

    function = _AllReduce(add_up)
    try:
        swigvlc.train_distributed(self, n, faiss.swig_ptr(x), rank, ranks,
                                  ctypes.cast(function, ctypes.c_void_p).value, len(queries),
                                  faiss.swig_ptr(queries))
    except RuntimeError:
        if raised:
            raise raised[0]
        raise


def _merge_from(self, other, add_id=0):
    """Moves all vectors of an index of the same training here, add_id added to their ids; other is empty
    afterwards."""
    faiss.IndexIVF.merge_from(self, other, add_id) # whose wrapper has no default


def _replace_invlists(self, invlists, own=False):
    """Not for IndexVLC: its lists are blocks that only its own kernels read."""
    raise RuntimeError(
        "IndexVLC keeps its codes in blocks of its own and cannot take other inverted lists. For those on disk "
        "faiss.write_index it: a .vlc file is the index on disk, and faiss.read_index(path, faiss.IO_FLAG_MMAP) "
        "maps it, so that its codes stay there and are not inflated.")


# --- what training and add() counted ---

def _counts(kind, doc):
    """Makes kind, a struct of numbers, printable, and a dict of it to be had."""
    names = [name for name, value in vars(kind).items() if isinstance(value, property) and name != "thisown"]

    def to_dict(self):
        """All fields as a dict."""
        return {name: getattr(self, name) for name in names}

    kind.__doc__ = doc
    kind.to_dict = to_dict
    kind.__repr__ = lambda self: f"{kind.__name__}({', '.join(f'{k}={v!r}' for k, v in self.to_dict().items())})"
    kind.__eq__ = lambda self, other: self.to_dict() == other.to_dict() if isinstance(other, kind) else NotImplemented
    kind.__hash__ = None


_counts(HeldOutRecall, """What training found of the nearest neighbours of held-out vectors among other rows of its sample.

All fields are counts. Divided by `sought`, the last six are recalls. They hold for vectors like the training's: a
larger base, or queries of another kind, find less. All are 0 in an index that is not trained.

queries : held-out vectors
base : rows of the sample that they were compared with
sought : true neighbours of all queries, 10 each (fewer in tiny samples)
nprobe : the default nprobe, which in_lists and probed are for
in_lists : those in the lists that nprobe reaches
decoded : those found by plain decoding, all lists probed
estimated : those found by the estimate, all lists probed
probed : those found by the estimate with nprobe lists
product : those that a product quantizer of as many bytes finds, all lists probed; 0 if base is below 4096
on_lattice : those among the nearest on the int8 lattice, as many as a list has vectors
""")
_counts(AddedRows, """What add() counted since the last reset().

A row is outside if it is farther from its anchor than 1.25 times what nearly all of training's rows were, or if
its code catches less of it than theirs.

rows : all that were added or updated
outside : of these outside of what training saw
twice : of these over twice as far from their anchor as the bound
farthest : the largest such distance, in bounds
""")
IndexVLC.held_out_recall = property(
    IndexVLC._held_out_recall, doc="What training found of held-out vectors' neighbours, a HeldOutRecall: the recall to expect.")
IndexVLC.added_rows = property(
    IndexVLC._added_rows, doc="How many rows add() met that are outside of what training saw, an AddedRows.")
IndexVLC.refined_on = property(
    IndexVLC._refined_on, doc="Where the last search on search_device ordered the best of two tiers anew: its name, or reference.")

IndexVLC.__init__ = _index_init
IndexVLC.assign_lists = _assign_lists
IndexVLC.train_distributed = _train_distributed
IndexVLC.merge_from = _merge_from
IndexVLC.replace_invlists = _replace_invlists
# search() and the like for arrays, or for tensors where torch_utils came first, are inherited
faiss.class_wrappers.handle_SearchParameters(SearchParametersVLC) # keywords, and keeping what they name


# --- SearchParametersVLC: pickling and copying ---

def _search_fields(self):
    """What its C++ class has, but a context of FAISS's, which lives in one process only."""
    names = [name for kind in type(self).__mro__ for name, value in vars(kind).items()
             if isinstance(value, property) and name not in ("thisown", "inverted_list_context")]
    return {name: value for name in names if (value := getattr(self, name)) is not None}


def _make_search_parameters(fields):
    return SearchParametersVLC(**fields)


def _search_copy(self):
    return _make_search_parameters(_search_fields(self))


def _search_reduce_ex(self, protocol):
    fields = _search_fields(self)
    for name in ("sel", "quantizer_params"):
        if name in fields:
            raise TypeError(f"SearchParametersVLC: cannot pickle {name}, of class {type(fields[name]).__name__}: "
                            "FAISS's classes don't tell what they hold. Make it anew where it is needed")
    return _make_search_parameters, (fields,)


SearchParametersVLC.__copy__ = _search_copy
SearchParametersVLC.__reduce_ex__ = _search_reduce_ex
