#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include <faiss_vlc/axes/leading_axes.h>
#include <faiss_vlc/kernels/simd.h>
#include <faiss_vlc/lib/integer_math.h>
#include <faiss_vlc/lib/interrupt.h>
#include <faiss_vlc/lib/numeric.h>
#include <faiss_vlc/lib/parallel.h>
#include <faiss_vlc/model/coder.h>
#include <faiss_vlc/query/query.h>
#include <faiss_vlc/tune/frames.h>
#include <faiss_vlc/tune/steps.h>

namespace faiss_vlc {

namespace {

constexpr int kFewDimensions = 32; ///< decoding costs little, factors are a large part

/// What the first codes of some rows miss, in lattice coordinates: |e|, and e / |e|.
struct Errors {
    int n = 0, d = 0;
    int64_t stride = 0;
    std::vector<float> direction; ///< n x stride; 0 where nothing is missed
    std::vector<double> length;   ///< n
};

Errors find_errors(const Sample& sample, const Anchors& anchors, const Model& model,
                   const std::vector<int64_t>& rows) {
    Errors errors;
    errors.n = int(rows.size());
    errors.d = model.d;
    errors.stride = (model.d + 15) / 16 * 16 + 16;
    errors.direction.assign(size_t(errors.n) * size_t(errors.stride), 0);
    errors.length.assign(rows.size(), 0);
    Rescue rescue;
#pragma omp parallel
    {
        std::unique_ptr<Model::Coder> coder;
        std::vector<uint8_t> code;
        std::vector<float> residual, decoded;
        rescue.run([&] {
            coder = std::make_unique<Model::Coder>(model);
            code.resize(size_t(model.code_size()));
            residual.resize(size_t(model.slots()));
            decoded.resize(size_t(model.d));
        });
#pragma omp for schedule(static)
        for (int i = 0; i < errors.n; i++) {
            rescue.run([&] {
                if (decoded.empty()) {
                    return; // its thread found no memory
                }
                const float* x = sample.vector(rows[size_t(i)]);
                const int j = anchors.label[rows[size_t(i)]];
                coder->encode(x, j, code.data());
                model.start_of(j, decoded.data());
                model.decode_residual(j, code.data(), residual.data());
                model.frame_of(j).rotate_back_add(residual.data(), decoded.data());
                float* e = &errors.direction[size_t(i) * size_t(errors.stride)];
                for (int k = 0; k < model.d; k++) {
                    e[k] = (x[k] - model.lattice.mean[k]) * model.lattice.scale - decoded[k];
                }
                const double length = std::sqrt(double(canonical_dot(model.d, e, e)));
                const bool usable = length > 0 && std::isfinite(length);
                errors.length[size_t(i)] = usable ? length : 0;
                for (int k = 0; k < model.d; k++) {
                    e[k] = usable ? float(double(e[k]) / length) : 0.0f;
                }
            });
        }
    }
    rescue.rethrow();
    return errors;
}

/// Sum over rows of e e^T / |e|^2; no matrix of d x d is made.
class ErrorForm : public Form {
public:
    explicit ErrorForm(const Errors& errors) : errors_(errors) {
        for (const double length : errors.length) {
            trace_ += length > 0;
        }
    }
    int d() const override { return errors_.d; }
    double trace() const override { return trace_; }
    Panels times(const Panels& x) const override {
        Panels out(d(), x.tiles * 16), dots(errors_.n, x.tiles * 16);
        add_product({errors_.direction.data(), errors_.stride, 1}, x, dots);
        add_product({errors_.direction.data(), 1, errors_.stride}, dots, out);
        return out;
    }

private:
    const Errors& errors_;
    double trace_ = 0;
};

/// All principal axes, by integers.
Frame principal_frame(const Errors& errors) {
    const int d = errors.d, n = errors.n;
    std::vector<int16_t> turned(size_t(d) * size_t(n)); // component by component
    std::vector<int16_t> row(size_t(d + d % 2));
    for (int i = 0; i < n; i++) {
        Frame::quantize(d, &errors.direction[size_t(i) * size_t(errors.stride)], row.data());
        for (int k = 0; k < d; k++) {
            turned[size_t(k) * size_t(n) + size_t(i)] = row[size_t(k)];
        }
    }
    std::vector<int64_t> covariance(size_t(d) * size_t(d));
#pragma omp parallel for schedule(dynamic)
    for (int k = 0; k < d; k++) {
        const int16_t* a = &turned[size_t(k) * size_t(n)];
        for (int l = 0; l <= k; l++) {
            const int16_t* b = &turned[size_t(l) * size_t(n)];
            int64_t sum = 0;
            for (int i = 0; i < n; i++) {
                sum += int32_t(a[i]) * b[i];
            }
            covariance[size_t(k) * size_t(d) + size_t(l)] = sum;
            covariance[size_t(l) * size_t(d) + size_t(k)] = sum;
        }
    }
    return Frame::principal(d, covariance.data());
}

std::vector<double> variance_of(const Errors& errors, Frame& frame) {
    constexpr int kParts = 64; // sums in a fixed order, whatever the threads
    std::vector<int> all(size_t(frame.kept));
    std::iota(all.begin(), all.end(), 0);
    frame.arrange(all);
    const auto axes = size_t(frame.kept);
    std::vector<double> sums(kParts * axes, 0), variance(axes, 0);
    Rescue rescue;
#pragma omp parallel for schedule(static)
    for (int part = 0; part < kParts; part++) {
        rescue.run([&] {
            std::vector<float> rotated(size_t(frame.slots()));
            for (int i = part; i < errors.n; i += kParts) {
                frame.rotate(&errors.direction[size_t(i) * size_t(errors.stride)], rotated.data());
                for (size_t k = 0; k < axes; k++) {
                    sums[size_t(part) * axes + k] += double(rotated[k]) * rotated[k];
                }
            }
        });
    }
    rescue.rethrow();
    double count = 0;
    for (const double length : errors.length) {
        count += length > 0;
    }
    for (size_t k = 0; k < axes; k++) {
        for (int part = 0; part < kParts; part++) {
            variance[k] += sums[size_t(part) * axes + k];
        }
        // where no row tells, all axes are alike
        variance[k] = count > 0 ? variance[k] / count : 1.0 / errors.d;
    }
    return variance;
}

/// Frame, layout and scales, by what first codes miss.
std::shared_ptr<SecondTier> shape_of(const Errors& errors, int code_size, int factor_bytes) {
    auto tier = std::make_shared<SecondTier>();
    tier->factor_bytes = factor_bytes;
    const int code_bytes = std::min(errors.d, code_size - tier->factor_bytes);
    if (errors.d <= kExactDim) {
        tier->frame = principal_frame(errors);
    } else {
        std::vector<std::unique_ptr<Form>> forms;
        forms.push_back(std::make_unique<ErrorForm>(errors));
        tier->frame = grow_frames(forms, code_bytes, {0}).front();
    }
    std::vector<double> variance = variance_of(errors, tier->frame);
    sort_axes(tier->frame, variance.data());
    tier->layout = BitLayout::allocate(code_bytes, variance);
    tier->frame.keep(tier->layout.axes());
    for (int i = 0; i < tier->frame.kept; i++) {
        tier->sigma.push_back(float(std::sqrt(variance[size_t(i)])));
    }
    std::vector<double> length = errors.length;
    std::sort(length.begin(), length.end());
    length.resize(length.size() - length.size() / 256); // these may be wild
    double sum = 0;
    for (const double one : length) {
        sum += one * one;
    }
    tier->unit = float(std::sqrt(sum / double(std::max<size_t>(1, length.size()))));
    tier->finish();
    return tier;
}

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

/// What ordering the best of a trial's base anew shows: the ranks by the first tier of those that
/// are best by both.
struct Ranks10 {
    std::vector<int> few, many; ///< of the best 10 and 40 of all queries
    std::vector<double> slack;  ///< of the best 10, see Query::widened

