#include <faiss_vlc/train/shared/devices_engine.h>

#include <algorithm>

#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/lib/parallel.h>
#include <faiss_vlc/train/shared/devices.h>

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
    std::vector<std::string> names;
    for (const Part& part : parts_) {
        names.push_back(part.engine->name());
    }
    return joined_names(names);
}

/// body(part, engine) of one device.
template <class Body>
void DevicesEngine::run(int i, Body body) {
    run_device(i, used_, [&] { body(parts_[i], *parts_[i].engine); });
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
    used_ = devices_for(shape.n_train, int(parts_.size()));
    for (int i = 0; i < used_; i++) {
        parts_[i].share = {i, used_};
    }
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

} // namespace faiss_vlc
