#include <faiss_vlc/train/shared/devices_engine.h>

#include <algorithm>

#include <faiss/impl/FaissException.h>

#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/lib/parallel.h>

namespace faiss_vlc {

DevicesEngine::DevicesEngine(std::vector<std::unique_ptr<Engine>> devices) {
    if (devices.empty()) {
        fail("training by several devices: expected one at least");
    }
    for (std::unique_ptr<Engine>& device : devices) {
        parts_.push_back({std::move(device), {}, {}, {}});
    }
}

std::string DevicesEngine::name() const {
    std::string names;
    for (size_t i = 0, next; i < parts_.size(); i = next) {
        const std::string name = parts_[i].engine->name();
        for (next = i + 1; next < parts_.size() && parts_[next].engine->name() == name; next++) {
        }
        names += i > 0 ? ", " : "";
        names += next - i > 1 ? std::to_string(next - i) + " x " + name : name;
    }
    return names;
}

/// Takes as many devices as these rows have blocks.
void DevicesEngine::use(int64_t rows) {
    const int64_t blocks = (rows + kRowBlock - 1) / kRowBlock;
    used_ = int(std::clamp<int64_t>(blocks, 1, int64_t(parts_.size())));
    for (int i = 0; i < used_; i++) {
        parts_[i].share = {i, used_};
    }
}

/// body(part, engine) of one device.
template <class Body>
void DevicesEngine::run(int i, Body body) {
    try {
        body(parts_[i], *parts_[i].engine);
    } catch (const faiss::FaissException& error) {
        if (used_ == 1) {
            throw;
        }
        fail("device %d of %d: %s", i + 1, used_, error.what());
    }
}

/// The same of all at once.
template <class Body>
void DevicesEngine::each(Body body) {
    at_once(used_, [&](int i) { run(i, body); });
}

/// What the parts' sums (`size` numbers each) come to.
void DevicesEngine::add_up(int64_t size, int64_t* sums) const {
#pragma omp parallel for if (size > 100000)
    for (int64_t i = 0; i < size; i++) {
        int64_t sum = 0;
        for (int p = 0; p < used_; p++) {
            sum += parts_[p].sums[i];
        }
        sums[i] = sum;
    }
}

void DevicesEngine::begin(const Shape& shape, const SampleView& sample) {
    shape_ = shape;
    use(shape.n_train);
    each([&](Part& part, Engine& engine) {
        const Shape here = share_of(shape, part.share);
        engine.begin(here, {sample.all, sample.share.of(part.share)});
        part.values.resize(here.n);
        part.sums.resize(std::max(sums_size(shape), size_t(shape.d) * shape.d));
    });
    sums_.resize(sums_size(shape));
}

void DevicesEngine::set_anchors(const int32_t* anchors) {
    each([&](Part&, Engine& engine) { engine.set_anchors(anchors); });
}

void DevicesEngine::set_bias(const int32_t* bias) {
    each([&](Part&, Engine& engine) { engine.set_bias(bias); });
}

void DevicesEngine::set_labels(const int32_t* nearest) {
    each([&](Part& part, Engine& engine) {
        part.share.take(shape_.n, nearest, part.values.data());
        engine.set_labels(part.values.data());
    });
}

void DevicesEngine::list_near(int length) {
    each([&](Part&, Engine& engine) { engine.list_near(length); });
}

AssignSummary DevicesEngine::assign(int64_t rows, int64_t known) {
    std::vector<AssignSummary> parts(used_);
    each([&](Part& part, Engine& engine) {
        const int64_t here = part.share.before(std::min(rows, shape_.n));
        if (here > 0) {
            parts[part.share.number] =
                    engine.assign(here, part.share.before(std::min(known, shape_.n)));
        }
    });
    AssignSummary all;
    for (const AssignSummary& part : parts) {
        all.changes += part.changes;
        all.energy_train += part.energy_train;
        all.energy_held += part.energy_held;
    }
    return all;
}

void DevicesEngine::reduce(const ReduceParams& params) {
    if (used_ == 1) {
        first().reduce(params);
        return;
    }
    each([&](Part& part, Engine& engine) {
        ReduceParams here = params;
        here.rows = part.share.before(std::min(params.rows, shape_.n_train));
        if (here.rows > 0) {
            engine.reduce(here);
            engine.get_sums(part.sums.data());
        } else {
            std::fill_n(part.sums.begin(), sums_.size(), 0);
        }
    });
    add_up(int64_t(sums_.size()), sums_.data());
    set_sums(sums_.data());
}

void DevicesEngine::update(const UpdateParams& params) {
    for (int i = 0; i < used_; i++) { // they only enqueue: a thread would take longer to make
        run(i, [&](Part&, Engine& engine) { engine.update(params); });
    }
}

void DevicesEngine::apply(const Move* moves, int count) {
    each([&](Part&, Engine& engine) { engine.apply(moves, count); });
}

void DevicesEngine::quantize(AnchorGrid grid) {
    each([&](Part&, Engine& engine) { engine.quantize(grid); });
}

void DevicesEngine::covariance(const int32_t* rows, int64_t count, int64_t* sums) {
    const size_t size = size_t(shape_.d) * shape_.d;
    each([&](Part& part, Engine& engine) {
        const std::vector<int32_t> here = part.share.held(rows, count);
        std::fill_n(part.sums.begin(), size, 0);
        if (!here.empty()) {
            engine.covariance(here.data(), int64_t(here.size()), part.sums.data());
        }
    });
    add_up(int64_t(size), sums);
}

void DevicesEngine::set_sums(const int64_t* sums) {
    each([&](Part&, Engine& engine) { engine.set_sums(sums); });
}

void DevicesEngine::get_labels(int32_t* nearest) {
    each([&](Part& part, Engine& engine) {
        engine.get_labels(part.values.data());
        part.share.put(shape_.n, part.values.data(), nearest);
    });
}

void DevicesEngine::get_distances(int32_t* distances, int64_t rows) {
    rows = std::min(rows, shape_.n);
    each([&](Part& part, Engine& engine) {
        const int64_t here = part.share.before(rows);
        if (here > 0) {
            engine.get_distances(part.values.data(), here);
            part.share.put(rows, part.values.data(), distances);
        }
    });
}

void DevicesEngine::begin_blocks(int m, int d, const int8_t* anchors8, int64_t max_block) {
    use(max_block);
    block_dp_ = padded_dim(d);
    const int64_t most = (max_block + used_ - 1) / used_;
    each([&](Part&, Engine& engine) { engine.begin_blocks(m, d, anchors8, most); });
}

void DevicesEngine::assign_block(int64_t n, const int8_t* x, int32_t* labels) {
    const int64_t most = (n + used_ - 1) / used_;
    each([&](Part& part, Engine& engine) {
        const int64_t begin = std::min(n, part.share.number * most);
        const int64_t count = std::min(n - begin, most);
        if (count > 0) {
            engine.assign_block(count, x + begin * block_dp_, labels + begin);
        }
    });
}

} // namespace faiss_vlc
