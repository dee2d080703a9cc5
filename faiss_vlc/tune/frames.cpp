#include <faiss_vlc/tune/frames.h>

#include <algorithm>
#include <memory>
#include <numeric>

#include <faiss_vlc/axes/leading_axes.h>
#include <faiss_vlc/lib/limits.h>
#include <faiss_vlc/tune/steps.h>

namespace faiss_vlc {

namespace {

constexpr int64_t kAxisRows = 16384; ///< that axes are found by where no covariance is stored
constexpr int kRowsAtOnce = 256;
constexpr int kFirstAxes = 128;

/// Sum over rows of weight * r r^T, r the residual; no matrix of d x d is made.
class RowsForm : public Form {
public:
    RowsForm(const Sample& sample, const Anchors& anchors, std::vector<int64_t> rows,
             std::vector<float> weight)
        : sample_(sample), anchors_(anchors), rows_(std::move(rows)), weight_(std::move(weight)),
          residual_(size_t(kRowsAtOnce) * stride()) {
        for (double v : variance()) {
            trace_ += v;
        }
    }
    int d() const override { return sample_.shape.d; }
    double trace() const override { return trace_; }
    Panels times(const Panels& x) const override {
        Panels out(d(), x.tiles * 16);
        each_block([&](int some, const float* weight) {
            Panels dots(some, x.tiles * 16);
            add_product({residual_.data(), stride(), 1}, x, dots);
            for (int t = 0; t < dots.tiles; t++) {
                for (int i = 0; i < some * 16; i++) {
                    dots.tile(t)[i] *= weight[i / 16];
                }
            }
            add_product({residual_.data(), 1, stride()}, dots, out);
        });
        return out;
    }
    /// Along each coordinate.
    std::vector<double> variance() const {
        std::vector<double> sums(d(), 0);
        each_block([&](int some, const float* weight) {
#pragma omp parallel for schedule(static)
            for (int k = 0; k < d(); k++) {
                for (int i = 0; i < some; i++) {
                    const double v = residual_[i * stride() + k];
                    sums[k] += weight[i] * v * v;
                }
            }
        });
        return sums;
    }

private:
    int64_t stride() const {
        return (d() + 15) / 16 * 16 + 16;
    }
    template <class Body>
    void each_block(const Body& body) const {
        for (size_t first = 0; first < rows_.size(); first += kRowsAtOnce) {
            const int some = int(std::min<size_t>(kRowsAtOnce, rows_.size() - first));
#pragma omp parallel for schedule(static)
            for (int i = 0; i < some; i++) {
                residual_of(sample_, anchors_, rows_[first + i], &residual_[i * stride()]);
            }
            body(some, &weight_[first]);
        }
    }

