#include <faiss_vlc/container/format.h>

#include <algorithm>
#include <cinttypes>

#include <faiss/impl/io.h>

#include <faiss_vlc/container/format_internal.h>

namespace faiss_vlc {

using namespace container;

namespace {

constexpr uint64_t kFirstRead = 64 << 10;
static_assert(kBufferAlignment % kSectionAlignment == 0, "sections are aligned in memory too");

std::string quoted(const std::string& origin, const std::string& section) {
    return origin + ": section \"" + section + "\"";
}

void check_magic(const void* data, size_t size, const std::string& origin) {
    const size_t known = std::min(size, sizeof(kMagic));
    if (known == 0) {
        fail("%s: empty, a header of %" PRIu64 " bytes expected", origin.c_str(), kHeaderSize);
    }
    if (memcmp(data, kMagic, known) != 0) {
        fail("%s: header: not a VLC index (first bytes 89 56 4c 43 0d 0a 1a 0a expected, the first "
             "that differs is byte %td)",
             origin.c_str(),
             std::mismatch(kMagic, kMagic + known, (const uint8_t*)data).first - kMagic);
    }
}

Header parse_header(const uint8_t* data, uint64_t available, const std::string& origin) {
    const char* o = origin.c_str();
    check_magic(data, available, origin);
    if (available < kHeaderSize) {
        fail("%s: header: cut off, %" PRIu64 " bytes expected, %" PRIu64 " met", o, kHeaderSize,
             available);
    }
    Header header{};
    memcpy(&header, data, sizeof(header));
    if (header.byte_order != kByteOrderMark) {
        fail("%s: header: byte order mark %08x expected, %08x met", o, kByteOrderMark,
             header.byte_order);
    }
    const uint64_t checksum = hash(data, offsetof(Header, checksum));
    if (header.checksum != checksum) {
        fail("%s: header: damaged, its bytes have checksum %016" PRIx64 ", it says %016" PRIx64, o,
             checksum, header.checksum);
    }
    if (header.version != kFormatVersion) {
        fail("%s: header: format version %u expected, %u met", o, kFormatVersion, header.version);
    }
    if (header.flags != 0 || header.reserved[0] != 0 || header.reserved[1] != 0) {
        fail("%s: header: flags and reserved fields are 0 in version %u, met flags %08x, reserved "
             "%016" PRIx64 " %016" PRIx64,
             o, kFormatVersion, header.flags, header.reserved[0], header.reserved[1]);
    }
    if (header.sections > kMaxSections) {
        fail("%s: header: at most %u sections expected, %u met", o, kMaxSections, header.sections);
    }
    const uint64_t least = kHeaderSize + kEntrySize * header.sections;
    if (header.total_size < least) {
        fail("%s: header: total size %" PRIu64 " met, its %u sections need %" PRIu64, o,
             header.total_size, header.sections, least);
    }
    return header;
}

// The sections without their bytes. Offsets follow from sizes, so one comparison an entry rules
// out overlap, disorder, misalignment and hidden bytes.
std::vector<Section> parse_table(const Header& header, const uint8_t* data, uint64_t available,
                                 const std::string& origin) {
    const char* o = origin.c_str();
    const uint64_t table_size = kEntrySize * header.sections;
    if (available < table_size) {
        fail("%s: section table: cut off, %" PRIu64 " bytes expected, %" PRIu64 " met", o,
             table_size, available);
    }
    const uint64_t checksum = hash(data, table_size);
    if (header.table_checksum != checksum) {
        fail("%s: section table: damaged, its bytes have checksum %016" PRIx64
             ", the header says %016" PRIx64,
             o, checksum, header.table_checksum);
    }
    std::vector<Section> sections;
    sections.reserve(header.sections);
    std::vector<std::string> names;
    uint64_t end = kHeaderSize + table_size;
    for (uint32_t i = 0; i < header.sections; i++) {
        Entry entry{};
        memcpy(&entry, data + kEntrySize * i, sizeof(entry));
        const std::string name(entry.name, strnlen(entry.name, sizeof(entry.name)));
        if (!valid_name(name) ||
            std::any_of(entry.name + name.size(), entry.name + sizeof(entry.name),
                        [](char c) { return c != 0; })) {
            fail("%s: section table: entry %u: a name of 1 to 16 characters of a-z 0-9 _ . - and "
                 "zeros behind it expected",
                 o, i);
        }
        const std::string what = quoted(origin, name);
        if ((entry.flags & ~kFlagRequired) != 0 || entry.reserved != 0) {
            fail("%s: flags 0 or 1 and reserved 0 expected, %08x and %08x met", what.c_str(),
                 entry.flags, entry.reserved);
        }
        const uint64_t offset = aligned(end, what.c_str());
        if (entry.offset != offset) {
            fail("%s: offset %" PRIu64 " expected, %" PRIu64 " met", what.c_str(), offset,
                 entry.offset);
        }
        end = checked_add(offset, entry.size, what.c_str());
        if (end > header.total_size) {
            fail("%s: ends at byte %" PRIu64 ", behind the total size of %" PRIu64, what.c_str(),
                 end, header.total_size);
        }
        sections.push_back({name,
                            (entry.flags & kFlagRequired) != 0,
                            offset,
                            {nullptr, entry.size},
                            entry.checksum});
        names.push_back(name);
    }
    std::sort(names.begin(), names.end());
    const auto twice = std::adjacent_find(names.begin(), names.end());
    if (twice != names.end()) {
        fail("%s: in the table twice", quoted(origin, *twice).c_str());
    }
    if (end != header.total_size) {
        fail("%s: header: total size %" PRIu64 " met, the sections end at byte %" PRIu64, o,
             header.total_size, end);
    }
    return sections;
}

[[noreturn]] void fail_cut_off(const std::vector<Section>& sections, uint64_t expected,
                               uint64_t met, const std::string& origin) {
    // The first section that is not whole, whether the cut is in it or in the padding before it.
    const auto hit = std::find_if(sections.begin(), sections.end(), [&](const Section& section) {
        return section.offset + section.bytes.size > met;
    });
    fail("%s: cut off, %" PRIu64 " bytes expected, %" PRIu64 " met",
         hit == sections.end() ? origin.c_str() : quoted(origin, hit->name).c_str(), expected, met);
}

} // namespace

bool has_magic(const void* data, size_t size) {
    return size >= sizeof(kMagic) && memcmp(data, kMagic, sizeof(kMagic)) == 0;
}

Payload map_file(const std::string& path) {
    const auto file = std::make_shared<const MappedFile>(path);
    return {file->bytes(), path, file};
}

Payload load_file(const std::string& path) {
    const InputFile file(path);
    uint8_t start[kHeaderSize];
    const uint64_t known = std::min(file.size(), kHeaderSize);
    file.read_at(0, start, known);
    parse_header(start, known, path);
    const auto buffer = std::make_shared<const AlignedBuffer>(file.size());
    file.read_at(0, buffer->data(), file.size());
    return {{buffer->data(), buffer->size()}, path, buffer};
}

Payload read_payload(faiss::IOReader& reader) {
    const std::string origin = reader.name.empty() ? "stream" : reader.name;
    auto buffer = std::make_shared<AlignedBuffer>(kFirstRead);
    uint64_t have = 0;
    // Reads until `end` bytes are there or the stream ends.
    const auto read_to = [&](uint64_t end) {
        while (have < end) {
            const size_t got = reader(buffer->data() + have, 1, end - have);
            if (got == 0 || got > end - have) {
                return;
            }
            have += got;
        }
    };

    read_to(kHeaderSize);
    const Header header = parse_header(buffer->data(), have, origin);
    const uint64_t table_end = kHeaderSize + kEntrySize * header.sections;
    static_assert(kHeaderSize + kEntrySize * kMaxSections <= kFirstRead, "the table fits");
    read_to(table_end);
    const std::vector<Section> sections =
            parse_table(header, buffer->data() + kHeaderSize, have - kHeaderSize, origin);

    uint64_t goal = std::min(header.total_size, kFirstRead);
    read_to(goal);
    while (have == goal && goal < header.total_size) {
        goal = std::min(header.total_size, 2 * goal);
        auto larger = std::make_shared<AlignedBuffer>(goal);
        memcpy(larger->data(), buffer->data(), have);
        buffer = std::move(larger);
        read_to(goal);
    }
    if (have != header.total_size) {
        fail_cut_off(sections, header.total_size, have, origin);
    }
    return {{buffer->data(), have}, origin, buffer};
}

SectionReader::SectionReader(Payload payload) : payload_(std::move(payload)) {
    const ByteSpan all = payload_.bytes;
    const std::string& origin = payload_.origin;
    const Header header = parse_header(all.data, all.size, origin);
    version_ = header.version;
    fingerprint_ = header.checksum;
    sections_ = parse_table(header, all.data + kHeaderSize, all.size - kHeaderSize, origin);
    if (all.size < header.total_size) {
        fail_cut_off(sections_, header.total_size, all.size, origin);
    }
    if (all.size > header.total_size) {
        fail("%s: %" PRIu64 " bytes expected, %" PRIu64 " met: something follows the last section",
             origin.c_str(), header.total_size, all.size);
    }
    uint64_t end = kHeaderSize + kEntrySize * header.sections;
    for (Section& section : sections_) {
        for (; end < section.offset; end++) {
            if (all.data[end] != 0) {
                fail("%s: padding before it: 0 expected at byte %" PRIu64 ", %02x met",
                     quoted(origin, section.name).c_str(), end, all.data[end]);
            }
        }
        section.bytes.data = all.data + section.offset;
        end += section.bytes.size;
    }
}

SectionReader::SectionReader(Payload payload, const std::vector<std::string>& known)
    : SectionReader(std::move(payload)) {
    for (const Section& section : sections_) {
        const bool is_known = std::find(known.begin(), known.end(), section.name) != known.end();
        if (section.required && !is_known) {
            fail("%s: required, but unknown to this version of the library",
                 quoted(payload_.origin, section.name).c_str());
        }
    }
}

ByteReader SectionReader::read(const std::string& name) const {
    return ByteReader(section(name), quoted(payload_.origin, name));
}

const Section* SectionReader::find(const std::string& name) const {
    const auto found = std::find_if(sections_.begin(), sections_.end(),
                                    [&](const Section& section) { return section.name == name; });
    return found == sections_.end() ? nullptr : &*found;
}

const Section& SectionReader::get(const std::string& name) const {
    const Section* section = find(name);
    if (section == nullptr) {
        fail("%s: missing", quoted(payload_.origin, name).c_str());
    }
    return *section;
}

const uint8_t* SectionReader::view_bytes(const std::string& name, uint64_t count,
                                         size_t element) const {
    const ByteSpan bytes = section(name);
    const std::string what = quoted(payload_.origin, name);
    const uint64_t size = checked_mul(count, element, what.c_str());
    if (bytes.size != size) {
        fail("%s: %" PRIu64 " elements of %zu bytes expected, %" PRIu64 " bytes met", what.c_str(),
             count, element, bytes.size);
    }
    if (reinterpret_cast<uintptr_t>(bytes.data) % element != 0) {
        fail("%s: its address is not a multiple of %zu", what.c_str(), element);
    }
    return bytes.data;
}

void SectionReader::verify(const Section& section) const {
    const uint64_t checksum = hash(section.bytes.data, section.bytes.size);
    if (checksum != section.checksum) {
        fail("%s: damaged, its %" PRIu64 " bytes have checksum %016" PRIx64
             ", the table says %016" PRIx64,
             quoted(payload_.origin, section.name).c_str(), section.bytes.size, checksum,
             section.checksum);
    }
}

void SectionReader::verify_all() const {
    for (const Section& section : sections_) {
        verify(section);
    }
}

} // namespace faiss_vlc
