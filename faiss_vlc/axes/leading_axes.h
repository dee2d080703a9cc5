#pragma once

#include <cstdint>
#include <vector>

#include <faiss_vlc/axes/frame.h>
#include <faiss_vlc/axes/panels.h>

namespace faiss_vlc {

/// A symmetric matrix without negative eigenvalues, known by its products.
class Form {
public:
    virtual ~Form() = default;
    virtual int d() const = 0;
    virtual double trace() const = 0;
    /// The matrix times x (d rows), the same floats for any threads and instruction set.
    virtual Panels times(const Panels& x) const = 0;
};

/// A covariance as it is stored: int64 d x d.
class DenseForm : public Form {
public:
    DenseForm(int d, const int64_t* covariance);
    int d() const override { return d_; }
    double trace() const override { return trace_; }
    Panels times(const Panels& x) const override;

private:
    int d_;
    int64_t stride_;
    double trace_ = 0;
    std::vector<float> values_; ///< d x stride
};

/// The leading eigenvectors of a form, a block after the other: subspace iteration with Chebyshev's
/// polynomials (Rutishauser, 1969) within what is orthogonal to those that are known. The last ones
/// of a block are rough, but what a block misses the next one finds, so that all of them span about
/// what the exact ones would. Floats in a fixed order.
class LeadingAxes {
public:
    explicit LeadingAxes(const Form& form) : form_(form) {}

    /// Finds up to `more` further axes, as many as are left.
    void grow(int more);

    int count() const { return int(values_.size()); }
    /// Eigenvalues, about falling.
    const std::vector<double>& values() const { return values_; }
    /// Rounded to int8.
    Frame frame() const;

private:
    float* axis(int i) { return &axes_[size_t(i) * stride()]; }
    Strided axes_from(int first) const { return {&axes_[size_t(first) * stride()], stride(), 1}; }
    int64_t stride() const { return (form_.d() + 15) / 16 * 16 + 16; }
    void orthonormalise(Panels& y, int columns);
    void orthonormalise_tile(Panels& y, int t, int width);
    void fill(Panels& y, int column, int attempt) const;
    Panels times(const Panels& x) const;
    std::vector<double> turn_to_ritz(Panels& q, Panels& product, int columns) const;
    void filter(double cut, int degree, Panels& q, Panels product) const;
    void find_block(int kept);

    const Form& form_;
    std::vector<float> axes_; ///< rows: those that are found, then the block's
    int known_ = 0;           ///< rows of axes_ to which further ones are made orthogonal
    std::vector<double> values_;
    std::vector<std::vector<float>> spare_; ///< vectors of the last block that were not taken
};

} // namespace faiss_vlc
