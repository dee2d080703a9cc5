#include <opencl/sample_rows.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>

#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/lib/limits.h>

namespace faiss_vlc {

namespace {

constexpr size_t kStaged = 16 << 20; ///< bytes sent at a time
constexpr size_t kMuch = 1 << 20;    ///< bytes that several threads copy

/// Bytes that training keeps of every row besides its components: labels, distances, constants.
uint64_t bytes_of_a_row(const Shape& shape) {
    return 12 + 8 * uint64_t(shape.neighbours);
}

/// And of a row of the block at hand: weights and orders, and what sums are made in.
uint64_t bytes_of_a_present_row(const Shape& shape) {
    return 4 + 12 * uint64_t(shape.neighbours) + uint64_t(shape.dp);
}

/// MiB that the environment gives to the rows of a block; no limit where it doesn't.
uint64_t given_bytes() {
    const char* set = std::getenv("VLC_OPENCL_SAMPLE");
    if (!set || !*set) {
        return UINT64_MAX;
    }
    char* end = nullptr;
    const double mib = std::strtod(set, &end);
    if (end == set || *end || !(mib > 0)) {
        fail("VLC_OPENCL_SAMPLE: expected MiB of a device's memory, met '%s'", set);
    }
    return uint64_t(std::min(mib, 1e9) * (1 << 20));
}

} // namespace

int64_t sample_block(const DeviceInfo& info, const Shape& shape) {
    // A fifth is left to what is not counted here: anchors, sums, the driver, other programs.
    const uint64_t usable = info.global_mem / 5 * 4;
    const uint64_t beside = uint64_t(shape.n) * bytes_of_a_row(shape);
    const uint64_t room = usable > beside ? (usable - beside) / bytes_of_a_present_row(shape) : 0;
    const uint64_t rows = std::min(
            {room, info.max_allocation / uint64_t(shape.dp), given_bytes() / uint64_t(shape.dp)});
    if (rows >= uint64_t(shape.n)) {
        return shape.n;
    }
    // each block costs what anchors' sums do
    if (room < std::min<uint64_t>(uint64_t(shape.n), std::max(shape.m, 8192))) {
        fail("OpenCL device '%s' has %llu bytes of memory: too little for training on %lld vectors "
             "of %d dimensions with %d anchors",
             info.name.c_str(), (unsigned long long)info.global_mem, (long long)shape.n, shape.d,
             shape.m);
    }
    return std::max<int64_t>(kRowBlock, int64_t(rows) / kRowBlock * kRowBlock);
}

SampleRows::SampleRows(Device& device, const Shape& shape, const SampleView& sample, int64_t block)
    : device_(device), shape_(shape), sample_(sample), block_(std::max<int64_t>(1, block)) {
    if (has_it_already()) {
        // kernels only read it
        rows_ = device.wrap(const_cast<int8_t*>(sample.all), uint64_t(shape.n) * shape.dp);
        present_ = 0;
        return;
    }
    rows_ = device.allocate<int8_t>(std::min(block_, shape.n) * shape.dp, "sample");
    staged_ = device.allocate_host(2 * kStaged, "parts of a sample");
}

/// Whether the rows lie in the device's memory as it wants them.
bool SampleRows::has_it_already() const {
    return device_.info().is_this_cpu() && whole() && sample_.share.count == 1 && shape_.n > 0;
}

void SampleRows::send(int64_t block) {
    if (block == present_) {
        return;
    }
    const int64_t first = block * block_;
    const int64_t count = std::min(block_, shape_.n - first);
    present_ = -1;
    const size_t dp = shape_.dp;
    static_assert(kStaged >= kRowBlock * size_t(kMaxDim), "at_once is not 0");
    const int64_t at_once = int64_t(kStaged / (kRowBlock * dp)) * kRowBlock;
    for (int64_t at = 0; at < count; at += at_once) {
        const int64_t some = std::min(at_once, count - at);
        const size_t half = at / at_once % 2 * kStaged;
        int8_t* to = staged_.as<int8_t>() + half;
#pragma omp parallel for if (some * dp > kMuch)
        for (int64_t i = 0; i < some; i += kRowBlock) {
            std::memcpy(to + i * dp, sample_.row(first + at + i, shape_.dp),
                        std::min(kRowBlock, some - i) * dp);
        }
        device_.finish(); // the other half was read while this one was filled
        device_.send(staged_, half, rows_, some * dp, at * dp);
    }
    device_.finish();
    present_ = block;
}

const Buffer& SampleRows::gather(const int32_t* rows, int64_t count) {
    const size_t dp = shape_.dp;
    gathered_.resize(size_t(count) * dp);
#pragma omp parallel for if (count > 1000)
    for (int64_t i = 0; i < count; i++) {
        std::memcpy(&gathered_[size_t(i) * dp], sample_.row(rows[i], shape_.dp), dp);
    }
    present_ = -1;
    device_.write(rows_, gathered_.data(), gathered_.size());
    return rows_;
}

} // namespace faiss_vlc
