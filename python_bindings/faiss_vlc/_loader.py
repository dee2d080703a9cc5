"""Binds our extension to the copy of FAISS that the faiss package has loaded."""

import ctypes
import os
import sys

import faiss

from faiss_vlc._build import FAISS_VERSION, VERSION


def check_version(found=None):
    """Raises ImportError unless FAISS is of the version that this was compiled for: its classes change
    even between patch releases."""
    found = found or faiss.__version__
    if found != FAISS_VERSION:
        raise ImportError(
            f"faiss_vlc {VERSION} was built for FAISS {FAISS_VERSION}, but {os.path.dirname(faiss.__file__)} "
            f"is FAISS {found}. Install FAISS {FAISS_VERSION} (Debian 12's python3-faiss is 1.7.3, "
            f"PyPI has faiss-cpu=={FAISS_VERSION} if it was released there), or build faiss_vlc for "
            f"FAISS {found}: FAISS_INCLUDE_DIR=<its headers> pip install <the sources of faiss_vlc>")


def faiss_extension():
    """The extension module that faiss runs on: generic, AVX2 and AVX-512 builds lie side by side."""
    module = sys.modules[faiss.Index.__module__]
    return getattr(module, "_" + module.__name__.rpartition(".")[2])


def load():
    """Our extension leaves FAISS's and OpenMP's symbols open, so that there is one copy of each in the
    process; Python loads extensions with local symbols, so FAISS's are made global first."""
    check_version()
    path = faiss_extension().__file__
    ctypes.CDLL(path, mode=os.RTLD_GLOBAL | os.RTLD_NOLOAD | os.RTLD_NOW)
    try:
        from faiss_vlc import swigvlc
    except ImportError as error:
        if "undefined symbol" not in str(error):
            raise
        raise ImportError(
            f"faiss_vlc cannot be bound to {path}, which keeps FAISS's functions to itself (as PyPI's faiss-cpu "
            "1.11 does) or is another build of FAISS than the headers that faiss_vlc was compiled with. Install "
            f"another build of FAISS {FAISS_VERSION}, such as Debian's or conda's, or one of the versions in the "
            f"README's table. ({error})") from error
    try:
        swigvlc.downcast_index(faiss.IndexFlat(1))
    except TypeError as error:
        raise ImportError(
            "faiss_vlc and the installed faiss were made by versions of SWIG that don't share types "
            f"(up to 4.3, and from 4.4 on): build faiss_vlc with the one that made {path}") from error
