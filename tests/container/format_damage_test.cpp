// A damaged or forged container is refused, and the fault named.

#include <tests/container/format_test.h>

using namespace faiss_vlc;

namespace {

void expect_forgery_refused(const Bytes& forged, const std::string& part) {
    EXPECT_ERROR(open_all(exact(sealed(forged))), part);
    EXPECT_ERROR(stream_all(sealed(forged)), part);
}

} // namespace

TEST(FormatDamage, EveryTruncationIsNamed) {
    const Bytes whole = tiny();
    for (size_t size = 0; size < whole.size(); size++) {
        const Bytes cut(whole.begin(), whole.begin() + size);
        const char* part = size == 0          ? "empty"
                           : size < 64        ? "header: cut off, 64 bytes expected"
                           : size < kTableEnd ? "section table: cut off, 96 bytes expected"
                           : size < kMetaEnd  ? "section \"meta\": cut off, 261 bytes expected"
                                              : "section \"note\": cut off, 261 bytes expected";
        EXPECT_ERROR(open_all(exact(cut)), part);
        EXPECT_ERROR(stream_all(cut), part);
    }
}

TEST(FormatDamage, EveryFlippedByteIsNamed) {
    const Bytes whole = tiny();
    for (size_t at = 0; at < whole.size(); at++) {
        for (const int flip : {0x01, 0x80, 0xff}) {
            Bytes bad = whole;
            bad[at] = uint8_t(bad[at] ^ flip);
            const char* part = at < 8    ? "header: not a VLC index"
                               : at < 64 ? (at / 4 == 3 ? "header: byte order" : "header: damaged")
                               : at < kTableEnd ? "section table: damaged"
                               : at < kMeta     ? "section \"meta\": padding"
                               : at < kMetaEnd  ? "section \"meta\": damaged"
                               : at < kNote     ? "section \"note\": padding"
                                                : "section \"note\": damaged";
            EXPECT_ERROR(open_all(exact(bad)), part);
            EXPECT_ERROR(stream_all(bad), part);
        }
    }
}

TEST(FormatDamage, ForgedNumbersAreRefused) {
    const Bytes good = tiny();
    open_all(exact(sealed(good)));
    const uint64_t huge[] = {uint64_t(1) << 32, uint64_t(1) << 60, ~uint64_t(0) - 63,
                             ~uint64_t(0) - 1, ~uint64_t(0)};
    for (const uint64_t value : huge) {
        expect_forgery_refused(with(good, 16, value), "header: total size");
        expect_forgery_refused(with(good, kNoteEntry + 24, value), "\"note\": offset 256 expected");
        expect_forgery_refused(with(good, kMetaEntry + 32, value), "section \"meta\": ");
        expect_forgery_refused(with(good, kNoteEntry + 32, value), "section \"note\": ");
        // A total size that agrees with the lie.
        if (value < uint64_t(1) << 61) {
            const Bytes lie = with(with(good, kNoteEntry + 32, value), 16, value + kNote);
            expect_forgery_refused(lie, "section \"note\": cut off");
        }
    }
    for (const uint64_t total : {0, 64, 159}) {
        expect_forgery_refused(with(good, 16, total), "header: total size");
    }
    expect_forgery_refused(with(good, 16, uint64_t(260)), "section \"note\": ends at byte 261");
    expect_forgery_refused(with(good, 16, uint64_t(262)), "the sections end at byte 261");
    for (const uint64_t offset : {0, 160, 193, 256}) {
        const Bytes moved = with(good, kMetaEntry + 24, offset);
        expect_forgery_refused(moved, "section \"meta\": offset 192 expected");
    }
    expect_forgery_refused(with(good, kNoteEntry + 24, uint64_t(192)), "\"note\": offset 256");
    expect_forgery_refused(with(good, kNoteEntry + 32, uint64_t(4)), "the sections end at");
    expect_forgery_refused(with(good, kMetaEntry + 32, uint64_t(9)), "\"meta\": damaged");
    expect_forgery_refused(with(good, 24, 0u), "the sections end at byte 64");
    expect_forgery_refused(with(good, 24, 1u), "section \"meta\": offset 128 expected, 192 met");
    expect_forgery_refused(with(good, 24, 3u), "section \"meta\": offset 256 expected, 192 met");
    expect_forgery_refused(with(good, 24, 5u), "its 5 sections need 304");
    expect_forgery_refused(with(good, 24, 1024u), "its 1024 sections need 49216");
    for (const uint32_t count : {1025u, 0x10000000u, 0xffffffffu}) {
        expect_forgery_refused(with(good, 24, count), "at most 1024 sections");
    }
    expect_forgery_refused(with(good, 8, 2u), "format version 1 expected, 2 met");
    expect_forgery_refused(with(good, 8, 0u), "format version 1 expected, 0 met");
    expect_forgery_refused(with(good, 12, 0x04030201u), "byte order mark 01020304 expected, 0403");
    expect_forgery_refused(with(good, 28, 1u), "header: flags");
    expect_forgery_refused(with(good, 55, uint8_t(1)), "header: flags");
    expect_forgery_refused(with(good, kMetaEntry + 16, 3u), "section \"meta\": flags");
    expect_forgery_refused(with(good, kMetaEntry + 20, 1u), "section \"meta\": flags");
    expect_forgery_refused(with(good, kNoteEntry, good[0]), "entry 1: a name");
    expect_forgery_refused(with(good, kNoteEntry, uint64_t(0)), "entry 1: a name");
    expect_forgery_refused(with(good, kNoteEntry + 15, 'x'), "entry 1: a name");
    Bytes twice = good;
    std::copy_n(good.begin() + kMetaEntry, 4, twice.begin() + kNoteEntry);
    expect_forgery_refused(twice, "section \"meta\": in the table twice");
}

TEST(FormatDamage, LyingSizeCostsNoMemory) {
    const Bytes zeros(300000);
    SectionWriter writer;
    writer.add("zeros", kRequired, zeros.data(), zeros.size());
    const uint64_t size = uint64_t(1) << 40;
    SlowReader in;
    in.data = sealed(with(with(written(writer), 64 + 32, size), 16, size + 128));
    EXPECT_ERROR(read_payload(in), "section \"zeros\": cut off, 1099511627904 bytes expected");
    EXPECT_LE(in.largest, 2 * in.data.size());
}
