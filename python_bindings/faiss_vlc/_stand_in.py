"""IndexVLC for programs that know the keys and classes of IVFPQ only."""

import functools

import faiss

from faiss_vlc import swigvlc
from faiss_vlc._index import IndexVLC, VLCParameters


def stand_in_for_ivfpq(on=True):
    """Lets an IndexVLC of as many lists and bytes stand in for each IVFPQ that is made from now on.

    ``faiss.index_factory`` takes the keys ``[OPQ<m>[_<d>],]IVF<n>[_HNSW<m>],PQ<m>[x<bits>][np|fs]``, also as
    a part of longer ones, and the constructors ``faiss.IndexIVFPQ`` and ``faiss.IndexIVFPQFastScan`` make one
    from the same arguments. The quantizer that a constructor gets is not used, unless it holds centroids.
    Files of IVFPQ are still read as IVFPQ. The environment variable VLC_FOR_IVFPQ=1 does the same from the
    start.

    Parameters
    ----------
    on : bool, optional
        False: they are FAISS's again.
    """
    swigvlc.stand_in_for_ivfpq(bool(on))


def _vlc_for(quantizer, d, nlist, m, nbits=8, metric=faiss.METRIC_L2, *_):
    parameters = VLCParameters(m=nlist, bytes=max(1, (m * nbits + 7) // 8))
    index = IndexVLC(d, parameters, metric)
    if quantizer.ntotal == nlist:
        index.quantizer.add(quantizer.reconstruct_n(0, nlist))
    return index


_MOST_LISTS, _MOST_BYTES = 1 << 20, 99999


def _can_be_vlc(kind, args):
    if len(args) < 4 or args[0] is None:
        return False
    size = (args[3] * (args[4] if len(args) > 4 else 8) + 7) // 8
    if not (1 <= args[2] <= _MOST_LISTS and 1 <= size <= _MOST_BYTES):
        return False
    metric = args[5] if len(args) > 5 else faiss.METRIC_L2
    own_invlists = kind is not faiss.IndexIVFPQ or len(args) < 7 or args[6]
    return metric in (faiss.METRIC_L2, faiss.METRIC_INNER_PRODUCT) and own_invlists


def _new_for(kind):
    """Python calls __init__ of what __new__ returns only if it is of the class that was asked for."""
    @functools.wraps(object.__new__)
    def new(cls, *args, **_):
        if cls is kind and swigvlc.stands_in_for_ivfpq() and _can_be_vlc(kind, args):
            return _vlc_for(*args)
        return object.__new__(cls)
    return new


def install():
    """Changes FAISS's two classes."""
    for name in ("IndexIVFPQ", "IndexIVFPQFastScan"):
        kind = getattr(faiss, name, None)
        if kind:
            kind.__new__ = staticmethod(_new_for(kind))
