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

constexpr size_t kQuickRows = 6144; ///< that a first look takes, to train and to test

/// Rows whose residuals take 256 MB, or the few that words need at least.
size_t rows_that_fit(int slots) {
    constexpr size_t kMostFloats = 64 << 20, kLeast = 4096;
    return std::max(kLeast, kMostFloats / std::max<size_t>(1, size_t(slots)));
}

/// k-means of one block: its rows are `width` int16, even.
class BlockMeans {
public:
    BlockMeans(int n, int width, const int16_t* x)
        : n_(n), width_(width), x_(x), words_(size_t(width) * kWords), label_(n), least_(n),
          square_(n, 0), error_(n) {
        for (int i = 0; i < n; i++) {
            for (int k = 0; k < width; k++) {
                square_[i] += int32_t(row(i)[k]) * row(i)[k];
            }
        }
    }

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
    std::vector<uint8_t> label_, before_;
    std::vector<int32_t> least_;
    std::vector<int32_t> square_; ///< of the rows
    std::vector<int64_t> error_;  ///< squared distance to the word
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
    std::vector<int32_t> norms(kWords, 0);
    for (int w = 0; w < kWords; w++) {
        for (int k = 0; k < width_; k++) {
            norms[w] += int32_t(word(w, k)) * word(w, k);
        }
    }
    before_ = label_;
    simd().nearest.words({width_, words_.data(), norms.data()}, n_, x_, label_.data(),
                         least_.data());
    for (int i = 0; i < n_; i++) {
        error_[i] = int64_t(square_[i]) + least_[i];
    }
    return label_ != before_;
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

namespace {

/// The model with its frames' slots: its words are all 0.
const Model& with_slots(Model& model) {
    model.codebook = Codebook();
    model.codebook.words.assign(size_t(model.layout.slots()) * kWords, 0);
    model.finish();
    return model;
}

} // namespace

WordRows::WordRows(const Sample& sample, const Anchors& anchors, int rows, WordModel& words)
    : WordRows(sample, anchors, rows, with_slots(words.model)) {
    std::vector<int> at(slot_of_axis_.size());
    for (size_t i = 0; i < words.order.size(); i++) {
        at[words.order[i]] = slot_of_axis_[i];
    }
    if (!words.order.empty()) {
        slot_of_axis_.swap(at);
    }
}

WordRows::WordRows(const Sample& sample, const Anchors& anchors, int rows, const Model& model)
    : slots_(size_t(model.slots())), slot_of_axis_(model.layout.axes),
      energy_(model.estimator.energy) {
    std::vector<int64_t> chosen = fitting_rows(sample.shape);
    n_ = int(std::min(
            {chosen.size(), size_t(rows), std::max(rows_that_fit(model.slots()), kQuickRows)}));
    const std::vector<int> axis = model.layout.slot_axis();
    for (size_t s = 0; s < axis.size(); s++) {
        if (axis[s] >= 0) {
            slot_of_axis_[axis[s]] = int(s);
        }
    }
    const float root = std::sqrt(energy_);
    residual_.resize(size_t(n_) * slots_);
    inverse_.resize(n_);
    square_.resize(n_);
    Rescue rescue;
#pragma omp parallel for schedule(static)
    for (int i = 0; i < n_; i++) {
        rescue.run([&] {
            // as they are coded, but on the lattice: a wild component must not own a word
            const int j = anchors.label[chosen[i]];
            const float* x = sample.vector(chosen[i]);
            std::vector<float> lattice(model.dp(), 0);
            for (int k = 0; k < model.d; k++) {
                const float u = (x[k] - model.lattice.mean[k]) * model.lattice.scale;
                lattice[k] = std::min(127.0f, std::max(-127.0f, u));
            }
            float* y = &residual_[size_t(i) * slots_];
            model.frame_of(j).rotate(lattice.data(), y);
            const float* base = &model.derived().anchor_rotated[size_t(j) * slots_];
            for (size_t s = 0; s < slots_; s++) {
                y[s] -= base[s];
            }
            const float length = std::sqrt(model.anchor_distance(lattice.data(), j));
            inverse_[i] = length > 0 ? root / length : 0.0f;
            std::vector<float> residual(model.d);
            residual_of(sample, anchors, chosen[i], residual.data());
            square_[i] = canonical_dot(model.d, residual.data(), residual.data());
        });
    }
    rescue.rethrow();
}

std::vector<int> WordRows::columns(const WordModel& words) const {
    std::vector<int> column = words.model.layout.slot_axis();
    for (int& at : column) {
        at = at < 0 ? -1 : slot_of_axis_[words.order.empty() ? at : words.order[at]];
    }
    return column;
}

int WordRows::rows_for(const Model& model, int rows) const {
    return int(std::min({size_t(n_), size_t(rows), rows_that_fit(model.slots())}));
}

float WordRows::value(int row, int column, const Layout& layout) const {
    const float v = residual_[size_t(row) * slots_ + size_t(column)];
    return layout.factor_bytes > 0 ? v * inverse_[row] : v;
}

double WordRows::square(int row, const Layout& layout) const {
    return layout.factor_bytes > 0 ? energy_ : square_[row];
}

WordModel word_model(const Model& model, const Axes& axes, WordAxes kind, int code_bytes,
                     int factor_bytes) {
    WordModel words{model, {}};
    Model& result = words.model;
    result.fine_queries = false; // which levels have
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
        words.order = deal(result.layout, axes.strength);
        for (Frame& frame : result.frames) {
            frame.reorder(words.order);
        }
    }
    return words;
}

