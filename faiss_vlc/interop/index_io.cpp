#include <faiss_vlc/index_io.h>

#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <type_traits>
#include <typeinfo>
#include <vector>

#include <faiss/IndexFlat.h>
#include <faiss/IndexIDMap.h>
#include <faiss/IndexPreTransform.h>
#include <faiss/IndexRefine.h>
#include <faiss/impl/FaissException.h>
#include <faiss/impl/io.h>
#include <faiss/index_io.h>
#include <faiss/invlists/BlockInvertedLists.h>
#include <faiss/invlists/InvertedListsIOHook.h>

#include <faiss_vlc/IndexVLC.h>
#include <faiss_vlc/container/atomic_file.h>
#include <faiss_vlc/container/input_file.h>
#include <faiss_vlc/faiss_version.h>
#include <faiss_vlc/interop/bounded_reader.h>
#include <faiss_vlc/interop/decoded_lists.h>
#include <faiss_vlc/interop/tree.h>
#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/lib/paging.h>
#include <faiss_vlc/lib/parallel.h>
#include <faiss_vlc/search/lists.h>
#include <faiss_vlc/storage/load.h>
#include <faiss_vlc/storage/save.h>

namespace faiss_vlc {

namespace {

constexpr char kFourcc[] = "ilVC";

/// The IndexVLCs of the tree that this thread is writing: a hook gets to see lists only.
thread_local const std::vector<const IndexVLC*>* writing = nullptr;

struct Writing {
    explicit Writing(const faiss::Index& tree) : outer_(writing) {
        collect(const_cast<faiss::Index&>(tree)); // nothing is changed
        writing = &found_;
    }
    ~Writing() { writing = outer_; }
    Writing(const Writing&) = delete;
    Writing& operator=(const Writing&) = delete;

private:
    void collect(faiss::Index& node) {
        if (const auto* vlc = dynamic_cast<const IndexVLC*>(&node)) {
            found_.push_back(vlc);
        }
        each_child(node, [&](faiss::Index*& child, bool) { collect(*child); });
    }
    const std::vector<const IndexVLC*>* outer_;
    std::vector<const IndexVLC*> found_;
};

/// The whole index that has these lists, if this thread is writing it.
const IndexVLC* index_of(const faiss::InvertedLists* lists) {
    if (writing) {
        for (const IndexVLC* index : *writing) {
            if (index->invlists == lists) {
                return index;
            }
        }
    }
    return nullptr;
}

/// Payload inside FAISS's container. Registered for the lists of an IndexVLC, and for those of one
/// that stock FAISS has read and writes again.
struct ListsHook : faiss::InvertedListsIOHook {
    explicit ListsHook(const char* classname) : InvertedListsIOHook(kFourcc, classname) {}

    void write(const faiss::InvertedLists* lists, faiss::IOWriter* writer) const override {
        const auto* decoded = dynamic_cast<const DecodedLists*>(lists);
        const IndexVLC* whole = decoded ? decoded->index.get() : index_of(lists);
        const SectionWriter sections =
                whole ? index_sections(*whole, false)
                      : lists_sections(dynamic_cast<const VLCInvertedLists&>(*lists));
        IOWriterSink sink(*writer);
        sink.write(kFourcc, 4);
        sections.write(sink);
    }

