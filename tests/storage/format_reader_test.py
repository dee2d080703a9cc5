"""Reads a .vlc file from faiss_vlc/docs/FORMAT.md alone, with struct and numpy: decodes its vectors
and searches them."""

import os
import struct
import sys
import types
import unittest

import numpy as np

DATA = os.environ.get("VLC_TEST_DATA", os.path.join(os.path.dirname(__file__), "../data"))
GOLDEN = ("golden_v1", "golden_v1_ip", "golden_v1_block", "tiers/golden_v1", "tiers/golden_v1_ip",
          "tiers/golden_v1_fine", "tiers/golden_v1_few")
STEPS = [0, 1.755346, 1.045471, 0.5860194, 0.3352006, 0.1881388, 0.1040739, 0.056871, 0.0307623]


P1, P2, P3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
P4, P5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
MASK = (1 << 64) - 1


def rotated(x, bits):
    x &= MASK
    return (x << bits | x >> (64 - bits)) & MASK


def mixed(lane, word):
    return rotated(lane + word * P2, 31) * P1 & MASK


def xxh64(data):
    """As xxHash's specification has it, seed 0."""
    at = len(data) // 32 * 32
    if at:
        lanes = [P1 + P2 & MASK, P2, 0, -P1 & MASK]
        for words in struct.iter_unpack("<4Q", data[:at]):
            lanes = [mixed(lane, word) for lane, word in zip(lanes, words)]
        h = sum(rotated(lane, bits) for lane, bits in zip(lanes, (1, 7, 12, 18)))
        for lane in lanes:
            h = ((h ^ mixed(0, lane)) * P1 + P4) & MASK
    else:
        h = P5
    h += len(data)
    for size, format, step, bits, factor, term in ((8, "<Q", None, 27, P1, P4), (4, "<I", P1, 23, P2, P3),
                                                   (1, "<B", P5, 11, P1, 0)):
        while len(data) - at >= size:
            word = struct.unpack_from(format, data, at)[0]
            h = (rotated(h ^ (mixed(0, word) if step is None else word * step), bits) * factor + term) & MASK
            at += size
    h = (h ^ h >> 33) * P2 & MASK
    h = (h ^ h >> 29) * P3 & MASK
    return h ^ h >> 32


KNOWN = """index parameters parameters.2 parameters.3 parameters.4 training energy lattice anchors routing spread frame sigma
layout words estimator rank second lists ids codes seconds""".split()


def sections(payload):
    """{name: bytes} of a payload, by the rules for readers."""
    magic, version, order, total, count, flags, table_sum = struct.unpack_from("<8sIIQIIQ", payload)
    assert magic == b"\x89VLC\r\n\x1a\n" and order == 0x01020304, (magic, order)
    assert struct.unpack_from("<Q", payload, 56)[0] == xxh64(payload[:56]), "header"
    assert version == 1 and flags == 0 and not any(payload[40:56]) and count <= 1024, (version, flags)
    end = 64 + 48 * count
    assert table_sum == xxh64(payload[64:end]), "table"
    found = {}
    for i in range(count):
        name, flags, zero, offset, size, checksum = struct.unpack_from("<16sIIQQQ", payload, 64 + 48 * i)
        name = name.rstrip(b"\0").decode()
        assert flags in (0, 1) and zero == 0 and name not in found, name
        assert offset == (end + 63) // 64 * 64 and not any(payload[end:offset]), name
        end = offset + size
        found[name] = payload[offset:end]
        assert checksum == xxh64(found[name]), name
        assert name in KNOWN or not flags, f"section {name} is required, but unknown"
    assert total == len(payload) == (end if count else 64)
    return found


def blocks(codes, sizes, code_size):
    """(range of vectors, bytes) of each block of up to 16 vectors."""
    at = 0
    for size in sizes:
        for first in range(0, int(size), 16):
            v = min(16, int(size) - first)
            yield slice(at, at + v), codes[at * code_size : (at + v) * code_size]
            at += v


