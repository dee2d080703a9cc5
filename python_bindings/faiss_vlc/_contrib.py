"""The parts of faiss.contrib that go by an index's class, taught about IndexVLC."""

import importlib

import faiss
import numpy as np

from faiss_vlc._index import Codec, IndexVLC


def _module(name):
    """A module of faiss.contrib, or None where this version of FAISS lacks it."""
    try:
        return importlib.import_module("faiss.contrib." + name)
    except ImportError:
        return None


def _install_factory_tools(tools):
    stock_reverse, stock_code_size = tools.reverse_index_factory, tools.get_code_size

    def reverse_index_factory(index):
        """The factory string that an index was built with, if it can be told."""
        index = faiss.downcast_index(index)
        if not isinstance(index, IndexVLC):
            return stock_reverse(index)
        m = index.nlist if index.nlist > 0 else ""
        codec = {Codec.lattice: "lattice", Codec.block: "block"}.get(index.parameters.codec, "")
        second = index.second_code_size()
        size = f"{index.code_size - second}+{second}" if second else str(index.code_size)
        return f"VLC{m}b{size}{codec}"

    def get_code_size(d, indexkey):
        """Bytes of a vector's code in an index that is built with this factory string."""
        if not indexkey.startswith("VLC"):
            return stock_code_size(d, indexkey)
        token, _, rest = indexkey.partition(",")
        if rest: # stock knows the Refine that follows; PQ4 stands for our 4 bytes
            size = get_code_size(d, token)
            return stock_code_size(d, f"PQ{size},{rest}")
        return faiss.index_factory(d, token).code_size

    tools.reverse_index_factory = reverse_index_factory
    tools.get_code_size = get_code_size


class _ListCodes(np.ndarray):
    """Codes that know their list, without which an IndexVLC's can't be decoded or searched."""
    list_no = -1

    def __array_finalize__(self, origin):
        self.list_no = getattr(origin, "list_no", -1)


def _install_big_batch_search(module):
    stock_get_invlist = module.get_invlist

    def get_invlist(invlists, list_no):
        ids, codes = stock_get_invlist(invlists, list_no)
        codes = codes.view(_ListCodes)
        codes.list_no = list_no
        return ids, codes

    class BlockComputer(module.BlockComputer):
        """Computation within one list. An IndexVLC is searched by its own estimate of distances, as search()
        does, unless the caller brings functions of their own: those get decoded vectors."""

        def __init__(self, index, method="knn_function", **functions):
            self.is_vlc = isinstance(index, IndexVLC)
            if not self.is_vlc:
                super().__init__(index, method, **functions)
                return
            if method not in ("index", "pairwise_distances", "knn_function"):
                raise ValueError(f"big_batch_search: unknown method {method!r}")
            self.index = index
            self.method = method
            self.by_residual = False
            self.pairwise_distances = functions.get("pairwise_distances", faiss.pairwise_distances)
            self.knn = functions.get("knn", faiss.knn)
            self.estimates = (method == "index" or
                              (method == "knn_function" and self.knn is faiss.knn) or
                              (method != "knn_function" and self.pairwise_distances is faiss.pairwise_distances))
            self.decode_func = (lambda codes: codes) if self.estimates else self.decode

        def decode(self, codes):
            n, head = len(codes), self.index.sa_code_size() - self.index.code_size
            coarse = np.frombuffer(int(codes.list_no).to_bytes(8, "little"), dtype="uint8")[:head]
            return self.index.sa_decode(np.hstack((np.tile(coarse, (n, 1)), np.asarray(codes))))

        def block_search(self, xq_l, xb_l, list_ids, k, **extra):
            if not self.is_vlc or not self.estimates or xq_l.size == 0 or xb_l.size == 0:
                return super().block_search(xq_l, xb_l, list_ids, k, **extra)
            n, pointer = len(xq_l), faiss.swig_ptr
            x = np.ascontiguousarray(xq_l, dtype="float32")
            lists = np.full(n, xb_l.list_no, dtype="int64")
            distances, labels = np.empty((n, k), dtype="float32"), np.empty((n, k), dtype="int64")
            self.index.search_preassigned_c(n, pointer(x), k, pointer(lists), pointer(np.zeros(n, dtype="float32")),
                                            pointer(distances), pointer(labels), True,
                                            faiss.SearchParametersIVF(nprobe=1))
            return distances, np.where(labels < 0, labels, labels & 0xffffffff)

    module.get_invlist = get_invlist
    module.BlockComputer = BlockComputer


def _install_ivf_tools(tools):
    stock = tools.permute_invlists

    def permute_invlists(index_ivf, perm):
        """Puts the inverted lists into another order; not those of an IndexVLC, whose anchors keep theirs."""
        if isinstance(faiss.downcast_index(index_ivf), IndexVLC):
            raise RuntimeError("IndexVLC cannot permute its inverted lists: they are in the order of its anchors, "
                               "by which equal distances are ranked")
        stock(index_ivf, perm)

    tools.permute_invlists = permute_invlists


def _install_ondisk(module):
    stock = module.merge_ondisk

    def merge_ondisk(trained_index, shard_fnames, ivfdata_fname, *args, **options):
        """Adds what the saved shards hold to trained_index. Of IndexVLCs this happens in memory, and
        ivfdata_fname becomes a .vlc file of the whole, to be opened with faiss.IO_FLAG_MMAP."""
        index = faiss.extract_index_ivf(trained_index)
        if isinstance(index, IndexVLC):
            _merge(trained_index, index, shard_fnames, ivfdata_fname, *args, **options)
        else:
            stock(trained_index, shard_fnames, ivfdata_fname, *args, **options)

    def _merge(trained_index, index, shard_fnames, ivfdata_fname, shift_ids=False):
        assert trained_index.ntotal == 0, "works only on empty index"
        for name in shard_fnames:
            shard = faiss.extract_index_ivf(faiss.read_index(name, faiss.IO_FLAG_MMAP))
            index.merge_from(shard, index.ntotal if shift_ids else 0)
        trained_index.ntotal = index.ntotal
        faiss.write_index(index, ivfdata_fname)

    module.merge_ondisk = merge_ondisk


def install():
    """Changes the modules of faiss.contrib that there are."""
    for name, change in (("factory_tools", _install_factory_tools),
                         ("big_batch_search", _install_big_batch_search), ("ivf_tools", _install_ivf_tools),
                         ("ondisk", _install_ondisk)):
        module = _module(name)
        if module and (name != "ivf_tools" or hasattr(module, "permute_invlists")):
            change(module)
