#include <faiss_vlc/tune/words.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include <faiss_vlc/kernels/list_scan.h>
#include <faiss_vlc/kernels/simd.h>
#include <faiss_vlc/lib/integer_math.h>
#include <faiss_vlc/lib/interrupt.h>
#include <faiss_vlc/lib/numeric.h>
#include <faiss_vlc/lib/parallel.h>
#include <faiss_vlc/tune/steps.h>

namespace faiss_vlc {

namespace {

/// The order in which principal axes (variance falling) are dealt to blocks: each goes to the block
/// whose variances have the least product so far, if it has room (Ge, He, Ke and Sun, Optimized
/// Product Quantization, 2013).
std::vector<int> deal(const Layout& layout, const std::vector<double>& variance) {
    const int blocks = layout.blocks();
    std::vector<std::vector<int>> axes(blocks);
    std::vector<double> product(blocks, 0);                   // logarithms
    const double least = std::max(1e-30, 1e-4 * variance[0]); // logarithms of ratios to it are >= 0
    for (int k = 0; k < layout.axes; k++) {
        int best = -1;
        for (int b = 0; b < blocks; b++) {
            const int room = layout.block_axis[b + 1] - layout.block_axis[b];
            if (int(axes[b].size()) < room && (best < 0 || product[b] < product[best])) {
                best = b;
            }
        }
        axes[best].push_back(k);
        product[best] += stable_log(std::max(variance[k] / least, 1.0));
    }
    std::vector<int> order;
    for (const std::vector<int>& of_block : axes) {
        order.insert(order.end(), of_block.begin(), of_block.end());
    }
    return order;
}

/// Rows whose residuals take 256 MB, or the few that words need at least.
size_t rows_that_fit(const Model& model) {
    constexpr size_t kMostFloats = 64 << 20, kLeast = 4096;
    return std::max(kLeast, kMostFloats / std::max<size_t>(1, size_t(model.slots())));
}

/// The rows' residuals in the model's slots, in units of their codes' scale: float rows x slots.
std::vector<float> scaled_residuals(const Sample& sample, const Anchors& anchors,
                                    const Model& model, const std::vector<int64_t>& rows) {
    const size_t slots = size_t(model.slots());
    const float root = std::sqrt(model.estimator.energy);
    std::vector<float> scaled(rows.size() * slots);
    Rescue rescue;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < rows.size(); i++) {
        rescue.run([&] {
            // as they are coded, but on the lattice: a wild component must not own a word
            const int j = anchors.label[rows[i]];
            std::vector<float> lattice(model.dp(), 0);
            for (int k = 0; k < model.d; k++) {
                const float u =
                        (sample.vector(rows[i])[k] - model.lattice.mean[k]) * model.lattice.scale;
                lattice[k] = std::min(127.0f, std::max(-127.0f, u));
            }
            float* y = &scaled[i * slots];
            model.frame_of(j).rotate(lattice.data(), y);
            const float* base = &model.derived().anchor_rotated[size_t(j) * slots];
            for (size_t s = 0; s < slots; s++) {
                y[s] -= base[s];
            }
            if (model.layout.factor_bytes > 0) {
                const float length = std::sqrt(model.anchor_distance(lattice.data(), j));
                const float inverse = length > 0 ? root / length : 0.0f;
                for (size_t s = 0; s < slots; s++) {
                    y[s] *= inverse;
                }
            }
        });
    }
    rescue.rethrow();
    return scaled;
}

/// |r|^2 of a row in the same units.
double scaled_square(const Sample& sample, const Anchors& anchors, const Model& model,
                     int64_t row) {
    if (model.layout.factor_bytes > 0) {
        return model.estimator.energy;
    }
    std::vector<float> residual(model.d);
    residual_of(sample, anchors, row, residual.data());
    return canonical_dot(model.d, residual.data(), residual.data());
}

/// k-means of one block: its rows are `width` int16, even.
class BlockMeans {
public:
    BlockMeans(int n, int width, const int16_t* x)
        : n_(n), width_(width), x_(x), words_(size_t(width) * kWords), label_(n), error_(n) {}

