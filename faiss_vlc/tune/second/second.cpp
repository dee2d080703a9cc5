#include <algorithm>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include <faiss_vlc/lib/interrupt.h>
#include <faiss_vlc/lib/numeric.h>
#include <faiss_vlc/lib/parallel.h>
#include <faiss_vlc/model/coder.h>
#include <faiss_vlc/query/query.h>
#include <faiss_vlc/tune/second/counts.h>
#include <faiss_vlc/tune/second/shape.h>
#include <faiss_vlc/tune/steps.h>

namespace faiss_vlc {

namespace {

/// Codes of rows, by both tiers.
std::vector<uint8_t> code_rows(const Sample& sample, const Anchors& anchors, const Model& model,
                               const std::vector<int64_t>& rows, std::vector<double>* alpha) {
    const auto size = size_t(model.code_size());
    std::vector<uint8_t> codes(rows.size() * size + kChunk);
    Rescue rescue;
#pragma omp parallel
    {
        std::unique_ptr<Model::Coder> coder;
        rescue.run([&] { coder = std::make_unique<Model::Coder>(model); });
#pragma omp for schedule(static)
        for (size_t i = 0; i < rows.size(); i++) {
            rescue.run([&] {
                if (!coder) {
                    return;
                }
                coder->encode(sample.vector(rows[i]), anchors.label[rows[i]], &codes[i * size]);
                if (alpha) {
                    (*alpha)[i] = coder->second_alpha();
                }
            });
        }
    }
    rescue.rethrow();
    return codes;
}

/// From the sample's alphas but the wildest at both ends, and a quarter more.
void set_alphas(std::vector<double> alpha, SecondTier& tier) {
    std::sort(alpha.begin(), alpha.end());
    const size_t tail = alpha.size() / 500;
    const double low = alpha[tail], high = alpha[alpha.size() - 1 - tail];
    const double margin = 0.25 * (high - low) + 1e-4;
    tier.low = float(std::clamp(low - margin, -0.9, 9.0));
    tier.high = float(std::clamp(high + margin, double(tier.low) + 1e-3, 10.0));
}

/// Distances from decoded vectors: what refine_all() gives where these are by decoding, but faster.
std::vector<float> decode_all(const Sample& sample, const Anchors& anchors, const Trial& wide,
                              const Model& model) {
    const bool product = model.metric == faiss::METRIC_INNER_PRODUCT;
    const int d = model.d;
    const size_t n = wide.base.size();
    const std::vector<uint8_t> codes = code_rows(sample, anchors, model, wide.base, nullptr);
    std::vector<float> decoded(n * size_t(d)), distances(wide.candidate.size());
    Rescue rescue;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < n; i++) {
        rescue.run([&] {
            const uint8_t* code = &codes[i * size_t(model.code_size())];
            const int j = anchors.label[wide.base[i]];
            std::vector<float> residual(size_t(model.slots()));
            float* const x = &decoded[i * size_t(d)];
            model.start_of(j, x);
            model.decode_residual(j, code, residual.data());
            model.frame_of(j).rotate_back_add(residual.data(), x);
            model.second->decode_add(code + model.layout.code_size(), x);
        });
    }
    rescue.rethrow();
#pragma omp parallel for schedule(static)
    for (size_t q = 0; q < wide.queries.size(); q++) {
        rescue.run([&] {
            std::vector<float> lattice(static_cast<size_t>(d));
            for (int k = 0; k < d; k++) {
                lattice[size_t(k)] = (wide.queries[q][k] - (product ? 0 : model.lattice.mean[k])) *
                                     model.lattice.scale;
            }
            for (size_t c = q * n; c < (q + 1) * n; c++) {
                const float* x = &decoded[size_t(wide.candidate[c]) * size_t(d)];
                distances[c] = product ? -canonical_dot(d, lattice.data(), x)
                                       : canonical_l2(d, lattice.data(), x);
            }
        });
    }
    rescue.rethrow();
    return distances;
}

/// The estimates by both tiers of all queries and candidates.
std::vector<float> refine_all(const Anchors& anchors, const Trial& wide, const Model& model,
                              const std::vector<uint8_t>& codes) {
    const auto size = size_t(model.code_size()), first = size_t(model.layout.code_size());
    const auto candidates = size_t(wide.candidates);
    std::vector<float> refined(wide.candidate.size());
    Rescue rescue;
#pragma omp parallel
    rescue.run([&] {
        Query query(model);
        Refinement refinement(model);
        std::vector<int> order(candidates);
#pragma omp for schedule(dynamic) nowait
        for (size_t q = 0; q < wide.queries.size(); q++) {
            rescue.run([&] { // nothing is thrown out of a loop of OpenMP's
                const int32_t* candidate = &wide.candidate[q * candidates];
                const auto list_of = [&](int c) {
                    return anchors.label[wide.base[size_t(candidate[c])]];
                };
                query.set(wide.queries[q]);
                refinement.forget();
                std::iota(order.begin(), order.end(), 0); // by list: it is prepared once
                std::stable_sort(order.begin(), order.end(),
                                 [&](int a, int b) { return list_of(a) < list_of(b); });
                for (const int c : order) {
                    const uint8_t* code = &codes[size_t(candidate[c]) * size];
                    refined[q * candidates + size_t(c)] =
                            query.refined(refinement, int(list_of(c)), code, code + first);
                }
            });
        }
    });
    rescue.rethrow();
    return refined;
}

/// How many true neighbours of a wide trial are among the nearest by these estimates.
int64_t found_by(const Trial& wide, const float* estimates) {
    const auto n = size_t(wide.candidates), k = size_t(wide.neighbours);
    int64_t found = 0;
    for (size_t q = 0; q < wide.queries.size(); q++) { // the first k candidates are the nearest
        std::vector<float> one(estimates + q * n, estimates + (q + 1) * n);
        std::vector<float> true_ones(one.begin(), one.begin() + ptrdiff_t(k));
        std::nth_element(one.begin(), one.begin() + ptrdiff_t(k - 1), one.end());
        for (const float estimate : true_ones) {
            found += estimate <= one[k - 1];
        }
    }
    return found;
}

/// Sets the model's second tier, of so many bytes of factors.
std::shared_ptr<SecondTier> add_tier(const Sample& sample, const Anchors& anchors,
                                     const std::vector<int64_t>& rows, const Errors& errors,
                                     int code_size, int factor_bytes, Model& model) {
    const std::shared_ptr<SecondTier> tier = shape_of(errors, code_size, factor_bytes);
    model.add_second(tier);
    std::vector<double> alpha(rows.size());
    code_rows(sample, anchors, model, rows, &alpha);
    set_alphas(std::move(alpha), *tier);
    return tier;
}

} // namespace

