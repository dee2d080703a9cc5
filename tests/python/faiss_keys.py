"""A pytest plugin that runs FAISS's own tests on IndexVLC: where they build an IVF index by a factory key, a VLC
index of as many lists and about as many bytes is built instead. From a folder with FAISS's tests:

    PYTHONPATH=<faiss-vlc>/build/release/python:<faiss-vlc>/tests python3 -m pytest -p faiss_keys test_io.py ...

The last line counts the tests that really had an IndexVLC. VLC_NPROBE=1 sets nprobe before training, as IVFPQ's
is 1 until somebody sets another. faiss_vlc/docs/versions.md says which tests fail, and why."""

import collections
import os
import re

import faiss

import faiss_vlc # noqa: F401

KEY = re.compile(r"IVF(\d+)(_\w+|\([^()]*\))?,(Flat|SQ\w+|PQ(\d+)(?:x(\d+))?(?:np|fs\w*)?)(?=$|[,+)])")

_factory = faiss.index_factory
_asked, _built = set(), set()
_outcomes = {}
_test = None


def rewrite(key):
    """The key with VLC for each IVF: 8 bits a dimension for Flat and SQ8, as many bytes and 2 of factors for PQ."""
    def vlc(match):
        lists, quantizer, code, codes, bits = match.groups()
        size = f"b{(int(codes) * int(bits or 8) + 7) // 8 + 2}" if codes else "x4" if code == "SQ4" else "x8"
        return f"VLC{lists}{size}{quantizer or ''}"
    return KEY.sub(vlc, key)


def index_factory(d, key, *args):
    if rewrite(key) == key:
        return _factory(d, key, *args)
    _asked.add(_test)
    index = _factory(d, rewrite(key), *args)
    _built.add(_test)
    if "VLC_NPROBE" in os.environ:
        faiss.extract_index_ivf(index).nprobe = int(os.environ["VLC_NPROBE"])
    return index


def pytest_configure():
    faiss.index_factory = index_factory


def pytest_runtest_setup(item):
    global _test
    _test = item.nodeid


def pytest_runtest_logreport(report):
    if report.when == "call" or report.outcome != "passed":
        _outcomes[report.nodeid] = report.outcome


def pytest_terminal_summary(terminalreporter):
    counts = collections.Counter(_outcomes.get(test) for test in _built)
    terminalreporter.write_line(f"IndexVLC was built in {len(_built)} tests ({dict(counts)}), its key refused in "
                                f"{len(_asked - _built)} more, of {len(_outcomes)}")