    void start(uint32_t seed);
    /// Whether a row changed its word.
    bool iterate();
    const std::vector<int16_t>& words() const { return words_; }

private:
    const int16_t* row(int i) const { return x_ + size_t(i) * width_; }
    int16_t& word(int w, int k) {
        return words_[(size_t(k / 2) * kWords + size_t(w)) * 2 + size_t(k % 2)];
    }
    void set_word(int w, const int16_t* x) {
        for (int k = 0; k < width_; k++) {
            word(w, k) = x[k];
        }
    }
    bool assign();
    void move();

    int n_, width_;
    const int16_t* x_;
    std::vector<int16_t> words_; ///< as Codebook's
    std::vector<uint8_t> label_;
    std::vector<int64_t> error_; ///< squared distance to the word
};

/// Rows at random. Where many are alike some words get none, and move() finds them better places.
void BlockMeans::start(uint32_t seed) {
    std::vector<std::pair<uint32_t, int>> order(n_);
    for (int i = 0; i < n_; i++) {
        order[i] = {hash32(seed, uint32_t(i), 0x5eedu), i};
    }
    std::sort(order.begin(), order.end());
    for (int w = 0; w < kWords; w++) {
        set_word(w, row(order[w % n_].second));
    }
}

bool BlockMeans::assign() {
    std::vector<int32_t> dots(kWords), norms(kWords, 0);
    for (int w = 0; w < kWords; w++) {
        for (int k = 0; k < width_; k++) {
            norms[w] += int32_t(word(w, k)) * word(w, k);
        }
    }
    const int slot[] = {0, width_};
    bool changed = false;
    for (int i = 0; i < n_; i++) {
        simd().words.products({1, slot, words_.data()}, row(i), dots.data());
        int32_t least = INT32_MAX;
        for (int w = 0; w < kWords; w++) {
            least = std::min(least, norms[w] - 2 * dots[w]);
        }
        int w = 0;
        while (norms[w] - 2 * dots[w] != least) {
            w++;
        }
        changed |= label_[i] != w;
        label_[i] = uint8_t(w);
        int64_t square = 0;
        for (int k = 0; k < width_; k++) {
            square += int32_t(row(i)[k]) * row(i)[k];
        }
        error_[i] = square + least;
    }
    return changed;
}

/// Words become their rows' means. One without rows becomes the worst row of the word whose rows
/// have the largest error together, which is then counted as halved.
void BlockMeans::move() {
    std::vector<int64_t> sum(size_t(kWords) * width_, 0), count(kWords, 0), error(kWords, 0);
    for (int i = 0; i < n_; i++) {
        count[label_[i]]++;
        error[label_[i]] += error_[i];
        for (int k = 0; k < width_; k++) {
            sum[size_t(label_[i]) * width_ + k] += row(i)[k];
        }
    }
    for (int w = 0; w < kWords; w++) {
        for (int k = 0; k < width_ && count[w] > 0; k++) {
            word(w, k) = int16_t(round_div(sum[size_t(w) * width_ + k], count[w]));
        }
    }
    for (int w = 0; w < kWords; w++) {
        if (count[w] > 0) {
            continue;
        }
        const auto from = int(std::max_element(error.begin(), error.end()) - error.begin());
        int worst = -1;
        for (int i = 0; i < n_; i++) {
            if (label_[i] == from && error_[i] > 0 && (worst < 0 || error_[i] > error_[worst])) {
                worst = i;
            }
        }
        if (worst < 0) {
            return;
        }
        set_word(w, row(worst));
        error[from] /= 2;
        error_[worst] = 0;
    }
}

bool BlockMeans::iterate() {
    const bool changed = assign();
    if (changed) {
        move();
    }
    return changed;
}

} // namespace

Model word_model(const Model& model, const Axes& axes, WordAxes kind, int code_bytes,
                 int factor_bytes) {
    Model result = model;
    result.whole_words = kind == WordAxes::whole;
    if (kind == WordAxes::own || kind == WordAxes::whole) {
        result.frames = {Frame::own_axes(model.d)};
        std::fill(result.group.begin(), result.group.end(), uint8_t(0));
    } else {
        result.frames = axes.frames;
        for (Frame& frame : result.frames) {
            frame.keep(int(axes.strength.size()));
        }
    }
    result.layout = Layout::of_blocks(code_bytes, factor_bytes, result.frames[0].kept);
    if (kind == WordAxes::dealt) {
        const std::vector<int> order = deal(result.layout, axes.strength);
        for (Frame& frame : result.frames) {
            frame.reorder(order);
        }
    }
    return result;
}