    void add(const Ranks10& other) {
        few.insert(few.end(), other.few.begin(), other.few.end());
        many.insert(many.end(), other.many.begin(), other.many.end());
        slack.insert(slack.end(), other.slack.begin(), other.slack.end());
    }
};

/// The rank with which at most .2 % of the best are left out.
int rank_that_holds(std::vector<int> ranks, int least) {
    std::sort(ranks.begin(), ranks.end());
    return ranks.empty() ? least
                         : std::max(least, ranks[ranks.size() - 1 - ranks.size() / 500] + 1);
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

/// The rows of a trial's base, list by list.
struct Listed {
    std::vector<int32_t> row;   ///< indices into the base
    std::vector<size_t> starts; ///< of each list among them, and their number

    Listed(const Anchors& anchors, const std::vector<int64_t>& base, int m)
        : row(base.size()), starts(size_t(m) + 1) {
        for (const int64_t i : base) {
            starts[size_t(anchors.label[i]) + 1]++;
        }
        std::partial_sum(starts.begin(), starts.end(), starts.begin());
        std::iota(row.begin(), row.end(), 0);
        std::stable_sort(row.begin(), row.end(), [&](int32_t a, int32_t b) {
            return anchors.label[base[size_t(a)]] < anchors.label[base[size_t(b)]];
        });
    }
};

/// Scans the rows of a trial's base for one query as a search does, and orders the best anew by
/// both tiers. Holds scratch; one per thread.
class TrialSearch {
public:
    /// codes: of the base's rows.
    TrialSearch(const Listed& listed, const Model& model, const std::vector<uint8_t>& codes)
        : listed_(listed), model_(model), codes_(codes), query_(model), refinement_(model) {}

    /// probes: in how many lists, of the nearest ones.
    Ranks10 ranks(const float* x, int probes) {
        constexpr size_t kFew = 10, kMany = 40;
        scan(x, probes);
        const size_t refined = refine();
        const size_t best = std::min(kMany, refined);
        std::partial_sort(found_.begin(), found_.begin() + ptrdiff_t(best),
                          found_.begin() + ptrdiff_t(refined), [](const Found& a, const Found& b) {
                              return a.by_both != b.by_both ? a.by_both < b.by_both
                                                            : a.rank < b.rank;
                          });
        Ranks10 met;
        for (size_t i = 0; i < best; i++) {
            const Found& one = found_[i];
            met.many.push_back(one.rank);
            if (i < kFew) {
                met.few.push_back(one.rank);
                met.slack.push_back(double(one.estimate - one.by_both) /
                                    query_.slack_unit(one.by_both));
            }
        }
        return met;
    }

private:
    struct Found {
        float estimate; ///< by the first tier
        int list;
        int32_t row;
        int rank;
        float by_both;
    };
    const Listed& listed_;
    const Model& model_;
    const std::vector<uint8_t>& codes_;
    Query query_;
    Refinement refinement_;
    std::vector<Found> found_;

    const uint8_t* code(int32_t row) const {
        return &codes_[size_t(row) * size_t(model_.code_size())];
    }
    void scan(const float* x, int probes) {
        query_.set(x);
        found_.clear();
        for (const int64_t l : query_.rank(probes)) {
            const auto j = int(l);
            const size_t end = listed_.starts[size_t(j) + 1];
            if (listed_.starts[size_t(j)] == end) {
                continue;
            }
            const ListScan& list = query_.list(j);
            for (size_t i = listed_.starts[size_t(j)]; i < end; i++) {
                float estimate[kBlock]; // a code is a block of one vector
                scan_codes(list, code(listed_.row[i]), 1, 0.0f, estimate);
                found_.push_back({estimate[0], j, listed_.row[i], 0, 0});
            }
        }
    }
    /// The first ones of found_ are then those that it returns the number of.
    size_t refine() {
        constexpr size_t kMost = 1024; // what is beyond is hardly among the best
        const size_t some = std::min(kMost, found_.size());
        const auto end = found_.begin() + ptrdiff_t(some);
        const auto before = [](const Found& a, const Found& b) {
            return a.estimate != b.estimate ? a.estimate < b.estimate : a.row < b.row;
        };
        if (end != found_.end()) {
            std::nth_element(found_.begin(), end, found_.end(), before);
        }
        std::sort(found_.begin(), end, before);
        for (size_t i = 0; i < some; i++) {
            found_[i].rank = int(i);
        }
        std::sort(found_.begin(), end, [](const Found& a, const Found& b) { // prepared once a list
            return a.list != b.list ? a.list < b.list : a.rank < b.rank;
        });
        refinement_.forget();
        for (size_t i = 0; i < some; i++) {
            const uint8_t* both = code(found_[i].row);
            found_[i].by_both = query_.refined(refinement_, found_[i].list, both,
                                               both + model_.layout.code_size());
        }
        return some;
    }
};

/// What searches for the trial's queries meet in the nearest lists. least: how many are searched
/// for at least.
Ranks10 search_trial(const Anchors& anchors, const Trial& trial, const Model& model,
                     const std::vector<uint8_t>& codes, size_t least, int probes) {
    constexpr double kMostBytes = 1.5e8; // of codes
    const double each =
            double(trial.base.size()) * probes / model.m * std::max(16, model.layout.code_size());
    const bool is_slow = model.second->by_decoding() && model.d > kFewDimensions;
    const size_t n = std::min(trial.queries.size(),
                              is_slow ? least : std::max(least, size_t(kMostBytes / each)));
    const Listed listed(anchors, trial.base, model.m);
    std::vector<Ranks10> met(n);
    Rescue rescue;
#pragma omp parallel
    rescue.run([&] {
        TrialSearch search(listed, model, codes);
#pragma omp for schedule(dynamic) nowait
        for (size_t q = 0; q < n; q++) {
            rescue.run([&] { met[q] = search.ranks(trial.queries[q], probes); });
        }
    });
    rescue.rethrow();
    Ranks10 all;
    for (const Ranks10& one : met) {
        all.add(one);
    }
    return all;
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

/// How many a search refines, and how much wider a range search scans. usual: with the default
/// nprobe.
void set_counts(Ranks10 met, const Ranks10& usual, size_t base, SecondTier& tier) {
    constexpr int kFew = 10, kMany = 40;
    tier.refined_usual = rank_that_holds(usual.few, kFew);
    tier.refined = std::max(tier.refined_usual, rank_that_holds(met.few, kFew));
    tier.refined_base = std::max<int64_t>(1, int64_t(base));
    const int for_many = rank_that_holds(met.many, kMany);
    tier.growth = float(
            std::clamp(stable_log(double(for_many) / tier.refined) / stable_log(4.0), 0.0, 1.0));
    std::sort(met.slack.begin(), met.slack.end());
    if (!met.slack.empty()) {
        tier.range_slack =
                float(std::max(0.0, met.slack[met.slack.size() - 1 - met.slack.size() / 500]));
    }
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