    faiss::InvertedLists* read(faiss::IOReader* reader, int) const override {
        return new DecodedLists(load_index(read_payload(*reader)));
    }
};

bool is_registered(const char* classname) {
    try {
        faiss::InvertedListsIOHook::lookup_classname(classname);
        return true;
    } catch (const faiss::FaissException&) {
        return false;
    }
}

/// A FAISS writer into an AtomicFile.
struct AtomicWriter : faiss::IOWriter {
    explicit AtomicWriter(AtomicFile& target) : file(target) { name = target.path(); }
    size_t operator()(const void* data, size_t size, size_t count) override {
        file.write(data, checked_mul(size, count, "bytes to write"));
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
    bool is_ours() const { return has_magic(bytes_, size_); }
    size_t size() const { return size_; }
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
    char bytes_[8] = {};
    size_t size_ = 0, at_ = 0;
};

/// A flag or enumeration that FAISS read unchecked, as the number that it is.
template <class T>
int raw(const T& value) {
    std::conditional_t<sizeof(T) == 1, uint8_t, int32_t> number;
    static_assert(sizeof(T) == sizeof(number), "a flag or an enumeration");
    std::memcpy(&number, &value, sizeof(number));
    return int(number);
}

/// The container's own fields must say what the payload says.
void check_container(const faiss::IndexIVFFlat& outer, const IndexVLC& inner) {
    const auto expect = [](const char* name, long long outside, long long inside) {
        if (outside != inside) {
            fail("FAISS container: %s is %lld, but %lld in the VLC payload", name, outside, inside);
        }
    };
    expect("d", outer.d, inner.d);
    expect("metric", raw(outer.metric_type), inner.metric_type);
    expect("is_trained", raw(outer.is_trained), inner.is_trained);
    expect("nlist", (long long)outer.nlist, (long long)inner.nlist);
    expect("ntotal", outer.ntotal, inner.ntotal);
    const auto* flat = dynamic_cast<const faiss::IndexFlat*>(outer.quantizer);
    const auto* anchors = dynamic_cast<const faiss::IndexFlat*>(inner.quantizer);
    if (!flat || flat->d != anchors->d || raw(flat->metric_type) != anchors->metric_type ||
        !std::equal(flat->codes.begin(), flat->codes.end(), anchors->codes.begin(),
                    anchors->codes.end())) {
        fail("FAISS container: its quantizer differs from the anchors in the VLC payload");
    }
    const int direct_map = raw(outer.direct_map.type);
    if (direct_map < faiss::DirectMap::NoMap || direct_map > faiss::DirectMap::Hashtable) {
        fail("FAISS container: expected a direct map of type 0, 1 or 2, got %d", direct_map);
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
    inner.verbose = outer->verbose;
    if (outer->max_codes != 0) { // the container has no place for it: set since
        inner.max_codes = outer->max_codes;
    }
    // FAISS writes an array that it has refused to fill, as it keeps one
    if (outer->direct_map.type != faiss::DirectMap::Array ||
        inner.lists().ids_below(size_t(inner.ntotal))) {
        inner.set_direct_map_type(outer->direct_map.type);
    }
    faiss::Index* result = decoded->index.release();
    delete node;
    return result;
}

/// An IndexVLC, or the one in what stock FAISS made of it; else null.
const IndexVLC* vlc_in(const faiss::Index& node) {
    if (const auto* outer = dynamic_cast<const faiss::IndexIVFFlat*>(&node)) {
        if (const auto* decoded = dynamic_cast<const DecodedLists*>(outer->invlists)) {
            return decoded->index.get();
        }
    }
    return dynamic_cast<const IndexVLC*>(&node);
}

/// Wrappers use what the index below them returns to address their own tables, unchecked: ids must
/// be below `limit` (negative: any). Dimensions must agree, too. `what` leads the message.
void check_tree(const char* what, faiss::Index& node, int64_t limit) {
    if (const auto* vlc = vlc_in(node)) {
        const VLCInvertedLists& lists = vlc->lists();
        for (size_t j = 0; limit >= 0 && j < lists.nlist; j++) {
            for (size_t i = 0; i < lists.list_size(j); i++) {
                if (lists.id(j, i) < 0 || lists.id(j, i) >= limit) {
                    fail("%s: the IndexVLC holds id %lld, expected 0 to %lld", what,
                         (long long)lists.id(j, i), (long long)limit - 1);
                }
            }
        }
        return;
    }
    int d = node.d;
    bool same_d = true;
    if (const auto* transform = dynamic_cast<const faiss::IndexPreTransform*>(&node)) {
        for (const faiss::VectorTransform* step : transform->chain) {
            if (step->d_in != d) {
                fail("%s: a transformation takes %d dimensions, %d arrive", what, step->d_in, d);
            }
            d = step->d_out;
        }
    } else if (const auto* map = dynamic_cast<const faiss::IndexIDMap*>(&node)) {
        limit = int64_t(map->id_map.size());
        if (map->ntotal != limit) {
            fail("%s: an IDMap of %lld vectors has %lld ids", what, (long long)map->ntotal,
                 (long long)limit);
        }
    } else if (const auto* refine = dynamic_cast<const faiss::IndexRefine*>(&node)) {
        limit = refine->refine_index->ntotal;
    } else if (const auto* ivf = dynamic_cast<const faiss::IndexIVF*>(&node)) {
        limit = int64_t(ivf->nlist); // of its quantizer
    } else {
        same_d = false;
    }
    each_child(node, [&](faiss::Index*& child, bool) {
        if (same_d && child->d != d) {
            fail("%s: an index of %d dimensions where %d arrive", what, child->d, d);
        }
        check_tree(what, *child, limit);
    });
}

/// Before writing: what check_tree() would refuse to read is better noticed now.
void check_writable(faiss::Index& node) {
    bool ours = false;
    const std::function<void(faiss::Index&)> look = [&](faiss::Index& one) {
        ours = ours || vlc_in(one);
        each_child(one, [&](faiss::Index*& child, bool) { look(*child); });
    };
    look(node);
    if (ours) {
        check_tree("saving", node, -1);
    }
}

} // namespace

namespace {

void add_hooks() {
    mind_forks();
    static std::mutex mutex;
    const std::lock_guard<std::mutex> lock(mutex);
    // Before main, FAISS's table may not exist yet, and what is put there would be lost: then its
    // own hooks are missing too, and a later call will do.
    if (!is_registered(typeid(faiss::BlockInvertedLists).name())) {
        return;
    }
    for (const char* name : {typeid(VLCInvertedLists).name(), typeid(DecodedLists).name()}) {
        if (!is_registered(name)) {
            faiss::InvertedListsIOHook::add_callback(new ListsHook(name));
        }
    }
}

// For programs that only load this library, where FAISS is a shared one that was initialised first.
[[maybe_unused]] const bool kRegisteredAtStart = (add_hooks(), true);

} // namespace

void register_hooks() {
    static const std::string mismatch = faiss_mismatch();
    if (!mismatch.empty()) {
        fail("%s", mismatch.c_str());
    }
    add_hooks();
}

faiss::Index* upgrade(faiss::Index* index) {
    register_hooks();
    if (!index) {
        fail("upgrade: expected an index, got null");
    }
    bool changed = false;
    std::unique_ptr<faiss::Index> tree(replace_nodes(index, [&](faiss::Index* node) {
        faiss::Index* result = upgrade_node(node);
        changed |= result != node;
        return result;
    }));
    if (changed) {
        check_tree("FAISS container", *tree, -1);
    }
    mark_id_maps(*tree);
    return tree.release();
}

namespace {

void check_write_flags(int io_flags) {
    if (!FAISS_VLC_HAS_WRITE_FLAGS && io_flags != 0) {
        fail("write_index: FAISS %s has no flags for writing: expected 0, got %d",
             compiled_faiss().c_str(), io_flags);
    }
}

void write_tree(const faiss::Index* index, faiss::IOWriter* writer, [[maybe_unused]] int io_flags) {
    const Writing scope(*index);
#if FAISS_VLC_HAS_WRITE_FLAGS
    faiss::write_index(index, writer, io_flags);
#else
    faiss::write_index(index, writer);
#endif
}

} // namespace

void write_index(const faiss::Index* index, const char* path, int io_flags) {
    register_hooks();
    if (!index || !path) {
        fail("write_index: expected an index and a path, got null");
    }
    check_write_flags(io_flags);
    if (const auto* vlc = dynamic_cast<const IndexVLC*>(index)) {
        save_index(*vlc, path);
        return;
    }
    check_writable(const_cast<faiss::Index&>(*index)); // nothing is changed
    const Writing scope(*index);
    AtomicFile file(path);
    AtomicWriter writer(file);
    write_tree(index, &writer, io_flags);
    file.commit();
}

void write_index(const faiss::Index* index, faiss::IOWriter* writer, int io_flags) {
    register_hooks();
    if (!index || !writer) {
        fail("write_index: expected an index and a writer, got null");
    }
    check_write_flags(io_flags);
    if (const auto* vlc = dynamic_cast<const IndexVLC*>(index)) {
        IOWriterSink sink(*writer);
        index_sections(*vlc).write(sink);
        return;
    }
    check_writable(const_cast<faiss::Index&>(*index)); // nothing is changed
    const Writing scope(*index);
    write_tree(index, writer, io_flags);
}

namespace {

/// Later versions of FAISS save and read null.
faiss::Index* upgrade_read(faiss::Index* index) {
    return index ? upgrade(index) : nullptr;
}

} // namespace

faiss::Index* read_index(const char* path, int io_flags) {
    register_hooks();
    if (!path) {
        fail("read_index: expected a path, got null");
    }
    const bool map_second = (io_flags & IO_FLAG_MMAP_SECOND) != 0;
    io_flags &= ~IO_FLAG_MMAP_SECOND;
    struct stat status {};
    if (stat(path, &status) == 0 && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode)) {
        faiss::FileIOReader stream(path); // a pipe is read once, front to back
        return faiss_vlc::read_index(&stream, io_flags);
    }
    const InputFile file(path);
    uint8_t magic[8];
    const uint64_t size = std::min<uint64_t>(sizeof(magic), file.size());
    file.read_at(0, magic, size);
    if (has_magic(magic, size)) {
        if ((io_flags & faiss::IO_FLAG_MMAP) == faiss::IO_FLAG_MMAP) {
            return borrow_index(map_file(path)).release();
        }
        if (map_second) {
            const Payload payload = map_file(path);
            std::unique_ptr<IndexVLC> index = borrow_seconds(payload);
            leave_pages(payload.bytes.data, payload.bytes.size); // what was copied, above all
            return index.release();
        }
        return load_index(load_file(path)).release();
    }
    BoundedFileReader bounded(path);
    return upgrade_read(faiss::read_index(&bounded, io_flags));
}

faiss::Index* read_index(faiss::IOReader* reader, int io_flags) {
    register_hooks();
    if (!reader) {
        fail("read_index: expected a reader, got null");
    }
    io_flags &= ~IO_FLAG_MMAP_SECOND; // streams are read
    const uint64_t left = bytes_left(*reader);
    PeekedReader peeked(*reader);
    if (peeked.is_ours()) {
        return load_index(read_payload(peeked)).release();
    }
    // FAISS maps a file only through its own reader: go back where that is possible
    const auto* file = dynamic_cast<const faiss::FileIOReader*>(reader);
    if (file && fseeko(file->f, -off_t(peeked.size()), SEEK_CUR) == 0) {
        BoundedFileReader bounded(file->f);
        bounded.name = file->name;
        return upgrade_read(faiss::read_index(&bounded, io_flags));
    }
    BoundedReader bounded(peeked, left);
    return upgrade_read(faiss::read_index(&bounded, io_flags));
}

} // namespace faiss_vlc
