"""Vector-Lattice Compression for FAISS.

    import faiss, faiss_vlc

    index = faiss.index_factory(d, "VLC1024b32")

Importing this makes ``faiss.index_factory``, ``read_index``, ``write_index``, ``clone_index``,
``serialize_index``, ``deserialize_index``, ``downcast_index``, ``extract_index_ivf``,
``ParameterSpace``, pickle and copy understand :class:`IndexVLC`, alone and inside other indexes. What
has nothing to do with it goes to FAISS as before.
"""

from faiss_vlc import _loader

_loader.load()

from faiss_vlc import _contrib, _stand_in
from faiss_vlc._build import FAISS_VERSION, VERSION as __version__
from faiss_vlc._index import (AddedRows, AnchorGrid, Codec, FrameKind, HeldOutRecall, IndexVLC, Robust,
                              SearchParametersVLC, VLCParameters, devices, simd_level, simd_levels)
from faiss_vlc._plug import (IO_FLAG_MMAP_SECOND, ParameterSpace, clone_index, downcast_index, extract_index_ivf,
                             index_factory, install, read_index, train, upgrade, write_index)

from faiss_vlc._stand_in import stand_in_for_ivfpq

install()
_contrib.install()
_stand_in.install()

__all__ = [
    "AddedRows", "AnchorGrid", "Codec", "FAISS_VERSION", "FrameKind", "HeldOutRecall", "IO_FLAG_MMAP_SECOND",
    "IndexVLC", "ParameterSpace", "Robust", "SearchParametersVLC", "VLCParameters", "clone_index", "devices",
    "downcast_index", "extract_index_ivf", "index_factory", "read_index", "simd_level", "simd_levels",
    "stand_in_for_ivfpq", "train", "upgrade", "write_index",
]
