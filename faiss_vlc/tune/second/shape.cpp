#include <faiss_vlc/tune/second/shape.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include <faiss_vlc/axes/leading_axes.h>
#include <faiss_vlc/lib/numeric.h>
#include <faiss_vlc/lib/parallel.h>
#include <faiss_vlc/model/coder.h>
#include <faiss_vlc/tune/frames.h>
#include <faiss_vlc/tune/steps.h>

namespace faiss_vlc {

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

namespace {

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

} // namespace

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

} // namespace faiss_vlc
