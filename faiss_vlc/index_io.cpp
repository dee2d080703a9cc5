#include <faiss_vlc/index_io.h>

#include <algorithm>
#include <cstring>
#include <mutex>

#include <faiss/IndexFlat.h>
#include <faiss/impl/io.h>
#include <faiss/index_io.h>
#include <faiss/invlists/InvertedListsIOHook.h>

#include <faiss_vlc/IndexVLC.h>
#include <faiss_vlc/atomic_file.h>
#include <faiss_vlc/decoded_lists.h>
#include <faiss_vlc/error.h>
#include <faiss_vlc/load.h>
#include <faiss_vlc/save.h>
#include <faiss_vlc/tree.h>

namespace faiss_vlc {

namespace {

constexpr char kFourcc[] = "ilVC";

/// Payload inside FAISS's container. Registered for the lists of an IndexVLC, and for those of one
/// that stock FAISS has read and writes again.
struct ListsHook : faiss::InvertedListsIOHook {
    explicit ListsHook(const char* classname) : InvertedListsIOHook(kFourcc, classname) {}

    void write(const faiss::InvertedLists* lists, faiss::IOWriter* writer) const override {
        const auto* decoded = dynamic_cast<const DecodedLists*>(lists);
        const auto& packed = decoded ? decoded->index->lists()
                                     : dynamic_cast<const VLCInvertedLists&>(*lists);
        IOWriterSink sink(*writer);
        sink.write(kFourcc, 4);
        lists_sections(packed).write(sink);
    }

    faiss::InvertedLists* read(faiss::IOReader* reader, int) const override {
        return new DecodedLists(load_index(read_payload(*reader)));
    }
};

/// A FAISS writer into an AtomicFile.
struct AtomicWriter : faiss::IOWriter {
    explicit AtomicWriter(AtomicFile& target) : file(target) {
        name = target.path();
    }
    size_t operator()(const void* data, size_t size, size_t count) override {
        file.write(data, size * count);
        return count;
    }
    AtomicFile& file;
};

/// A reader whose first bytes have been looked at.
struct PeekedReader : faiss::IOReader {
    explicit PeekedReader(faiss::IOReader& rest) : rest_(rest) {
        name = rest.name;
        size_ = rest(bytes_, 1, sizeof(bytes_));
    }
    bool is_ours() const {
        return has_magic(bytes_, size_);
    }
    size_t operator()(void* out, size_t size, size_t count) override {
        const size_t wanted = checked_mul(size, count, "bytes to read");
        const size_t ready = std::min(wanted, size_ - at_);
        if (ready > 0) { // FAISS reads empty vectors into a null pointer
            std::memcpy(out, bytes_ + at_, ready);
        }
        at_ += ready;
        size_t met = ready;
        if (met < wanted) {
            met += rest_(static_cast<char*>(out) + met, 1, wanted - met);
        }
        return size ? met / size : 0;
    }

private:
    faiss::IOReader& rest_;
    char bytes_[8];
    size_t size_ = 0, at_ = 0;
};

/// The container's own fields must say what the payload says.
void check_container(const faiss::IndexIVFFlat& outer, const IndexVLC& inner) {
    const auto expect = [](const char* name, long long outside, long long inside) {
        if (outside != inside) {
            fail("FAISS container: %s is %lld, but %lld in the VLC payload", name, outside, inside);
        }
    };
    expect("d", outer.d, inner.d);
    expect("metric", outer.metric_type, inner.metric_type);
    expect("nlist", (long long)outer.nlist, (long long)inner.nlist);
    expect("ntotal", outer.ntotal, inner.ntotal);
    const auto* flat = dynamic_cast<const faiss::IndexFlat*>(outer.quantizer);
    const auto* anchors = dynamic_cast<const faiss::IndexFlat*>(inner.quantizer);
    if (!flat || flat->codes.size() != anchors->codes.size() ||
        std::memcmp(flat->codes.data(), anchors->codes.data(), flat->codes.size()) != 0) {
        fail("FAISS container: its quantizer differs from the anchors in the VLC payload");
    }
    if (outer.nprobe < 1) {
        fail("FAISS container: expected nprobe >= 1, got %zu", outer.nprobe);
    }
}

faiss::Index* upgrade_node(faiss::Index* node) {
    auto* outer = dynamic_cast<faiss::IndexIVFFlat*>(node);
    auto* decoded = outer ? dynamic_cast<DecodedLists*>(outer->invlists) : nullptr;
    if (!decoded) {
        return node;
    }
    check_container(*outer, *decoded->index);
    IndexVLC& inner = *decoded->index;
    inner.nprobe = outer->nprobe;
    inner.max_codes = outer->max_codes;
    inner.verbose = outer->verbose;
    if (!outer->direct_map.no()) {
        inner.set_direct_map_type(outer->direct_map.type);
    }
    faiss::Index* result = decoded->index.release();
    delete node;
    return result;
}

} // namespace

void register_hooks() {
    static std::once_flag once;
    std::call_once(once, [] {
        for (const char* name : {typeid(VLCInvertedLists).name(), typeid(DecodedLists).name()}) {
            faiss::InvertedListsIOHook::add_callback(new ListsHook(name));
        }
    });
}

faiss::Index* upgrade(faiss::Index* index) {
    register_hooks();
    return replace_nodes(index, upgrade_node);
}

void write_index(const faiss::Index* index, const char* path) {
    register_hooks();
    if (const auto* vlc = dynamic_cast<const IndexVLC*>(index)) {
        save_index(*vlc, path);
        return;
    }
    AtomicFile file(path);
    AtomicWriter writer(file);
    faiss::write_index(index, &writer);
    file.commit();
}

void write_index(const faiss::Index* index, faiss::IOWriter* writer) {
    register_hooks();
    if (const auto* vlc = dynamic_cast<const IndexVLC*>(index)) {
        IOWriterSink sink(*writer);
        index_sections(*vlc).write(sink);
        return;
    }
    faiss::write_index(index, writer);
}

faiss::Index* read_index(const char* path, int io_flags) {
    register_hooks();
    InputFile file(path);
    uint8_t magic[8];
    const uint64_t size = std::min<uint64_t>(sizeof(magic), file.size());
    file.read(magic, 0, size);
    if (has_magic(magic, size)) {
        return load_index(load_file(path)).release();
    }
    return upgrade(faiss::read_index(path, io_flags));
}

faiss::Index* read_index(faiss::IOReader* reader, int io_flags) {
    register_hooks();
    PeekedReader peeked(*reader);
    if (peeked.is_ours()) {
        return load_index(read_payload(peeked)).release();
    }
    return upgrade(faiss::read_index(&peeked, io_flags));
}

} // namespace faiss_vlc
