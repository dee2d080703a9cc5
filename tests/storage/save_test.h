#pragma once

#include <cstring>
#include <memory>
#include <string>

#include <faiss_vlc/storage/load.h>
#include <faiss_vlc/storage/save.h>

#include <tests/support/index_test.h>

/// What the tests of saved indexes share.
namespace faiss_vlc {

inline std::unique_ptr<IndexVLC> index_of(const Bytes& bytes) {
    // a copy of just these bytes on the heap, so that the sanitizer sees every step beyond them
    const std::shared_ptr<uint8_t[]> copy(new uint8_t[bytes.size()]);
    std::copy(bytes.begin(), bytes.end(), copy.get());
    return load_index(Payload{{copy.get(), bytes.size()}, "x.vlc", copy});
}

/// The container with the content of sections changed, and all checksums right.
template <class Change>
Bytes forged(const Bytes& good, Change change) {
    const SectionReader sections(Payload{{good.data(), good.size()}, "x.vlc", nullptr});
    SectionWriter writer;
    for (const Section& s : sections.sections()) {
        Bytes content(s.bytes.data, s.bytes.data + s.bytes.size);
        if (change(s.name, content)) {
            writer.add(s.name, s.required, std::move(content));
        }
    }
    faiss::VectorIOWriter out;
    IOWriterSink sink(out);
    writer.write(sink);
    return out.data;
}

template <class T>
Bytes with(const Bytes& good, const char* section, size_t at, T value) {
    bool done = false;
    const Bytes bad = forged(good, [&](const std::string& name, Bytes& content) {
        if (name == section && at + sizeof(value) <= content.size()) {
            std::memcpy(&content[at], &value, sizeof(value));
            done = true;
        }
        return true;
    });
    EXPECT_TRUE(done) << section << " has no byte " << at;
    return bad;
}

inline std::unique_ptr<IndexVLC> small_index(AnchorGrid grid = AnchorGrid::int8) {
    VLCParameters params = quick(3, 5);
    params.grid = grid;
    auto index = std::make_unique<IndexVLC>(5, params);
    const std::vector<float> x = clustered(60, 5, 3, 9);
    index->train(60, x.data());
    index->add(20, x.data());
    return index;
}

} // namespace faiss_vlc