    const Sample& sample_;
    const Anchors& anchors_;
    std::vector<int64_t> rows_;
    std::vector<float> weight_;
    mutable std::vector<float> residual_; ///< rows of stride
    double trace_ = 0;
};

/// Training rows that are kept as vectors, or other ones where none is.
std::vector<int64_t> axis_rows(const Sample& sample) {
    const Shape& shape = sample.shape;
    const bool trained = sample.first_kept < shape.n_train;
    const int64_t end = trained ? shape.n_train : shape.n;
    const int64_t first = std::max(sample.first_kept, end - kAxisRows);
    std::vector<int64_t> rows(end - first);
    std::iota(rows.begin(), rows.end(), first);
    return rows;
}

/// The form of each group: its own rows, and all of them with the weight of d rows.
std::unique_ptr<RowsForm> rows_form(const Sample& sample, const Anchors& anchors, int group) {
    std::vector<int64_t> rows = axis_rows(sample);
    std::vector<float> weight(rows.size(), 1);
    const float other = float(double(sample.shape.d) / double(rows.size()));
    for (size_t i = 0; i < rows.size() && anchors.groups > 1; i++) {
        weight[i] = other + float(anchors.group[anchors.label[rows[i]]] == group);
    }
    return std::make_unique<RowsForm>(sample, anchors, std::move(rows), std::move(weight));
}

const int64_t* covariance_of(const Anchors& anchors, int d, int group) {
    return &anchors.covariance[size_t(group) * d * d];
}

/// A spectrum of d values that begins with those known; the rest of the trace is spread evenly.
void add_spectrum(const std::vector<double>& known, double trace, std::vector<double>& sum) {
    const size_t d = sum.size();
    if (!(trace > 0)) {
        return;
    }
    double rest = trace;
    for (size_t i = 0; i < known.size(); i++) {
        sum[i] += known[i] / trace;
        rest -= known[i];
    }
    const double least = known.empty() ? trace : known.back();
    for (size_t i = known.size(); i < d; i++) {
        sum[i] += std::clamp(rest / double(d - known.size()), 0.0, least) / trace;
    }
}

/// What frames should hold so that none is missed: the lists' weights differ a little.
int with_margin(int axes, int d) {
    return std::min(d, axes + axes / 16 + 16);
}

std::vector<Frame> identity_frames(const Sample& sample, const Anchors& anchors,
                                   const VLCParameters& params) {
    const int d = sample.shape.d;
    std::vector<std::vector<double>> variances;
    std::vector<double> spectrum(d, 0);
    for (int g = 0; g < anchors.groups; g++) {
        std::vector<double> variance(d);
        for (int64_t k = 0; k < d && d <= kMaxCovarianceDim; k++) {
            variance[k] = double(covariance_of(anchors, d, g)[k * d + k]);
        }
        if (d > kMaxCovarianceDim) {
            variance = rows_form(sample, anchors, g)->variance();
        }
        variances.push_back(variance);
        std::sort(variance.rbegin(), variance.rend());
        add_spectrum(variance, std::accumulate(variance.begin(), variance.end(), 0.0), spectrum);
    }
    const int bytes = params.first_size(d) - kFactorBytes;
    const int count =
            d <= kExactDim ? d
                           : with_margin(axes_with_bits(bytes, spectrum, tilts_to_try(params)), d);
    std::vector<Frame> frames;
    for (const std::vector<double>& variance : variances) {
        frames.push_back(Frame::identity(variance, count));
    }
    return frames;
}

std::vector<Frame> leading_frames(const Sample& sample, const Anchors& anchors,
                                  const VLCParameters& params) {
    const int d = sample.shape.d;
    std::vector<std::unique_ptr<Form>> forms;
    for (int g = 0; g < anchors.groups; g++) {
        if (d > kMaxCovarianceDim) {
            forms.push_back(rows_form(sample, anchors, g));
        } else {
            forms.push_back(std::make_unique<DenseForm>(d, covariance_of(anchors, d, g)));
        }
    }
    return grow_frames(forms, params.first_size(d) - kFactorBytes, tilts_to_try(params));
}

} // namespace

std::vector<double> tilts_to_try(const VLCParameters& params) {
    return params.tilt >= 0 ? std::vector<double>{params.tilt}
                            : std::vector<double>{0, 0.25, 0.5, 0.75, 1.0};
}

int axes_with_bits(int code_bytes, const std::vector<double>& variance,
                   const std::vector<double>& tilts) {
    // the least tilt spreads bits widest
    const double tilt = *std::min_element(tilts.begin(), tilts.end());
    return std::min(int(variance.size()), Layout::allocate(code_bytes, variance, tilt).axes);
}

std::vector<Frame> grow_frames(const std::vector<std::unique_ptr<Form>>& forms, int code_bytes,
                               const std::vector<double>& tilts) {
    const int d = forms.front()->d();
    std::vector<LeadingAxes> axes;
    for (const auto& form : forms) {
        axes.emplace_back(*form);
    }
    int count = 0;
    for (int wanted = std::min(d, std::max(kFirstAxes, 2 * code_bytes)); count < wanted;) {
        std::vector<double> spectrum(d, 0);
        for (size_t g = 0; g < forms.size(); g++) {
            axes[g].grow(wanted - count);
            add_spectrum(axes[g].values(), forms[g]->trace(), spectrum);
        }
        count = wanted;
        std::sort(spectrum.rbegin(), spectrum.rend());
        wanted = with_margin(axes_with_bits(code_bytes, spectrum, tilts), d);
    }
    std::vector<Frame> frames;
    for (LeadingAxes& one : axes) {
        frames.push_back(one.frame());
    }
    return frames;
}

std::vector<Frame> make_frames(const Sample& sample, const Anchors& anchors,
                               const VLCParameters& params) {
    const int d = sample.shape.d;
    if (params.frame == FrameKind::identity) {
        return identity_frames(sample, anchors, params);
    }
    if (d > kExactDim) {
        return leading_frames(sample, anchors, params);
    }
    std::vector<Frame> frames;
    for (int g = 0; g < anchors.groups; g++) {
        frames.push_back(Frame::principal(d, covariance_of(anchors, d, g)));
    }
    return frames;
}

} // namespace faiss_vlc
