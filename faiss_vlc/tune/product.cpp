#include <algorithm>
#include <cmath>
#include <set>
#include <string_view>
#include <vector>

#include <faiss_vlc/kernels/simd.h>
#include <faiss_vlc/lib/numeric.h>
#include <faiss_vlc/lib/parallel.h>
#include <faiss_vlc/tune/held_out.h>

namespace faiss_vlc {

namespace {

constexpr int kCodewords = 256; ///< codewords of a block
constexpr int kIterations = 5;
constexpr size_t kLeastRows = 4096; ///< of the base, or codebooks know it by heart
constexpr int64_t kTrainingRows = 6144;
constexpr int64_t kTrainingValues = 1 << 23; ///< of all rows: bounds memory
constexpr int kChunk = 256;                  ///< rows coded at a time

/// Dimensions that share a byte, with codewords of int8 components.
struct Block {
    int first = 0, dims = 0;
    int groups = 0;           ///< of 4 dimensions, as AnchorTiles wants them
    float scale = 0;          ///< steps for a unit of the residual
    std::vector<int8_t> word; ///< kCodewords x 4 groups
    std::vector<int8_t> packed;
    std::vector<int32_t> sums, norm;

    std::vector<float> value; ///< dims x kCodewords: the codewords in lattice units

    int width() const { return 4 * groups; }
    AnchorTiles tiles() const {
        return {kCodewords / 16, groups, packed.data(), sums.data(), norm.data()};
    }
    /// n rows of residuals (float n x d) to int8 n x width().
    void round(int n, int d, const float* residual, int8_t* out) const;
    void pack(int words);
    void train(int n, int d, const float* residual);
};

void Block::round(int n, int d, const float* residual, int8_t* out) const {
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < dims; k++) {
            const float v = residual[size_t(i) * d + first + k] * scale;
            out[i * width() + k] = int8_t(round_even(std::min(127.0f, std::max(-127.0f, v))));
        }
    }
}

/// Makes tiles of the first codewords; the others are never the nearest.
void Block::pack(int words) {
    packed.assign(size_t(kCodewords) * width(), 0);
    sums.assign(kCodewords, 0);
    norm.assign(kCodewords, INT32_MAX);
    for (int c = 0; c < words; c++) {
        norm[c] = 0;
        for (int k = 0; k < width(); k++) {
            const int8_t v = word[c * width() + k];
            packed[(size_t(c / 16) * groups + k / 4) * 64 + c % 16 * 4 + k % 4] = v;
            sums[c] += v;
            norm[c] += v * v;
        }
    }
}

/// k-means from the first different rows. A codeword without rows stays where it is.
void Block::train(int n, int d, const float* residual) {
    float largest = 0;
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < dims; k++) {
            largest = std::max(largest, std::fabs(residual[size_t(i) * d + first + k]));
        }
    }
    scale = largest > 0 ? 127.0f / largest : 1.0f;
    std::vector<int8_t> x(size_t(n) * width(), 0);
    round(n, d, residual, x.data());
    std::set<std::string_view> different;
    word.assign(size_t(kCodewords) * width(), 0);
    for (int i = 0; i < n && different.size() < size_t(kCodewords); i++) {
        const int8_t* row = &x[size_t(i) * width()];
        const size_t at = different.size();
        if (different.insert({reinterpret_cast<const char*>(row), size_t(width())}).second) {
            std::copy_n(row, width(), &word[at * width()]);
        }
    }
    const int words = int(different.size());
    std::vector<int32_t> label(n);
    for (int t = 0; t < kIterations; t++) {
        pack(words);
        simd().nearest.rows(tiles(), n, x.data(), label.data());
        std::vector<int64_t> sum(word.size(), 0), count(kCodewords, 0);
        for (int i = 0; i < n; i++) {
            count[label[i]]++;
            for (int k = 0; k < dims; k++) {
                sum[label[i] * width() + k] += x[size_t(i) * width() + k];
            }
        }
        for (int c = 0; c < words; c++) {
            for (int k = 0; k < dims && count[c] > 0; k++) { // halves up
                const int64_t twice = 2 * sum[c * width() + k] + count[c];
                const int64_t by = 2 * count[c];
                word[c * width() + k] = int8_t(twice >= 0 ? twice / by : -((by - 1 - twice) / by));
            }
        }
    }
    pack(words);
    value.resize(size_t(dims) * kCodewords);
    for (int k = 0; k < dims; k++) {
        for (int c = 0; c < kCodewords; c++) {
            value[k * kCodewords + c] = float(word[c * width() + k]) / scale;
        }
    }
}

/// Sample rows less their anchors, in lattice units: float n x d.
void residuals_of(const Sample& sample, const Anchors& anchors, int n, const int64_t* rows,
                  float* out) {
    const int d = sample.shape.d;
    for (int i = 0; i < n; i++) {
        const float* x = sample.vector(rows[i]);
        const int32_t* a = &anchors.anchor[size_t(anchors.label[rows[i]]) * sample.shape.dp];
        for (int k = 0; k < d; k++) {
            out[size_t(i) * d + k] = (x[k] - sample.lattice.mean[k]) * sample.lattice.scale -
                                     float(a[k]) * (1.0f / (1 << kAnchorBits));
        }
    }
}

