// A .vlc file: raw first, then with its checksums made right, so that mutations reach what is
// behind them.

#include <tests/fuzz/exercise.h>

#include <faiss_vlc/storage/load.h>

namespace {

void load(const Bytes& bytes) {
    attempt([&] {
        faiss::VectorIOReader reader = reader_of(bytes);
        std::unique_ptr<faiss::Index> index(faiss_vlc::read_index(&reader));
        if (auto* vlc = dynamic_cast<faiss_vlc::IndexVLC*>(index.get())) {
            exercise(*vlc);
        }
    });
    // as a mapped file would be: 64 bytes more can be read
    attempt([&] {
        auto copy = std::make_shared<faiss_vlc::AlignedBuffer>(bytes.size() + 64);
        std::copy(bytes.begin(), bytes.end(), copy->data());
        std::memset(copy->data() + bytes.size(), 0, 64);
        const faiss_vlc::Payload payload = {{copy->data(), bytes.size()}, "fuzz", copy};
        attempt([&] { exercise(*faiss_vlc::borrow_seconds(payload)); });
        exercise(*faiss_vlc::borrow_index(payload));
    });
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Bytes bytes(data, data + size);
    load(bytes);
    reseal(bytes.data(), bytes.size());
    load(bytes);
    return 0;
}
