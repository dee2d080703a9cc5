#include <faiss_vlc/train/sample.h>

#include <algorithm>
#include <numeric>

#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/lib/integer_math.h>
#include <faiss_vlc/train/pace/local_rows.h>

namespace faiss_vlc {

namespace {

constexpr int64_t kFittedRows = 65536;     ///< that the lattice is fitted to at most ...
constexpr int64_t kFittedValues = 1 << 23; ///< ... and values: 10,000 rows of 768 do

/// The first `count` of a random order of 0 .. n - 1.
std::vector<int64_t> random_rows(int64_t n, int64_t count, uint32_t seed) {
    std::vector<int64_t> rows(n);
    std::iota(rows.begin(), rows.end(), 0);
    for (int64_t i = 0; i < count; i++) {
        const uint64_t random = uint64_t(hash32(seed, uint32_t(i), uint32_t(i >> 32))) << 32 |
                                hash32(seed ^ 0x5bd1e995u, uint32_t(i), uint32_t(i >> 32));
        std::swap(rows[i], rows[i + int64_t(random % uint64_t(n - i))]);
    }
    rows.resize(count);
    return rows;
}

/// The sizes of a sample of so many vectors.
Shape shape_for(int64_t vectors, int d, const VLCParameters& params) {
    Shape shape;
    shape.m = params.m > 0 ? params.m : choose_anchors(vectors, vectors);
    if (vectors < shape.m) {
        fail("training: expected at least as many vectors as anchors, got %lld for m = %d",
             (long long)vectors, shape.m);
    }
    shape.d = d;
    shape.dp = padded_dim(d);
    shape.neighbours = params.neighbours;
    shape.n = std::min(vectors, most_rows(shape.m, d, params));
    shape.n = std::min<int64_t>(shape.n, INT32_MAX); // rows and counts are int32
    const int64_t held = int64_t(double(shape.n) * params.held_out);
    shape.n_train = std::max<int64_t>(shape.n - held, shape.m);
    return shape;
}

/// Fills a sample whose shape and rows are set from the vectors that the processes have.
class Drawing {
public:
    /// x: the n vectors of this process, of which `before` are the others' before it.
    Drawing(int64_t n, const float* x, int64_t before, const Ranks& processes, Sample& sample)
        : n_(n), x_(x), before_(before), processes_(processes), sample_(sample) {}

    /// Rows [first, end) as vectors, by all processes.
    Uncleared<float> vectors(int64_t first, int64_t end) const {
        const int d = sample_.shape.d;
        Uncleared<float> found(size_t(end - first) * d);
        if (processes_.count > 1) {
            std::fill(found.begin(), found.end(), 0.0f); // where others have the rows
        }
        each_here(first, end, [&](int64_t i, const float* row) {
            std::copy_n(row, d, &found[size_t(i - first) * d]);
        });
        processes_.gather(found.data(), found.size() * sizeof(float));
        return found;
    }

    /// All rows on the lattice: x8, and head8 of several processes.
    void encode_all() const {
        const int64_t n = sample_.shape.n;
        const size_t dp = sample_.shape8().dp;
        if (processes_.count == 1) {
            sample_.x8.resize(size_t(n) * dp);
            encode(0, n, sample_.x8.data());
            return;
        }
        // Vectors are anywhere, rows in turn: they pass through all processes a part at a time.
        const Share own = own_share(processes_);
        sample_.x8.reserve(size_t(own.before(n)) * dp);
        const int64_t head = std::min<int64_t>(n, 2 * int64_t(sample_.shape.m));
        constexpr int64_t kPart = 512 * kRowBlock;
        for (int64_t first = 0; first < n; first += kPart) {
            const int64_t end = std::min(n, first + kPart);
            std::vector<int8_t> part(size_t(end - first) * dp, 0);
            encode(first, end, part.data());
            processes_.gather(part.data(), part.size());
            for (int64_t i = first; i < end; i++) {
                const int8_t* row = &part[size_t(i - first) * dp];
                if (i < head) {
                    sample_.head8.insert(sample_.head8.end(), row, row + dp);
                }
                if (own.holds(i)) {
                    sample_.x8.insert(sample_.x8.end(), row, row + dp);
                }
            }
        }
    }

private:
    /// take(row of the sample, vector) for those of [first, end) that are here
    template <class Take>
    void each_here(int64_t first, int64_t end, const Take& take) const {
        constexpr int64_t kAhead = 4;
#pragma omp parallel for if (end - first > 1000)
        for (int64_t i = first; i < end; i++) {
            if (i + kAhead < end) {
                prefetch(vector_of(i + kAhead));
            }
            if (const float* vector = vector_of(i)) {
                take(i, vector);
            }
        }
    }
    /// The vector of a row, null if another process has it.
    const float* vector_of(int64_t i) const {
        const int64_t row = sample_.rows[i] - before_;
        return row >= 0 && row < n_ ? x_ + row * sample_.shape.d : nullptr;
    }
    /// Rows are all over the vectors: the processor does not guess the next.
    void prefetch(const float* vector) const {
        constexpr int kLine = 16;
        for (int k = 0; vector && k < sample_.shape.d; k += kLine) {
            __builtin_prefetch(vector + k, 0, 2);
        }
    }
    void encode(int64_t first, int64_t end, int8_t* out) const {
        each_here(first, end, [&](int64_t i, const float* row) {
            if (sample_.routing.used()) {
                sample_.routing.encode_row(row, out + size_t(i - first) * sample_.routing.dp());
            } else {
                sample_.lattice.encode_row(row, out + size_t(i - first) * sample_.shape.dp);
            }
        });
    }