std::vector<Block> train_blocks(const Sample& sample, const Anchors& anchors, const Trial& trial,
                                int bytes) {
    const int d = sample.shape.d;
    const int64_t all = int64_t(trial.base.size());
    const int n = int(std::min({all, kTrainingRows, kTrainingValues / d}));
    std::vector<int64_t> rows(n);
    for (int64_t i = 0; i < n; i++) {
        rows[i] = trial.base[i * all / n];
    }
    std::vector<float> residual(size_t(n) * d);
    residuals_of(sample, anchors, n, rows.data(), residual.data());
    std::vector<Block> blocks(std::min(bytes, d));
    Rescue rescue;
#pragma omp parallel for schedule(dynamic)
    for (size_t b = 0; b < blocks.size(); b++) {
        rescue.run([&] {
            Block& block = blocks[b];
            block.first = int(b * d / blocks.size());
            block.dims = int((b + 1) * d / blocks.size()) - block.first;
            block.groups = (block.dims + 3) / 4;
            block.train(n, d, residual.data());
        });
    }
    rescue.rethrow();
    return blocks;
}

/// A base's codes, and what distances need of each row beside them.
struct CodedRows {
    std::vector<uint8_t> code; ///< rows x blocks
    std::vector<double> own;   ///< |r^|^2 + 2 <a, r^>, r^ the decoded residual
};

CodedRows code_rows(const Sample& sample, const Anchors& anchors, const Trial& trial,
                    const std::vector<Block>& blocks) {
    const int d = sample.shape.d;
    const int n = int(trial.base.size());
    CodedRows coded;
    coded.code.resize(size_t(n) * blocks.size());
    coded.own.resize(n, 0);
    Rescue rescue;
#pragma omp parallel for schedule(dynamic)
    for (int first = 0; first < n; first += kChunk) {
        rescue.run([&] {
            const int count = std::min(kChunk, n - first);
            std::vector<float> residual(size_t(count) * d);
            residuals_of(sample, anchors, count, &trial.base[first], residual.data());
            std::vector<int32_t> label(count);
            for (size_t b = 0; b < blocks.size(); b++) {
                const Block& block = blocks[b];
                const double unit = 1.0 / double(block.scale);
                std::vector<int8_t> x(size_t(count) * block.width(), 0);
                block.round(count, d, residual.data(), x.data());
                simd().nearest.rows(block.tiles(), count, x.data(), label.data());
                for (int i = 0; i < count; i++) {
                    const int32_t* a =
                            &anchors.anchor[size_t(anchors.label[trial.base[first + i]]) *
                                                    sample.shape.dp +
                                            block.first];
                    const int8_t* word = &block.word[label[i] * block.width()];
                    double sum = 0;
                    for (int k = 0; k < block.dims; k++) {
                        const double c = double(word[k]) * unit;
                        sum += c * (c + 2 * double(a[k]) / (1 << kAnchorBits));
                    }
                    coded.own[first + i] += sum;
                    coded.code[size_t(first + i) * blocks.size() + b] = uint8_t(label[i]);
                }
            }
        });
    }
    rescue.rethrow();
    return coded;
}

} // namespace

int64_t found_by_product(const Sample& sample, const Anchors& anchors, const Trial& trial,
                         const Model& model, const Truth& truth,
                         const std::vector<float>& list_distance, int bytes) {
    const bool products = model.metric == faiss::METRIC_INNER_PRODUCT;
    if (trial.base.size() < kLeastRows) {
        return 0;
    }
    const std::vector<Block> blocks = train_blocks(sample, anchors, trial, bytes);
    const CodedRows coded = code_rows(sample, anchors, trial, blocks);
    const size_t n = trial.base.size();
    int64_t total = 0;
    Rescue rescue;
#pragma omp parallel for schedule(dynamic) reduction(+ : total)
    for (size_t q = 0; q < trial.queries.size(); q++) {
        rescue.run([&] {
            const float* x = trial.queries[q];
            std::vector<float> dot(blocks.size() * kCodewords, 0); // <q, codeword>
            for (size_t b = 0; b < blocks.size(); b++) {
                for (int k = 0; k < blocks[b].dims; k++) {
                    const int at = blocks[b].first + k;
                    const float v =
                            (x[at] - (products ? 0 : model.lattice.mean[at])) * model.lattice.scale;
                    const float* value = &blocks[b].value[k * kCodewords];
                    for (int c = 0; c < kCodewords; c++) {
                        dot[b * kCodewords + c] += v * value[c];
                    }
                }
            }
            std::vector<float> estimate(n);
            for (size_t i = 0; i < n; i++) {
                const uint8_t* code = &coded.code[i * blocks.size()];
                float some[4] = {}; // that don't wait for each other
                for (size_t b = 0; b < blocks.size(); b++) {
                    some[b % 4] += dot[b * kCodewords + code[b]];
                }
                const double sum = double(some[0]) + some[1] + some[2] + some[3];
                const double list = list_distance[q * n + i];
                estimate[i] = float(products ? list - sum : list + coded.own[i] - 2 * sum);
            }
            total += truth.found(q, estimate.data(), truth.neighbours);
        });
    }
    rescue.rethrow();
    return total;
}

} // namespace faiss_vlc
