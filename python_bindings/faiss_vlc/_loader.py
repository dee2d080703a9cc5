"""Binds our extension to the copy of FAISS that the faiss package has loaded."""

import ctypes
import os
import sys

import faiss

from faiss_vlc._build import FAISS_VERSION, VERSION


_DEBIANS = {"1.7.3": 12, "1.11.0": 13} # whose python3-faiss is of a version that PyPI's can't stand in for


def _where_from(version):
    """Which FAISS of a version lets other libraries call it."""
    if tuple(int(part) for part in version.split(".")[:2]) >= (1, 13):
        return f"pip install faiss-cpu=={version}"
    advice = "conda-forge's or one that you build: PyPI's faiss-cpu before 1.13 keeps its functions to itself"
    if version in _DEBIANS:
        advice = (f"Debian {_DEBIANS[version]}'s python3-faiss, for /usr/bin/python3 and for a venv that /usr/bin/python3 "
                  "-m venv --system-site-packages makes, without another faiss in it; else " + advice)
    return advice


def check_version(found=None):
    """Raises ImportError unless FAISS is of the version that this was compiled for: its classes change
    even between patch releases."""
    found = found or faiss.__version__
    if found != FAISS_VERSION:
        raise ImportError(
            f"faiss_vlc {VERSION} was built for FAISS {FAISS_VERSION}, but {os.path.dirname(faiss.__file__)} "
            f"is FAISS {found}. Install FAISS {FAISS_VERSION} ({_where_from(FAISS_VERSION)}), or build faiss_vlc for "
            f"FAISS {found} ({_where_from(found)}): FAISS_INCLUDE_DIR=<its headers, those of its sources' tag v{found}> "
            "pip install <the sources of faiss_vlc>")


def faiss_extension():
    """The extension module that faiss runs on: generic, AVX2 and AVX-512 builds lie side by side."""
    module = sys.modules[faiss.Index.__module__]
    return getattr(module, "_" + module.__name__.rpartition(".")[2])


def link_to(extension):
    """Lets our extension see the symbols of FAISS's, and of the libraries that it has loaded: there is one
    copy of each in the process. They stay local to it. Made global, they would be taken for those of
    libraries that are loaded later, PyTorch's BLAS for one.

    Our extension needs a library faiss_vlc_link.so. Each of ours that has this name needs FAISS's extension
    by one of the names that it can have; what bears the name already is not looked for in files."""
    path, folder = extension.__file__, os.path.dirname(__file__)
    loaded = ctypes.CDLL(path, mode=os.RTLD_NOLOAD)._handle
    for name in (os.path.basename(path), extension.__name__.rpartition(".")[2] + ".so"):
        link = os.path.join(folder, name.replace("_swigfaiss", "to_faiss"))
        try:
            if os.path.exists(link) and ctypes.CDLL(name, mode=os.RTLD_NOLOAD)._handle == loaded:
                return ctypes.CDLL(link)
        except OSError: # nothing of this name is loaded
            pass
    raise ImportError(_hidden(path))


def _hidden(path):
    return (f"faiss_vlc cannot be bound to {path}: either it keeps FAISS's functions to itself, or it is another build "
            f"than the headers that faiss_vlc was compiled with, or its name as a library (SONAME) is not one of FAISS's "
            f"own builds, as _swigfaiss.so is. What can be used of FAISS {FAISS_VERSION}: {_where_from(FAISS_VERSION)}.")


def _is_pypis(package):
    """Whether this faiss package is the one that pip installed as faiss-cpu."""
    from importlib import metadata
    try:
        found = metadata.distribution("faiss-cpu")
        return os.path.samefile(found.locate_file("faiss/__init__.py"), package.__file__)
    except (metadata.PackageNotFoundError, OSError):
        return False


def _what_fits():
    """What to do where FAISS's version is the right one, but its classes are not those of the headers."""
    if _is_pypis(faiss):
        return ("This FAISS is PyPI's own, so the headers were wrong ones. Build faiss_vlc anew with the right ones "
                "(python_bindings/README.md says which they are): python_bindings/wheels/build.py "
                f"{FAISS_VERSION} <their folder>, or FAISS_INCLUDE_DIR=<their folder> pip install <the sources of "
                "faiss_vlc>")
    return (f"Install FAISS {FAISS_VERSION} as faiss_vlc was built for ({_where_from(FAISS_VERSION)}), or build faiss_vlc "
            "with this FAISS's own headers: FAISS_INCLUDE_DIR=<their folder> pip install <the sources of faiss_vlc>")


def _prove_layout(extension, swigvlc):
    """Raises ImportError unless FAISS's classes are those of the headers."""
    from faiss_vlc import _layout
    found = _layout.differences(extension, swigvlc)
    if found:
        more = f"; and {len(found) - 3} more" if len(found) > 3 else ""
        raise ImportError(
            f"faiss_vlc {VERSION} was compiled with headers that are not those of {extension.__file__} (FAISS "
            f"{faiss.__version__}): {'; '.join(found[:3])}{more}. {_what_fits()}")


def load():
    """Binds our extension to FAISS's, or says why it can't."""
    check_version()
    extension = faiss_extension()
    path = extension.__file__
    link_to(extension)
    try:
        from faiss_vlc import swigvlc
    except ImportError as error:
        if "undefined symbol" not in str(error):
            raise
        raise ImportError(f"{_hidden(path)} ({error})") from error
    try:
        swigvlc.downcast_index(faiss.IndexFlat(1))
    except TypeError as error:
        raise ImportError(
            "faiss_vlc and the installed faiss were made by versions of SWIG that don't share types "
            f"(up to 4.3, and from 4.4 on): build faiss_vlc with the one that made {path}") from error
    _prove_layout(extension, swigvlc)