double word_error(const WordRows& rows, int first, int count, const WordModel& words) {
    const Model& model = words.model;
    const Layout& layout = model.layout;
    const std::vector<int> column = rows.columns(words);
    const int from = std::min(first, std::max(0, rows.size() - count));
    const int end = std::min(rows.size(), from + count);
    const auto limit = float(Codebook::limit(layout));
    const float inverse = 1.0f / model.codebook.unit;
    std::vector<double> kept(size_t(end - from), 0);
    int64_t error = 0; // integers: the same sum from any number of threads
    Rescue rescue;
#pragma omp parallel reduction(+ : error)
    rescue.run([&] {
        std::vector<int16_t> x(column.size(), 0);
        std::vector<uint8_t> code(layout.code_bytes);
#pragma omp for schedule(static) nowait
        for (int i = from; i < end; i++) {
            for (size_t s = 0; s < column.size(); s++) {
                const float own = column[s] < 0 ? 0.0f : rows.value(i, column[s], layout);
                kept[i - from] += double(own) * own;
                const float v = own * inverse;
                x[s] = int16_t(round_even(std::min(limit, std::max(-limit, v))));
            }
            nearest_words(layout, model.codebook, x.data(), code.data());
            for (int b = 0; b < layout.blocks(); b++) {
                for (int s = layout.block_slot[b]; s < layout.block_slot[b + 1]; s++) {
                    const int off = x[s] - model.codebook.at(s, code[b]);
                    error += int64_t(off) * off;
                }
            }
        }
    });
    rescue.rethrow();
    double total = 0, inside = 0; // of the axes without words, too
    for (int i = from; i < end; i++) {
        total += rows.square(i, layout);
        inside += kept[i - from];
    }
    const double unit = model.codebook.unit;
    return total > 0 ? (double(error) * unit * unit + std::max(0.0, total - inside)) / total : 0;
}

namespace {

/// The largest component of the first rows.
float largest_of(const WordRows& rows, int n, const std::vector<int>& column,
                 const Layout& layout) {
    std::vector<float> of_row(n, 0);
#pragma omp parallel for schedule(static)
    for (int i = 0; i < n; i++) {
        for (const int at : column) {
            const float v = at < 0 ? 0.0f : std::fabs(rows.value(i, at, layout));
            of_row[i] = std::max(of_row[i], v);
        }
    }
    return n > 0 ? *std::max_element(of_row.begin(), of_row.end()) : 0.0f;
}

} // namespace

void train_words(const WordRows& rows, int count, int iterations, uint32_t seed, WordModel& words) {
    Model& model = words.model;
    const Layout& layout = model.layout;
    with_slots(model);
    const std::vector<int> column = rows.columns(words);
    const int n = rows.rows_for(model, count);
    const float largest = largest_of(rows, n, column, layout);
    const int limit = Codebook::limit(layout);
    model.codebook.unit = largest > 0 ? largest / float(limit) : 1.0f;
    const float inverse = 1.0f / model.codebook.unit;
    Rescue rescue;
#pragma omp parallel for schedule(dynamic)
    for (int b = 0; b < layout.blocks(); b++) {
        rescue.run([&] {
            const int first = layout.block_slot[b], width = layout.block_slot[b + 1] - first;
            std::vector<int16_t> x(size_t(n) * width, 0);
            for (int i = 0; i < n; i++) {
                for (int k = 0; k < width; k++) {
                    const int at = column[first + k];
                    const float v = at < 0 ? 0.0f : rows.value(i, at, layout) * inverse;
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
