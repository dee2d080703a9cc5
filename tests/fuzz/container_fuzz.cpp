// FAISS's container around our payload, through faiss_vlc::read_index.

#include <tests/fuzz/exercise.h>

#include <algorithm>

#include <faiss_vlc/interop/tree.h>

namespace {

constexpr char kPayload[] = "ilVC";

void find_and_exercise(faiss::Index& index) {
    if (auto* vlc = dynamic_cast<faiss_vlc::IndexVLC*>(&index)) {
        exercise(*vlc);
    }
    faiss_vlc::each_child(index, [](faiss::Index*& child, bool) { find_and_exercise(*child); });
}

/// Kinds of FAISS's whose readers crash or allocate without bounds on bad content (FAISS 1.7.3):
/// not ours to mend, so not fuzzed.
bool is_left_out(const Bytes& bytes) {
    for (const char* kind :
         {"IxPQ", "IxPo", "IxPq", "IwPQ", "IvPQ", "IwQR", "IvQR", "IxRQ", "IxRq", "IxLS",
          "IxPR", "IxPL", "ImRQ", "ILfs", "IRfs", "IPRf", "IPLf", "IVLf", "IVRf", "NPLf",
          "NPRf", "IwLS", "IwRQ", "IwPL", "IwPR", "IPfs", "IwPf", "IxLa", "IxHE", "IxHe",
          "IHN",  "INSG", "INND", "INSf", "Ix2L", "Imiq", "ImII", "IwSh", "IvFl", "IvFL",
          "IvSQ", "IwFd", "IRMf", "IRMh", "ilod", "Viqt"}) {
        if (std::search(bytes.begin(), bytes.end(), kind, &kind[std::strlen(kind)]) !=
            bytes.end()) {
            return true;
        }
    }
    // FAISS 1.7.3 follows an IDMap2's ids to ntotal; what is checked before is the outermost one,
    // right around an IndexVLC
    const char map2[] = "IxM2", vlc[] = "IwFl";
    const size_t header = 37; // of an index
    const auto found = std::search(bytes.begin(), bytes.end(), map2, map2 + 4);
    if (found != bytes.end() &&
        (found != bytes.begin() ||
         std::search(found + 1, bytes.end(), map2, map2 + 4) != bytes.end() ||
         bytes.size() < header + 4 || std::memcmp(&bytes[header], vlc, 4) != 0)) {
        return true;
    }
    return false;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Bytes bytes(data, data + size);
    if (is_left_out(bytes)) {
        return 0;
    }
    const auto payload = std::search(bytes.begin(), bytes.end(), kPayload, kPayload + 4);
    if (payload != bytes.end()) {
        const size_t at = size_t(payload - bytes.begin()) + 4;
        uint64_t claimed = 0;
        if (bytes.size() - at >= 24) {
            std::memcpy(&claimed, &bytes[at + 16], 8);
        }
        reseal(bytes.data() + at, std::min<uint64_t>(claimed, bytes.size() - at));
    }
    attempt([&] {
        faiss::VectorIOReader reader = reader_of(bytes);
        const std::unique_ptr<faiss::Index> index(faiss_vlc::read_index(&reader));
        find_and_exercise(*index);
    });
    return 0;
}
