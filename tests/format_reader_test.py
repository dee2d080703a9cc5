"""Reads a .vlc file from faiss_vlc/FORMAT.md alone, with struct and numpy, and decodes its vectors."""

import os
import struct
import sys
import unittest

import numpy as np

DATA = os.environ.get("VLC_TEST_DATA", os.path.join(os.path.dirname(__file__), "data"))
STEPS = [0, 1.755346, 1.045471, 0.5860194, 0.3352006, 0.1881388, 0.1040739, 0.056871, 0.0307623]


def sections(payload):
    """{name: bytes} of a payload."""
    magic, version, order, total, count = struct.unpack_from("<8sIIQI", payload)
    assert magic == b"\x89VLC\r\n\x1a\n" and version == 1 and order == 0x01020304, (magic, version, order)
    assert total == len(payload)
    found = {}
    for i in range(count):
        name, _, _, offset, size, _ = struct.unpack_from("<16sIIQQQ", payload, 64 + 48 * i)
        found[name.rstrip(b"\0").decode()] = payload[offset : offset + size]
    return found


def decode(payload):
    """float32 (ntotal, d), by rising id."""
    part = sections(payload)
    d, m, _metric, _trained, ntotal, _, _, code_size, _ = struct.unpack("<IIIIQQQII", part["index"])
    scale = struct.unpack_from("<f", part["lattice"])[0]
    mean = np.frombuffer(part["lattice"], "<f4", d, 4)
    grid = struct.unpack_from("<I", part["anchors"])[0]
    anchors = np.frombuffer(part["anchors"], "<f2" if grid else "i1", m * d, 4).reshape(m, d)
    spread = np.frombuffer(part["spread"], "<f2").astype(np.float64)
    axes, frames = struct.unpack_from("<II", part["frame"])
    frame_of = np.frombuffer(part["frame"], "<u1", m, 8)
    rows = np.frombuffer(part["frame"], "<i1", frames * axes * d, 8 + m).reshape(frames, axes, d)
    frame = rows / np.linalg.norm(rows, axis=2, keepdims=True)
    sigma = np.frombuffer(part["sigma"], "<f4").reshape(frames, axes)
    code_bytes, fields = struct.unpack_from("<II", part["layout"])
    layout = [struct.unpack_from("<HHBBBB", part["layout"], 8 + 8 * i) for i in range(fields)]
    lanes = [4] * (code_bytes // 4) + [2] * (code_bytes % 4 >= 2) + [1] * (code_bytes % 2)
    row_start = np.concatenate([[0], np.cumsum(lanes)])
    id_bytes = struct.unpack_from("<I", part["lists"])[0]
    sizes = np.frombuffer(part["lists"], "<u4", m, 4)
    ids = np.frombuffer(part["ids"], "<u4" if id_bytes == 4 else "<i8")
    codes = np.frombuffer(part["codes"], "u1")

    out = np.zeros((ntotal, d))
    at = 0
    for j in range(m):
        for first in range(0, int(sizes[j]), 16):
            v = min(16, int(sizes[j]) - first)
            block = codes[at * code_size : (at + v) * code_size]
            residual = np.zeros((v, axes))
            for first_axis, row, field_lanes, width, shift, _ in layout:
                rows = block[row_start[row] * v : row_start[row + 1] * v].reshape(v, field_lanes)
                level = (rows >> shift) & ((1 << width) - 1)
                for i in range(field_lanes):
                    axis = first_axis + i
                    if axis < axes:
                        centred = level[:, i] - (2**width - 1) / 2
                        residual[:, axis] = centred * sigma[frame_of[j], axis] * STEPS[width] * spread[j]
            out[at : at + v] = (anchors[j] + residual @ frame[frame_of[j]]) / scale + mean
            at += v
    return out[np.argsort(ids)]


def check(stem):
    """stem.vlc against what the library decoded, stem_decoded.npy."""
    with open(stem + ".vlc", "rb") as f:
        vectors = decode(f.read())
    expected = np.load(stem + "_decoded.npy")
    assert vectors.shape == expected.shape, (stem, vectors.shape, expected.shape)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(vectors, expected, atol=1e-4, err_msg=stem)


class FormatReader(unittest.TestCase):
    def test_golden_files(self):
        for stem in ("golden_v1", "golden_v1_ip"):
            check(os.path.join(DATA, stem))


if __name__ == "__main__":
    if len(sys.argv) > 1:  # stems of files to check, as tests/save_test.cpp asks
        for stem in sys.argv[1:]:
            check(stem)
    else:
        unittest.main()
