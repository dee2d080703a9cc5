"""Loads faiss_vlc with faiss: faiss_vlc.pth, which lies beside this, asks for it when Python starts and the
variable VLC_LOAD or VLC_FOR_IVFPQ is set. Nothing of FAISS is imported before the program does."""

import importlib
import os
import sys


class _Loader:
    """A module's own loader, but that faiss_vlc comes right after."""

    def __init__(self, loader):
        self._loader = loader

    def __getattr__(self, name):
        return getattr(self._loader, name)

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        importlib.import_module("faiss_vlc")


class _Finder:
    """Finds the module faiss as the other finders do."""

    def find_spec(self, name, path=None, target=None):
        if name != "faiss":
            return None
        for finder in sys.meta_path:
            find_spec = getattr(finder, "find_spec", None)
            spec = find_spec(name, path, target) if find_spec and finder is not self else None
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _Loader(spec.loader)
                return spec
        return None


_called = False


def install():
    """From now on `import faiss` imports faiss_vlc, too, unless the variables say 0. One of another kind is
    named on stderr. Calling it again does nothing: Python reads .pth files twice where lib64 is a link."""
    global _called
    if _called:
        return
    _called = True
    wanted = False
    for name in ("VLC_LOAD", "VLC_FOR_IVFPQ"):
        value = os.environ.get(name, "")
        if value not in ("", "0", "1"):
            print(f"faiss_vlc: {name}: expected 1 or 0, got {value!r}", file=sys.stderr)
        wanted = wanted or value == "1"
    if wanted:
        sys.meta_path.insert(0, _Finder())
