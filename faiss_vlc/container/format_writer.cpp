#include <faiss_vlc/container/format.h>

#include <cinttypes>

#include <faiss_vlc/container/format_internal.h>

namespace faiss_vlc {

using namespace container;

namespace {

// Passes bytes on (or nowhere), hashes them, and holds the producer to the size it promised.
class CheckedSink : public ByteSink {
public:
    CheckedSink(const std::string& name, uint64_t size, ByteSink* next)
        : name_(name), size_(size), next_(next) {
        XXH64_reset(&state_, 0);
    }

    void write(const void* data, size_t size) override {
        if (size == 0) {
            return;
        }
        if (size > size_ - written_) {
            fail("section \"%s\": %" PRIu64 " bytes announced, at least %" PRIu64 " produced",
                 name_.c_str(), size_, checked_add(written_, size, name_.c_str()));
        }
        XXH64_update(&state_, data, size);
        written_ += size;
        if (next_ != nullptr) {
            next_->write(data, size);
        }
    }

    uint64_t checksum() const {
        if (written_ != size_) {
            fail("section \"%s\": %" PRIu64 " bytes announced, %" PRIu64 " produced", name_.c_str(),
                 size_, written_);
        }
        return XXH64_digest(&state_);
    }

private:
    const std::string& name_;
    uint64_t size_;
    ByteSink* next_;
    uint64_t written_ = 0;
    XXH64_state_t state_{};
};

} // namespace

void SectionWriter::add(const std::string& name, bool required, const void* data, uint64_t size) {
    add(name, required, size, [data, size](ByteSink& sink) { sink.write(data, size); });
}

void SectionWriter::add(const std::string& name, bool required, std::vector<uint8_t> bytes) {
    const auto kept = std::make_shared<const std::vector<uint8_t>>(std::move(bytes));
    add(name, required, kept->size(),
        [kept](ByteSink& sink) { sink.write(kept->data(), kept->size()); });
}

void SectionWriter::add(const std::string& name, bool required, uint64_t size, Producer producer) {
    if (!valid_name(name)) {
        fail("section \"%s\": a name has 1 to %zu characters of a-z 0-9 _ . -", name.c_str(),
             kMaxSectionName);
    }
    for (const Item& item : items_) {
        if (item.name == name) {
            fail("section \"%s\": added twice", name.c_str());
        }
    }
    if (items_.size() == kMaxSections) {
        fail("section \"%s\": a file has at most %u sections", name.c_str(), kMaxSections);
    }
    items_.push_back({name, required, size, std::move(producer)});
}

void SectionWriter::each(
        const std::function<void(const std::string&, uint64_t, const Producer&)>& visit) const {
    for (const Item& item : items_) {
        visit(item.name, item.size, item.producer);
    }
}

uint64_t SectionWriter::total_size() const {
    uint64_t end = kHeaderSize + kEntrySize * items_.size();
    for (const Item& item : items_) {
        end = checked_add(aligned(end, item.name.c_str()), item.size, item.name.c_str());
    }
    return end;
}

void SectionWriter::write(ByteSink& sink) const {
    static const uint8_t zeros[kSectionAlignment] = {};

    Header header = {};
    memcpy(header.magic, kMagic, sizeof(kMagic));
    header.version = kFormatVersion;
    header.byte_order = kByteOrderMark;
    header.total_size = total_size();
    header.sections = static_cast<uint32_t>(items_.size());

    std::vector<Entry> table;
    table.reserve(items_.size());
    uint64_t end = kHeaderSize + kEntrySize * items_.size();
    for (const Item& item : items_) {
        Entry entry = {};
        memcpy(entry.name, item.name.data(), item.name.size());
        entry.flags = item.required ? kFlagRequired : 0;
        entry.offset = aligned(end, item.name.c_str());
        entry.size = item.size;
        CheckedSink hashing(item.name, item.size, nullptr);
        item.producer(hashing);
        entry.checksum = hashing.checksum();
        table.push_back(entry);
        end = entry.offset + entry.size;
    }
    header.table_checksum = hash(table.data(), kEntrySize * table.size());
    header.checksum = hash(&header, offsetof(Header, checksum));

    sink.write(&header, sizeof(header));
    if (!table.empty()) {
        sink.write(table.data(), kEntrySize * table.size());
    }
    end = kHeaderSize + kEntrySize * table.size();
    for (size_t i = 0; i < items_.size(); i++) {
        if (end != table[i].offset) {
            sink.write(zeros, table[i].offset - end);
        }
        CheckedSink writing(items_[i].name, items_[i].size, &sink);
        items_[i].producer(writing);
        if (writing.checksum() != table[i].checksum) {
            fail("section \"%s\": its data changed while it was being saved",
                 items_[i].name.c_str());
        }
        end = table[i].offset + table[i].size;
    }
}

} // namespace faiss_vlc