    int64_t n_;
    const float* x_;
    int64_t before_;
    const Ranks& processes_;
    Sample& sample_;
};

} // namespace

int choose_anchors(int64_t n, int64_t n_train) {
    const int64_t wanted = 4 * int64_t(isqrt(uint64_t(n)));
    return int(std::clamp<int64_t>(std::min(wanted, n_train / 39), 1, 1 << 18));
}

int64_t most_rows(int64_t m, int d, const VLCParameters& params) {
    constexpr int64_t kLeastRows = 16384, kLeastValues = 1 << 24; // as many as fit into both
    const int64_t rows = m * params.max_points_per_anchor;
    const bool is_set = params.max_points_per_anchor != VLCParameters().max_points_per_anchor;
    return is_set ? rows : std::max(rows, std::min(kLeastRows, kLeastValues / d));
}

Sample draw_sample(int64_t n, int d, const float* x, const VLCParameters& params,
                   const Ranks& processes, bool by_length) {
    const std::vector<int64_t> parts = processes.each(n);
    const int64_t before =
            std::accumulate(parts.begin(), parts.begin() + processes.rank, int64_t(0));
    const int64_t all = std::accumulate(parts.begin(), parts.end(), int64_t(0));
    Sample sample;
    sample.shape = shape_for(all, d, params);
    const Shape& shape = sample.shape;
    sample.rows = random_rows(all, shape.n, params.seed);
    const Drawing drawing(n, x, before, processes, sample);
    // The rows are in random order: a part shows mean and scale as well as all do.
    const int64_t fitted =
            std::min({shape.n, kFittedRows, std::max<int64_t>(1024, kFittedValues / d)});
    const Uncleared<float> fit = drawing.vectors(0, fitted);
    sample.lattice = Lattice::fit(fitted, d, fit.data());
    if (by_length && params.grid != AnchorGrid::int8) {
        sample.routing = fit_routing(fitted, d, fit.data(), shape.m, sample.lattice.scale);
    }
    sample.first_kept = std::max<int64_t>(0, shape.n - kKeptRows);
    sample.x = drawing.vectors(sample.first_kept, shape.n);
    drawing.encode_all();
    sample.share = own_share(processes);
    if (params.step < 0) {
        sample.local8 = local_rows(sample, processes);
    }
    return sample;
}

std::vector<float> draw_queries(int64_t n, int d, const float* x, const Ranks& processes) {
    const std::vector<int64_t> parts = processes.each(n);
    const int64_t before =
            std::accumulate(parts.begin(), parts.begin() + processes.rank, int64_t(0));
    const int64_t all = std::accumulate(parts.begin(), parts.end(), int64_t(0));
    const int64_t taken = std::min(all, kMaxQueries);
    std::vector<float> queries(size_t(taken) * d, 0);
    for (int64_t i = 0; i < taken; i++) {
        const int64_t row = int64_t(__int128(all) * i / taken) - before;
        if (row >= 0 && row < n) {
            std::copy_n(x + row * d, d, &queries[size_t(i) * d]);
        }
    }
    processes.gather(queries.data(), queries.size() * sizeof(float));
    return queries;
}

} // namespace faiss_vlc
