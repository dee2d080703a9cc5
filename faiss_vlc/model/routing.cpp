#include <faiss_vlc/model/routing.h>

#include <algorithm>
#include <cmath>

#include <faiss_vlc/lib/limits.h>

namespace faiss_vlc {

namespace {

/// A component of the rank, given what the rank weighs: 16 equal ones have the length of it.
constexpr float kPart = 0.25f;
static_assert(Routing::kRankComponents * kPart * kPart == 1,
              "the components have the rank's length");

} // namespace

double length_of(int d, const float* x) {
    double square = 0;
    for (int k = 0; k < d; k++) {
        square += double(x[k]) * double(x[k]);
    }
    return std::sqrt(square);
}

void Routing::set_lengths(const std::vector<float>& rising) {
    lengths.resize(kSteps + 1);
    for (size_t i = 0; i <= kSteps; i++) {
        lengths[i] = rising[i * (rising.size() - 1) / kSteps];
    }
}

void Routing::set_weight(float rank_weight, const Lattice& directions) {
    weight = rank_weight;
    lattice = directions;
    lattice.d = directions.d + kRankComponents;
    lattice.mean.resize(lattice.d, 0);
    // ranks lie half their weight to both sides of 0
    lattice.scale = std::min(directions.scale, 127.0f / (0.5f * kPart * weight));
}

float Routing::rank_of(double length) const {
    if (!(length > double(lengths.front()))) {
        return 0;
    }
    if (length >= double(lengths.back())) {
        return 1;
    }
    const auto above = std::upper_bound(lengths.begin(), lengths.end(), length,
                                        [](double v, float l) { return v < double(l); });
    const auto step = double(above - lengths.begin() - 1);
    const double low = double(above[-1]);
    return float((step + (length - low) / (double(*above) - low)) / kSteps);
}

float Routing::length_at(float rank) const {
    const float at = std::clamp(rank, 0.0f, 1.0f) * kSteps;
    const int step = std::min(int(at), kSteps - 1);
    return lengths[step] + (at - float(step)) * (lengths[step + 1] - lengths[step]);
}

/// What a vector is routed by: float lattice.d.
void Routing::route(const float* x, float* routed) const {
    const int d = lattice.d - kRankComponents;
    const double length = length_of(d, x);
    for (int k = 0; k < d; k++) {
        routed[k] = length > 0 ? float(double(x[k]) / length) : 0.0f;
    }
    std::fill_n(routed + d, kRankComponents, (rank_of(length) - 0.5f) * (weight * kPart));
}

void Routing::scale_row(const float* x, float* out) const {
    route(x, out);
    lattice.scale_row(out, out);
}

void Routing::encode_row(const float* x, int8_t* out) const {
    float routed[kMaxDim];
    route(x, routed);
    lattice.encode_row(routed, out);
}

float Routing::centre(const int32_t* anchor, float* out) const {
    const int d = lattice.d - kRankComponents;
    const float unit = 1.0f / (float(1 << kAnchorBits) * lattice.scale);
    int64_t ranks = 0;
    for (int k = d; k < lattice.d; k++) {
        ranks += anchor[k];
    }
    const float part = float(ranks) / kRankComponents * unit;
    const float length = length_at(part / (weight * kPart) + 0.5f);
    for (int k = 0; k < d; k++) {
        out[k] = (float(anchor[k]) * unit + lattice.mean[k]) * length;
    }
    return length;
}

bool Routing::same_as(const Routing& other) const {
    return weight == other.weight && lengths == other.lengths &&
           lattice.scale == other.lattice.scale && lattice.mean == other.lattice.mean &&
           anchors == other.anchors;
}

size_t Routing::memory() const {
    const auto bytes = [](const auto& v) { return v.capacity() * sizeof(v[0]); };
    return bytes(lengths) + bytes(lattice.mean) + bytes(anchors);
}

} // namespace faiss_vlc
