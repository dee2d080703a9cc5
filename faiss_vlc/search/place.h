#pragma once

#include <cstddef>
#include <cstdint>

#include <faiss/invlists/DirectMap.h>

namespace faiss_vlc {

/// Where a vector lies: in the order of lists, and within a list in its order.
struct Place {
    uint32_t list = 0;
    uint32_t offset = 0; ///< lists take no more, see VLCInvertedLists::resize

    bool operator<(const Place& other) const {
        return list != other.list ? list < other.list : offset < other.offset;
    }
    bool operator==(const Place& other) const {
        return list == other.list && offset == other.offset;
    }

    /// FAISS's way to write it as a label, and back.
    int64_t label() const { return int64_t(faiss::lo_build(list, offset)); }
    static Place of_label(int64_t label) {
        return {uint32_t(faiss::lo_listno(uint64_t(label))),
                uint32_t(faiss::lo_offset(uint64_t(label)))};
    }
};

} // namespace faiss_vlc