std::vector<float> fit_second(const Sample& sample, const Anchors& anchors, const Trial& trial,
                              const Trial& wide, const VLCParameters& params, Model& model) {
    constexpr int64_t kMostFloats = int64_t(1) << 24, kMostRows = 16384;
    constexpr double kClearly = 0.005;
    const bool product = model.metric == faiss::METRIC_INNER_PRODUCT;
    const int size = params.second_size(model.d);
    std::vector<int64_t> rows = fitting_rows(sample.shape);
    rows.resize(size_t(std::min(
            {int64_t(rows.size()), kMostRows, std::max<int64_t>(64, kMostFloats / model.d)})));
    check_interrupt();
    const Errors errors = find_errors(sample, anchors, model, rows);
    check_interrupt();
    const bool few = model.d <= kFewDimensions;
    const int factors = few ? 1 : SecondTier::factors_of(model.d, size, product);
    std::shared_ptr<SecondTier> tier =
            add_tier(sample, anchors, rows, errors, size, factors, model);
    std::vector<uint8_t> codes = code_rows(sample, anchors, model, wide.base, nullptr);
    std::vector<float> refined = refine_all(anchors, wide, model, codes);
    if (!few) { // do sums lose what codes have?
        check_interrupt();
        Model decoding = model;
        const std::shared_ptr<SecondTier> other =
                add_tier(sample, anchors, rows, errors, size, 1, decoding);
        const std::vector<float> decoded = decode_all(sample, anchors, wide, decoding);
        const double all = double(wide.queries.size()) * wide.neighbours;
        if (double(found_by(wide, decoded.data())) >
            double(found_by(wide, refined.data())) + kClearly * all) {
            model.add_second(other);
            tier = other;
            codes = code_rows(sample, anchors, model, wide.base, nullptr);
            refined = refine_all(anchors, wide, model, codes);
        }
    }
    const auto search = [&](int probes) {
        check_interrupt();
        return search_trial(anchors, trial, model, codes, wide.queries.size(), probes);
    };
    set_counts(search(model.m), search(model.default_nprobe), wide.base.size(), *tier);
    return refined;
}

} // namespace faiss_vlc
