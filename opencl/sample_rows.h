#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include <faiss_vlc/train/engine.h>
#include <opencl/device.h>

namespace faiss_vlc {

/// Rows of a sample (a multiple of kRowBlock, or all of them) that a device keeps at a time: all
/// where its memory has room for them beside what training knows of each row, and no more than
/// VLC_OPENCL_SAMPLE MiB where the environment sets that. Throws where not even a block of as many
/// rows as there are anchors has room.
int64_t sample_block(const DeviceInfo& info, const Shape& shape);

/// The int8 sample of a training on a device: whole in its memory, or a block of rows at a time,
/// which the host sends again whenever it is another block's turn.
class SampleRows {
public:
    /// Where not whole, or where the device has the host's memory, the sample is read until this
    /// object goes.
    SampleRows(Device& device, const Shape& shape, const SampleView& sample, int64_t block);

    bool whole() const { return block_ >= shape_.n; }
    int64_t block() const { return block_; }

    /// Calls take(first, count, rows) for the blocks of the first n rows: `count` rows from `first`
    /// on are what `rows` (int8) begins with. The block that is there comes first.
    template <class Take>
    void for_blocks(int64_t n, Take&& take) {
        const int64_t blocks = (n + block_ - 1) / block_;
        const int64_t start = present_ >= 0 && present_ < blocks ? present_ : 0;
        for (int64_t i = 0; i < blocks; i++) {
            const int64_t b = (start + i) % blocks;
            send(b);
            take(b * block_, std::min(block_, n - b * block_), rows_);
        }
    }

    /// Rows that are picked, at most block() of them, as a block.
    const Buffer& gather(const int32_t* rows, int64_t count);

private:
    void send(int64_t block);
    bool has_it_already() const;

    Device& device_;
    Shape shape_;
    SampleView sample_;
    int64_t block_;
    int64_t present_ = -1; ///< block in rows_
    Buffer rows_;
    HostMemory staged_; ///< two parts, which the device reads in turns
    std::vector<int8_t> gathered_;
};

} // namespace faiss_vlc
