"""The parts of faiss.contrib that go by an index's class, taught about IndexVLC."""

import importlib

import faiss
import numpy as np

from faiss_vlc._index import IndexVLC


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
        return f"VLC{m}b{index.code_size}"

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
    """Codes that know their list, without which an IndexVLC's can't be decoded."""
    list_no = -1


def _install_big_batch_search(module):
    stock_get_invlist = module.get_invlist

    def get_invlist(invlists, list_no):
        ids, codes = stock_get_invlist(invlists, list_no)
        codes = codes.view(_ListCodes)
        codes.list_no = list_no
        return ids, codes

    class BlockComputer(module.BlockComputer):
        """Computation within one list; an IndexVLC's is decoded first, whatever the method."""

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
            self.decode_func = self.decode
            self.pairwise_distances = functions.get("pairwise_distances", faiss.pairwise_distances)
            self.knn = functions.get("knn", faiss.knn)

        def decode(self, codes):
            n, head = len(codes), self.index.sa_code_size() - self.index.code_size
            coarse = np.frombuffer(int(codes.list_no).to_bytes(8, "little"), dtype="uint8")[:head]
            return self.index.sa_decode(np.hstack((np.tile(coarse, (n, 1)), np.asarray(codes))))

        def block_search(self, xq_l, xb_l, list_ids, k, **extra):
            if not self.is_vlc or self.method != "index" or xq_l.size == 0 or xb_l.size == 0:
                return super().block_search(xq_l, xb_l, list_ids, k, **extra)
            flat = faiss.IndexFlat(self.index.d, self.index.metric_type)
            flat.add(xb_l)
            return flat.search(xq_l, k)

    module.get_invlist = get_invlist
    module.BlockComputer = BlockComputer


def install():
    """Changes the modules of faiss.contrib that there are."""
    for name, change in (("factory_tools", _install_factory_tools),
                         ("big_batch_search", _install_big_batch_search)):
        module = _module(name)
        if module:
            change(module)
