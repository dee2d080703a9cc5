#include <opencl/opencl_engine.h>

#include <algorithm>
#include <climits>
#include <numeric>
#include <vector>

#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/lib/limits.h>
#include <opencl/assign.h>
#include <opencl/covariance.h>
#include <opencl/maintain.h>
#include <opencl/near.h>
#include <opencl/reduce.h>
#include <opencl/sample_rows.h>
#include <opencl/sizes.h>
#include <opencl/update.h>
#include <opencl/upload.h>

namespace faiss_vlc {
namespace {

/// What one block of rows has of a shape.
Shape part_of(Shape shape, int64_t block) {
    shape.n = std::min(shape.n, block);
    shape.n_train = std::min(shape.n_train, block);
    return shape;
}

} // namespace

struct OpenCLEngine::Training {
    Training(const KernelSet& kernels, const Shape& s, const SampleView& rows, int64_t block)
        : shape(s), sample(*kernels.device, s, rows, block), anchors(*kernels.device, s.m, s.dp),
          assign(kernels), packed(*kernels.device, s.m, s.dp), reduce(kernels, part_of(s, block)),
          update(kernels), maintain(kernels, s.m), near(kernels, part_of(s, block)) {
        Device& device = *kernels.device;
        const uint64_t n = s.n;
        row_constant = device.allocate<int32_t>(n, "row constants");
        label = device.allocate<int32_t>(n * s.neighbours, "labels");
        dist = device.allocate<int32_t>(n * s.neighbours, "distances");
        previous = device.allocate<int32_t>(n, "previous labels");
        first = device.allocate<int32_t>(s.neighbours > 1 ? n : 1, "first of labels or distances");
        constants = device.allocate<int32_t>(AssignStage::constants_size(s.m), "anchor constants");
        device.fill(label, -1, n * s.neighbours * sizeof(int32_t));
        device.fill(previous, -1, n * sizeof(int32_t));
    }

    /// The values of the rows from `first` on.
    static Buffer from(Device& device, const Buffer& values, int64_t first, int per_row = 1) {
        return device.view(values, size_t(first) * per_row * sizeof(int32_t));
    }