double word_error(const Sample& sample, const Anchors& anchors, int first, int rows,
                  const Model& model) {
    const std::vector<int64_t> all = fitting_rows(sample.shape);
    const size_t from = std::min(size_t(first), all.size() - std::min(size_t(rows), all.size()));
    const std::vector<int64_t> chosen(all.begin() + from,
                                      all.begin() + std::min(all.size(), from + size_t(rows)));
    const std::vector<float> scaled = scaled_residuals(sample, anchors, model, chosen);
    const size_t slots = size_t(model.slots());
    const Layout& layout = model.layout;
    const auto limit = float(Codebook::limit(layout));
    const float inverse = 1.0f / model.codebook.unit;
    int64_t error = 0; // integers: the same sum from any number of threads
    Rescue rescue;
#pragma omp parallel reduction(+ : error)
    rescue.run([&] {
        std::vector<int16_t> x(slots);
        std::vector<int32_t> dots(size_t(layout.blocks()) * kWords);
        std::vector<uint8_t> code(layout.code_bytes);
#pragma omp for schedule(static) nowait
        for (size_t i = 0; i < chosen.size(); i++) {
            for (size_t s = 0; s < slots; s++) {
                const float v = scaled[i * slots + s] * inverse;
                x[s] = int16_t(round_even(std::min(limit, std::max(-limit, v))));
            }
            nearest_words(layout, model.codebook, x.data(), dots, code.data());
            for (int b = 0; b < layout.blocks(); b++) {
                for (int s = layout.block_slot[b]; s < layout.block_slot[b + 1]; s++) {
                    const int off = x[s] - model.codebook.at(s, code[b]);
                    error += int64_t(off) * off;
                }
            }
        }
    });
    rescue.rethrow();
    double total = 0; // of the axes without words, too
    for (const int64_t row : chosen) {
        total += scaled_square(sample, anchors, model, row);
    }
    double kept = 0;
    for (const float v : scaled) {
        kept += double(v) * v;
    }
    const double unit = model.codebook.unit;
    return total > 0 ? (double(error) * unit * unit + std::max(0.0, total - kept)) / total : 0;
}

void train_words(const Sample& sample, const Anchors& anchors, int rows, int iterations,
                 uint32_t seed, Model& model) {
    model.codebook = Codebook();
    model.codebook.words.assign(size_t(model.layout.slots()) * kWords, 0);
    model.finish(); // the frames' slots
    std::vector<int64_t> chosen = fitting_rows(sample.shape);
    chosen.resize(std::min({chosen.size(), size_t(rows), rows_that_fit(model)}));
    const std::vector<float> scaled = scaled_residuals(sample, anchors, model, chosen);
    float largest = 0;
    for (const float v : scaled) {
        largest = std::max(largest, std::fabs(v));
    }
    const int limit = Codebook::limit(model.layout);
    model.codebook.unit = largest > 0 ? largest / float(limit) : 1.0f;
    const float inverse = 1.0f / model.codebook.unit;
    const int n = int(chosen.size()), slots = model.slots();
    const Layout& layout = model.layout;
    Rescue rescue;
#pragma omp parallel for schedule(dynamic)
    for (int b = 0; b < layout.blocks(); b++) {
        rescue.run([&] {
            const int first = layout.block_slot[b], width = layout.block_slot[b + 1] - first;
            std::vector<int16_t> x(size_t(n) * width);
            for (int i = 0; i < n; i++) {
                for (int k = 0; k < width; k++) {
                    const float v = scaled[size_t(i) * slots + first + k] * inverse;
                    const int rounded = round_even(v);
                    x[size_t(i) * width + k] = int16_t(std::min(limit, std::max(-limit, rounded)));
                }
            }
            BlockMeans means(n, width, x.data());
            means.start(hash32(seed, uint32_t(b), 0xb10cu));
            for (int i = 0; i < iterations && means.iterate(); i++) {
            }
            std::copy(means.words().begin(), means.words().end(),
                      model.codebook.words.begin() + size_t(first) * kWords);
        });
    }
    rescue.rethrow();
    model.finish();
}

} // namespace faiss_vlc