def read_levels(index, part, lists):
    """Sets level, step and factors of codes of levels."""
    axes = index.frame.shape[1]
    code_bytes, fields = struct.unpack_from("<II", part["layout"])
    layout = [struct.unpack_from("<HHBBBB", part["layout"], 8 + 8 * i) for i in range(fields)]
    lanes = [4] * (code_bytes // 4) + [2] * (code_bytes % 4 >= 2) + [1] * (code_bytes % 2)
    row_start = np.concatenate([[0], np.cumsum(lanes)])
    index.step = np.frombuffer(part["sigma"], "<f4").reshape(-1, axes).astype(np.float64)
    for first_axis, _, field_lanes, width, _, _ in layout:
        index.step[:, first_axis : first_axis + field_lanes] *= STEPS[width]
    index.factor_bytes = 2
    for here, block in lists:
        v = here.stop - here.start
        for first_axis, row, field_lanes, width, shift, _ in layout:
            rows = block[row_start[row] * v : row_start[row + 1] * v].reshape(v, field_lanes)
            level = (rows >> shift) & ((1 << width) - 1)
            for i in range(field_lanes):
                axis = first_axis + i
                if axis < axes:
                    index.level[here, axis] = level[:, i] - (2**width - 1) / 2
        index.factors[here] = np.frombuffer(block[code_bytes * v :].tobytes(), "<u2")


def read_words(index, part, lists):
    """The same of codes of words, whose components take the place of levels."""
    code_bytes, index.factor_bytes, axes, unit = struct.unpack_from("<IIIf", part["words"])
    component = np.frombuffer(part["words"], "<i2", axes * 256, 16).reshape(axes, 256)
    count = min(code_bytes, axes)
    ends = [(b + 1) * axes // count for b in range(count)]
    of_axis = np.searchsorted(ends, np.arange(axes), side="right")
    if index.factor_bytes == 3:
        index.factor_bytes, index.base, index.whole = 0, np.zeros_like(index.anchors), True
    index.step = np.full((len(index.frame), axes), unit, np.float64)
    for here, block in lists:
        v = here.stop - here.start
        word = block[: code_bytes * v].reshape(code_bytes, v)
        index.level[here] = component[np.arange(axes)[:, None], word[of_axis]].T
        if index.factor_bytes:
            kind = "<u2" if index.factor_bytes == 2 else "u1"
            index.factors[here] = np.frombuffer(block[code_bytes * v :].tobytes(), kind)
    if index.factor_bytes == 1:
        index.factors <<= 8


def unpack_pieces(codes, width):
    """Levels (n, axes) of second codes (n, bytes): pieces of 8, 4, 2 and 1 bits."""
    level = np.zeros((len(codes), len(width)), np.int64)
    first = 0
    for size in (8, 4, 2, 1):
        those = np.flatnonzero(width & size)
        count = -(-len(those) * size // 8)
        for i, axis in enumerate(those):
            bits = codes[:, first + i % count] >> (i // count * size) & ((1 << size) - 1)
            level[:, axis] += bits.astype(np.int64) << (width[axis] & (size - 1))
        first += count
    return level


def read_second(index, part):
    """Sets error, the decoded part of the second tier (ntotal, d), and what its factors say. Returns a code's bytes."""
    index.second = "second" in part
    if not index.second:
        index.error = np.zeros((index.ntotal, len(index.mean)))
        return 0
    d = len(index.mean)
    code_bytes, factor_bytes, axes, index.refined, index.usual, index.refined_base, index.growth, _, unit, low, high = (
        struct.unpack_from("<5Iq5f", part["second"])
    )
    width = np.frombuffer(part["second"], "u1", axes, 48)
    sigma = np.frombuffer(part["second"], "<f4", axes, 48 + axes).astype(np.float64)
    rows = np.frombuffer(part["second"], "i1", axes * d, 48 + 5 * axes).reshape(axes, d)
    assert len(part["second"]) == 48 + (5 + d) * axes
    codes = np.frombuffer(part["seconds"], "u1").reshape(index.ntotal, code_bytes + factor_bytes)
    factors = codes[:, code_bytes:].astype(np.uint32)
    index.s = np.where(factors[:, 0] > 0, unit * 2.0 ** ((factors[:, 0] - 128.0) / 8), 0)
    level = unpack_pieces(codes, width) - (2.0**width - 1) / 2
    step = np.where(width > 0, sigma * np.array(STEPS)[width], 0)
    index.by_decoding = factor_bytes == 1
    index.error = level * step * index.s[:, None] @ (rows / np.linalg.norm(rows, axis=1, keepdims=True))
    if index.by_decoding:
        pass  # there is s alone
    elif index.metric == 0:
        index.alpha = low + (high - low) * factors[:, 1] / 255
    else:
        word = sum(factors[:, i] << 8 * (i - 1) for i in range(1, factor_bytes))
        index.alpha = low + (high - low) * (word & 15) / 15
        bits = 8 * factor_bytes - 13
        size = ((word >> 4 & (1 << bits) - 1) << (27 - bits)) + np.uint32(115 << 23)
        size = size.astype("<u4").view("<f4") - 2.0**-12
        index.rest = np.where(word >> (4 + bits), -size, size)
    return code_bytes + factor_bytes


def refined(index, q, here):
    """The estimates of some vectors by both tiers: squared distances, or products, in lattice units."""
    anchors = index.base[index.list_of[here]]
    known = index.level[here] * index.step[index.frame_of[index.list_of[here]]] * index.scaled[here, None]
    known = np.array([r @ index.frame[f] for r, f in zip(known, index.frame_of[index.list_of[here]])])
    if index.by_decoding:
        decoded = anchors + known + index.error[here]
        return decoded @ q if index.metric == 0 else ((q - decoded) ** 2).sum(1)
    dot = (1 + index.alpha[here]) * ((known + index.error[here]) @ q)
    if index.metric == 0:
        return anchors @ q + dot
    w, s = index.length[here] ** 2, index.s[here]
    if index.words:
        w = ((index.level[here] * index.step[0]) ** 2).sum(1) * index.scaled[here] ** 2
    root = np.sqrt(w)
    unit = w / 16 + s**2 + (s * root + (root + s) * np.linalg.norm(anchors, axis=1)) * 2 / np.sqrt(len(q))
    return ((q - anchors) ** 2).sum(1) - 2 * dot + w + index.rest[here] * unit


def read(payload):
    """The index of a payload as FORMAT.md describes it: its model, and per vector list, id, residual and factors."""
    part = sections(payload)
    index = types.SimpleNamespace()
    d, m, index.metric, _trained, index.ntotal, index.nprobe, _, code_size, _ = struct.unpack("<IIIIQQQII", part["index"])
    index.scale = struct.unpack_from("<f", part["lattice"])[0]
    index.mean = np.frombuffer(part["lattice"], "<f4", d, 4)
    grid = struct.unpack_from("<I", part["anchors"])[0]
    index.anchors = np.frombuffer(part["anchors"], "<f2" if grid else "i1", m * d, 4).reshape(m, d).astype(np.float64)
    index.base, index.whole = index.anchors, False
    index.rank_scale = 1.0
    if "routing" in part:
        index.rank_scale = 2.0 ** max(0, np.floor(np.log2(127 / np.abs(index.anchors).max())))
    index.spread = np.frombuffer(part["spread"], "<f2").astype(np.float64)
    axes, frames = struct.unpack_from("<II", part["frame"])
    index.frame_of = np.frombuffer(part["frame"], "<u1", m, 8)
    rows = np.frombuffer(part["frame"], "<i1", frames * axes * d, 8 + m).reshape(frames, axes, d)
    index.frame = rows / np.linalg.norm(rows, axis=2, keepdims=True) if frames else np.eye(d)[None]
    gamma, far = np.frombuffer(part["estimator"], "<f4", 64).reshape(2, 32)
    index.t1, index.t2, index.c, index.energy, index.most_distance, usual_length, index.kappa, index.default_nprobe = (
        struct.unpack_from("<7fi", part["estimator"], 256)
    )
    index.rank_bias = struct.unpack("<f", part["rank"])[0] if "rank" in part else 0.0
    id_bytes = struct.unpack_from("<I", part["lists"])[0]
    sizes = np.frombuffer(part["lists"], "<u4", m, 4)
    index.ids = np.frombuffer(part["ids"], "<u4" if id_bytes == 4 else "<i8").astype(np.int64)
    index.list_of = np.repeat(np.arange(m), sizes)
    codes = np.frombuffer(part["codes"], "u1")

    # levels and their steps; a vector's residual along its axes is their product times its scale
    index.level = np.zeros((index.ntotal, axes))
    index.factors = np.zeros(index.ntotal, np.uint16)
    index.words = "words" in part
    code_size -= read_second(index, part)
    (read_words if index.words else read_levels)(index, part, blocks(codes, sizes, code_size))
    factors = index.factors
    bits = ((factors >> 5).astype(np.uint32) << 16) + np.uint32(121 << 23)
    length = bits.view("<f4") - 2.0**-6
    index.far = length > usual_length
    index.gamma = np.where(index.far, far[factors & 31], gamma[factors & 31]).astype(np.float64)
    index.scaled = length * np.maximum(index.spread, 1 / 64)[index.list_of]
    if index.factor_bytes == 0:
        index.scaled = np.ones(index.ntotal)
    index.length = index.scaled * np.sqrt(index.energy)
    return index


def decode(payload):
    """float32 (ntotal, d), by rising id."""
    index = read(payload)
    out = np.zeros((index.ntotal, len(index.mean)))
    for j in range(len(index.anchors)):
        here = index.list_of == j
        f = index.frame_of[j]
        residual = index.level[here] * index.step[f] * index.scaled[here, None]
        lattice = index.base[j] + residual @ index.frame[f] + index.error[here]
        out[here] = lattice / index.scale + index.mean
    return out[np.argsort(index.ids)]


def ranks(index, query):
    """The lists in the order in which they are probed."""
    width = index.spread * np.sqrt(index.energy)
    anchors = np.floor(index.anchors * index.rank_scale + 0.5)
    if index.metric == 1:
        u = (query - index.mean) * index.scale
        bias = np.floor(index.rank_bias * width**2 + 0.5)
        size = np.abs(u)
        if (np.maximum(size - 127, 0) ** 2).sum() > (size**2).sum() / 256:
            unit = 1
            while size.max() > 16256 * unit or size.sum() > 2**28 / 127 * unit:
                unit *= 2
            score = np.floor(((anchors**2).sum(1) + bias) / (2 * unit)) - anchors @ np.rint(u / unit)
        else:
            score = ((np.rint(np.clip(u, -127, 127)) - anchors) ** 2).sum(1) + bias
    else:
        q = np.rint(query * (127 / np.abs(query).max()))
        score = -(anchors @ q) - np.floor(np.linalg.norm(q) * index.rank_bias * index.rank_scale * width + 0.5)
    return np.argsort(score, kind="stable")


def search(payload, query, k, rounded):
    """Ids and distances of the k best of float32 (d), as FORMAT.md estimates them; rounded: with the query's
    components rounded as the library does."""
    index = read(payload)
    q = (query - (index.mean if index.metric == 1 else 0)) * index.scale
    found = []
    for j in ranks(index, query)[: index.nprobe]:
        here = np.flatnonzero(index.list_of == j)
        g, length = index.gamma[here], index.length[here]
        square = length**2
        miss = 1 - g
        if index.t2 < 0:
            share = (1 + index.t2) - index.t2 * g / index.kappa
        else:
            share = 1 + index.t2 * (1 / g - 1)
        f = index.frame_of[j]
        w = index.step[f] * (index.frame[f] @ (q - index.base[j] if index.metric == 1 else q))
        if rounded and not index.words:
            unit = np.abs(w).max() / 127
            w = np.rint(w / unit) * unit
        scaled = index.scaled[here]
        dot = index.level[here] @ w * scaled
        decoded_square = ((index.level[here] * index.step[f]) ** 2).sum(1) * scaled**2
        if index.factor_bytes == 0:
            if index.metric == 1:
                distance = (((q - index.base[j]) ** 2).sum() + decoded_square - 2 * dot) / index.scale**2
            else:
                distance = (q @ (index.mean * index.scale) + q @ index.base[j] + dot) / index.scale**2
        elif index.metric == 1:
            to_anchor = ((q - index.base[j]) ** 2).sum()
            if index.factor_bytes == 1:
                usual = index.kappa * index.energy
                excess = decoded_square / np.maximum(scaled, 1e-30) - usual * scaled
                dot = dot - np.sqrt(to_anchor / index.energy) * excess / 2
            estimate = to_anchor + index.c * min(to_anchor, index.most_distance) * miss * square / index.energy
            estimate = estimate + square * (g + index.t1 * miss) - 2 * share * dot
            estimate = np.where(index.far[here], to_anchor + square * g - 2 * dot, estimate)
            distance = np.maximum((np.sqrt(to_anchor) - length) ** 2, estimate) / index.scale**2
        else:
            norm, to_anchor = np.linalg.norm(q), -(q @ index.base[j])
            penalty = index.c * miss * norm * square / np.sqrt(index.energy)
            estimate = np.maximum(to_anchor - norm * length, to_anchor + penalty - share * dot)
            distance = (q @ (index.mean * index.scale) - estimate) / index.scale**2
        found += zip(-distance if index.metric == 0 else distance, index.ids[here], here)
    sign = -1 if index.metric == 0 else 1
    if index.second:
        for_ten = min(index.refined, index.usual * (index.nprobe / index.default_nprobe) ** 0.25)
        many = for_ten * max(1, k / 10) ** index.growth * max(1, index.ntotal / index.refined_base) ** 0.36
        here = np.array([at for _, _, at in sorted(found)[: max(k, int(np.ceil(many)))]])
        distance = refined(index, q, here) / index.scale**2
        if index.metric == 0:
            distance += q @ index.mean / index.scale
        found = zip(sign * distance, index.ids[here])
    best = sorted(found)[:k]
    values = np.array([sign * one[0] for one in best])
    return [one[1] for one in best], np.maximum(values, 0) if index.metric == 1 else values


def check(stem):
    """stem.vlc against what the library decoded, stem_decoded.npy."""
    with open(stem + ".vlc", "rb") as f:
        vectors = decode(f.read())
    expected = np.load(stem + "_decoded.npy")
    assert vectors.shape == expected.shape, (stem, vectors.shape, expected.shape)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(vectors, expected, atol=1e-4, err_msg=stem)


def check_search(stem, absolute=0.0):
    """stem.vlc against what the library found: stem_queries.npy, _labels.npy and _distances.npy. `absolute`: what
    distances may differ by, as a share of the query's squared length."""
    with open(stem + ".vlc", "rb") as f:
        payload = f.read()
    queries, labels, distances = (np.load(f"{stem}_{part}.npy") for part in ("queries", "labels", "distances"))
    if read(payload).whole:  # the rounded query is multiplied with vectors, not with residuals
        absolute = 5e-4
    for query, label, distance in zip(queries, labels, distances):
        ids, values = search(payload, query, len(label), rounded=True)
        # a component of the query may round the other way, as the library rotates with integers
        tolerance = 5e-4 * np.abs(distance).max() + absolute * (query @ query)
        np.testing.assert_allclose(values, distance, atol=tolerance, err_msg=stem)
        assert len(set(ids) & set(label.tolist())) >= len(label) - 1, (stem, ids, label)


class FormatReader(unittest.TestCase):
    def test_checksum(self):
        self.assertEqual(xxh64(b""), 0xEF46DB3751D8E999)
        self.assertEqual(xxh64(b"abc"), 0x44BC2CF5AD770999)

    def test_pieces_of_levels(self):
        codes = np.array([[0b1010, 0b1011, 0b110], [0b0001, 0b0100, 0b001]], np.uint8)
        level = unpack_pieces(codes, np.array([7, 3, 0, 1]))
        self.assertEqual(level.tolist(), [[0b1010110, 0b101, 0, 1], [0b0001001, 0b010, 0, 0]])
        # three pieces of 4 bits take two bytes: the third lies above the first
        self.assertEqual(unpack_pieces(np.array([[0x31, 0x02]], np.uint8), np.array([4, 4, 4])).tolist(), [[1, 2, 3]])

    def test_damage_is_noticed(self):
        with open(os.path.join(DATA, "golden_v1.vlc"), "rb") as f:
            good = f.read()
        for at in list(range(0, 900)) + list(range(900, len(good), 101)):
            bad = bytearray(good)
            bad[at] ^= 0x10
            with self.assertRaises((AssertionError, struct.error, UnicodeDecodeError), msg=at):
                sections(bytes(bad))

    def test_golden_files(self):
        for stem in GOLDEN:
            check(os.path.join(DATA, stem))

    def test_estimates(self):
        for stem in GOLDEN:
            with open(os.path.join(DATA, stem + ".vlc"), "rb") as f:
                payload = f.read()
            queries, labels, distances = (
                np.load(os.path.join(DATA, f"{stem}_{part}.npy")) for part in ("queries", "labels", "distances")
            )
            check_search(os.path.join(DATA, stem))
            found = wanted = 0
            apart = []
            for query, label, distance in zip(queries, labels, distances):
                ids, values = search(payload, query, len(label), rounded=False)
                apart.append(np.abs(values - distance) / np.abs(distance).max())
                found += len(set(ids) & set(label.tolist()))
                wanted += len(label)
            self.assertLess(np.mean(apart), 0.01, stem)
            self.assertGreater(found, 0.9 * wanted, stem)


if __name__ == "__main__":
    if len(sys.argv) > 1:  # stems of files to check, as tests/storage/save_test.cpp asks
        for stem in sys.argv[1:]:
            check(stem)
            if os.path.exists(stem + "_queries.npy"):
                check_search(stem, 2e-5)  # neighbours are very near there
    else:
        unittest.main()
