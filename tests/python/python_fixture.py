"""What the tests of the Python package share: data, and an IndexVLC beside the IVFPQ that it stands in
for. A behaviour is tested on both, so that what is expected is what FAISS does."""

import os
import re
import subprocess
import sys

import faiss
import numpy as np

import faiss_vlc  # teaches faiss about VLC

D = 32
IVFPQ = "IVF16,PQ8x4np"  # trains in milliseconds
VLC = os.environ.get("VLC_TEST_KEY", "VLC16x4")
KEYS = [IVFPQ, VLC]
FAISS_VERSION = tuple(int(part) for part in faiss.__version__.split("."))

_random = np.random.RandomState(7)
_centres = _random.rand(40, D)


def vectors(n):
    """n float32 vectors around 40 centres."""
    noise = 0.3 * _random.randn(n, D)
    return (_centres[_random.randint(40, size=n)] + noise).astype("float32")


TRAIN, BASE, QUERIES = vectors(1500), vectors(2000), vectors(40)
_trained = {}


def tiers(key):
    """The key, each VLC of b<bytes> in it with a second tier where VLC_TEST_KEY has one."""
    return re.sub(r"(VLC\d*b\d+)(?!\d|\+)", r"\1+12", key) if "+" in VLC else key


def make(key, metric=faiss.METRIC_L2, add=True):
    """A trained index of its own, with BASE added; 8 of 16 lists are probed."""
    if (key, metric) not in _trained:
        index = faiss.index_factory(D, key, metric)
        index.train(TRAIN)
        _trained[key, metric] = faiss.serialize_index(index)
    index = faiss.deserialize_index(_trained[key, metric])
    faiss.ParameterSpace().set_index_parameter(index, "nprobe", 8)
    if "+" in key: # of two tiers: parts, each of which refines its own best, find what the whole finds
        faiss.ParameterSpace().set_index_parameter(index, "refine_k", len(BASE))
    if add:
        add_base(index)
    return index


def add_base(index):
    """Adds BASE, with ids where the index insists on them."""
    if isinstance(index, faiss.IndexIDMap):
        index.add_with_ids(BASE, np.arange(len(BASE)))
    else:
        index.add(BASE)


def assert_same(found, expected):
    """Both are results of searches, distances and labels: equal, but that IVFPQ's sums of floats depend on
    how many queries come together."""
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5)
    np.testing.assert_array_equal(found[1], expected[1])


def fresh_process(code, *args, **environment):
    """Runs Python code in another process; returns what it printed. Fails if it failed."""
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True,
                          env={**os.environ, **environment})
    if done.returncode != 0:
        raise AssertionError(f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout.strip()