    Shape shape;
    SampleRows sample;
    AnchorBuffers anchors;
    AssignStage assign;
    AssignStage::Packed packed;
    ReduceStage reduce;
    UpdateStage update;
    MaintainStage maintain;
    NearStage near;
    Buffer row_constant, label, dist, previous, first, constants;
    bool is_packed = false; ///< packed belongs to the present anchors
};

OpenCLEngine::OpenCLEngine(std::shared_ptr<Device> device, int work_group)
    : OpenCLEngine(KernelSet::compile(std::move(device), work_group)) {}

OpenCLEngine::OpenCLEngine(const KernelSet& kernels) : kernels_(kernels) {}

OpenCLEngine::~OpenCLEngine() = default;

std::string OpenCLEngine::name() const {
    return kernels_.device->info().name;
}

OpenCLEngine::Training& OpenCLEngine::training() {
    if (!training_) {
        fail("OpenCL device '%s': training has not begun", name().c_str());
    }
    return *training_;
}

void OpenCLEngine::begin(const Shape& shape, const SampleView& sample) {
    training_.reset();
    if (shape.neighbours < 1 || shape.neighbours > kMaxNeighbours || shape.n_train < 0 ||
        shape.n_train > shape.n || shape.dp != padded_dim(shape.d)) {
        fail("training shape is inconsistent: %lld of %lld rows train, %d neighbours, "
             "%d dimensions padded to %d",
             (long long)shape.n_train, (long long)shape.n, shape.neighbours, shape.d, shape.dp);
    }
    check_sizes(shape.n, shape.m, shape.d, shape.neighbours);
    const int64_t block = sample_block(kernels_.device->info(), shape);
    training_ = std::make_unique<Training>(kernels_, shape, sample, block);
    Training& t = *training_;
    Device& device = *kernels_.device;
    t.sample.for_blocks(shape.n, [&](int64_t first, int64_t count, const Buffer& rows) {
        Buffer row_constant = t.from(device, t.row_constant, first);
        t.assign.row_constants(rows, int(count), shape.dp, row_constant);
        device.finish(); // the view goes
    });
}

void OpenCLEngine::set_anchors(const int32_t* anchors) {
    Training& t = training();
    kernels_.device->write(t.anchors.anchor, anchors,
                           size_t(t.shape.m) * t.shape.dp * sizeof(int32_t));
    t.update.refresh(t.shape.m, t.shape.dp, t.anchors);
    t.is_packed = false;
}

void OpenCLEngine::set_bias(const int32_t* bias) {
    Training& t = training();
    kernels_.device->write(t.anchors.bias, bias, size_t(t.shape.m) * sizeof(int32_t));
}

void OpenCLEngine::set_labels(const int32_t* nearest) {
    Training& t = training();
    kernels_.device->write(t.previous, nearest, size_t(t.shape.n) * sizeof(int32_t));
}

void OpenCLEngine::pack() {
    Training& t = training();
    if (!t.is_packed) {
        t.assign.pack(t.anchors.anchor8, t.shape.m, t.shape.dp, t.packed);
        t.is_packed = true;
    }
}

void OpenCLEngine::list_near(int length) {
    Training& t = training();
    t.near.make_lists(length, t.anchors);
}

AssignSummary OpenCLEngine::assign(int64_t rows, int64_t known) {
    Training& t = training();
    Device& device = *kernels_.device;
    const Shape& s = t.shape;
    rows = std::min(rows, s.n);
    if (known < rows) {
        pack();
        t.assign.constants(t.anchors.norm, &t.anchors.bias, s.m, s.dp, t.constants);
    }
    const AssignStage::Anchors anchors{t.packed, t.constants, t.anchors.norm, s.m};
    t.sample.for_blocks(rows, [&](int64_t first, int64_t count, const Buffer& x) {
        const int64_t listed = std::clamp<int64_t>(known - first, 0, count);
        if (listed > 0) {
            const Buffer row_constant = t.from(device, t.row_constant, first);
            const Buffer previous = t.from(device, t.previous, first);
            Buffer label = t.from(device, t.label, first, s.neighbours);
            Buffer dist = t.from(device, t.dist, first, s.neighbours);
            t.near.assign(int(listed), x, row_constant, t.anchors, previous, label, dist);
            device.finish(); // the views go
        }
        if (listed < count) {
            const int64_t at = first + listed;
            const Buffer others = device.view(x, size_t(listed) * s.dp);
            const Buffer row_constant = t.from(device, t.row_constant, at);
            Buffer label = t.from(device, t.label, at, s.neighbours);
            Buffer dist = t.from(device, t.dist, at, s.neighbours);
            t.assign.assign(others, row_constant, anchors, int(count - listed), s.dp, s.neighbours,
                            false, label, dist);
            device.finish();
        }
    });
    return t.assign.summarize(s, int(rows), t.label, t.dist, t.previous);
}

void OpenCLEngine::reduce(const ReduceParams& params) {
    Training& t = training();
    Device& device = *kernels_.device;
    const Shape& s = t.shape;
    bool more = false;
    t.sample.for_blocks(
            std::min(params.rows, s.n_train), [&](int64_t first, int64_t count, const Buffer& x) {
                const Buffer label = t.from(device, t.label, first, s.neighbours);
                const Buffer dist = t.from(device, t.dist, first, s.neighbours);
                t.reduce.reduce(int(count), x, label, dist, t.anchors.bias, params, more);
                more = true;
                device.finish(); // the views go
            });
    if (!more) {
        t.reduce.reduce(0, t.row_constant, t.label, t.dist, t.anchors.bias, params);
    }
}

void OpenCLEngine::update(const UpdateParams& params) {
    Training& t = training();
    t.update.update(t.shape, params, t.reduce, t.anchors);
    t.is_packed = false;
}

void OpenCLEngine::nearest(int32_t* label, int32_t* dist) {
    Training& t = training();
    pack();
    t.maintain.nearest(t.shape.m, t.shape.dp, t.anchors, t.packed, t.assign, label, dist);
}

void OpenCLEngine::apply(const Move* moves, int count) {
    Training& t = training();
    t.maintain.apply(t.shape, moves, count, t.reduce.count(), t.update, t.anchors);
    t.maintain.relabel(t.shape, moves, count, t.label, t.previous);
    t.is_packed = false;
}

void OpenCLEngine::quantize(AnchorGrid grid) {
    Training& t = training();
    t.maintain.quantize(t.shape, grid, t.update, t.anchors);
    t.is_packed = false;
}

void OpenCLEngine::covariance(const int32_t* rows, int64_t count, int64_t* sums) {
    Training& t = training();
    const CovarianceRoutine routine = default_covariance_routine(kernels_);
    if (t.sample.whole()) {
        t.sample.for_blocks(t.shape.n, [&](int64_t, int64_t, const Buffer& x) {
            device_covariance(kernels_, t.shape, x, t.anchors.anchor8, t.label, rows, count,
                              routine, sums);
        });
        return;
    }
    // The rows are all over the sample: what is picked makes blocks of its own.
    Shape picked = t.shape;
    picked.neighbours = 1;
    std::vector<int32_t> labels(t.shape.n), label, order;
    get_labels(labels.data());
    const size_t size = size_t(t.shape.d) * t.shape.d;
    std::vector<int64_t> part(size);
    std::fill_n(sums, size, 0);
    for (int64_t first = 0; first < count; first += t.sample.block()) {
        const int64_t some = std::min(t.sample.block(), count - first);
        label.resize(some);
        order.resize(some);
        std::iota(order.begin(), order.end(), 0);
        for (int64_t i = 0; i < some; i++) {
            label[i] = labels[rows[first + i]];
        }
        const Buffer label_buffer = upload(*kernels_.device, label, "labels of picked rows");
        device_covariance(kernels_, picked, t.sample.gather(rows + first, some), t.anchors.anchor8,
                          label_buffer, order.data(), some, routine, part.data());
        for (size_t i = 0; i < size; i++) {
            sums[i] += part[i];
        }
    }
}

void OpenCLEngine::get_counts(int32_t* counts) {
    Training& t = training();
    kernels_.device->read(t.reduce.count(), counts, t.shape.m * sizeof(int32_t));
}

void OpenCLEngine::get_energies(int64_t* energies) {
    Training& t = training();
    kernels_.device->read(t.reduce.energy(), energies, t.shape.m * sizeof(int64_t));
}

void OpenCLEngine::get_weights(int64_t* weights) {
    Training& t = training();
    kernels_.device->read(t.reduce.weight(), weights, t.shape.m * sizeof(int64_t));
}

void OpenCLEngine::get_sums(int64_t* sums) {
    Training& t = training();
    const int m = t.shape.m;
    std::vector<int32_t> counts(m);
    get_weights(sums);
    get_energies(sums + m);
    get_counts(counts.data());
    std::copy(counts.begin(), counts.end(), sums + 2 * m);
    kernels_.device->read(t.reduce.sum(), sums + 3 * m, size_t(m) * t.shape.dp * sizeof(int64_t));
}

void OpenCLEngine::set_sums(const int64_t* sums) {
    Training& t = training();
    t.reduce.set(sums);
}

void OpenCLEngine::get_anchors(int32_t* anchors) {
    Training& t = training();
    kernels_.device->read(t.anchors.anchor, anchors,
                          size_t(t.shape.m) * t.shape.dp * sizeof(int32_t));
}

void OpenCLEngine::get_spreads(int32_t* spreads) {
    Training& t = training();
    kernels_.device->read(t.anchors.spread, spreads, t.shape.m * sizeof(int32_t));
}

void OpenCLEngine::get_bias(int32_t* bias) {
    Training& t = training();
    kernels_.device->read(t.anchors.bias, bias, t.shape.m * sizeof(int32_t));
}

void OpenCLEngine::get_first(const Buffer& from, int64_t rows, int32_t* values) {
    Training& t = training();
    const Shape& shape = t.shape;
    rows = std::min(rows, shape.n);
    if (shape.neighbours > 1) {
        t.assign.take_first(from, int(rows), shape.neighbours, t.first);
    }
    kernels_.device->read(shape.neighbours > 1 ? t.first : from, values, rows * sizeof(int32_t));
}

void OpenCLEngine::get_labels(int32_t* nearest) {
    get_first(training().label, kAllRows, nearest);
}

void OpenCLEngine::get_distances(int32_t* distances, int64_t rows) {
    get_first(training().dist, rows, distances);
}

} // namespace faiss_vlc
