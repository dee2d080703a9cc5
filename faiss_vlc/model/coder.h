#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include <faiss_vlc/kernels/simd.h>
#include <faiss_vlc/model/model.h>

namespace faiss_vlc {

/// Encodes vectors; holds scratch, so one per thread. The bytes are those of the portable loops
/// (simd.h), on every instruction set, alone or together.
class Model::Coder {
public:
    static constexpr int kBatch = 64; ///< vectors to a call

    explicit Coder(const Model& model);

    /// x float d in the data's units, list j; code code_size() bytes.
    void encode(const float* x, int j, uint8_t* code);
    /// The same of n <= kBatch vectors (float n x d), faster: those of one frame are rotated
    /// together. codes: code_size() bytes every `stride`; list -1 is left out.
    void encode(int n, const float* x, const int64_t* lists, uint8_t* codes, size_t stride);

    /// |r|^2, <r, r^> and |r^|^2 of the last encode, in squared lattice units.
    double residual_square = 0;
    double residual_dot = 0;
    double decoded_square() const;
    /// SecondCoder::alpha of it, where there is a second tier.
    double second_alpha() const { return second_->alpha; }

private:
    const Model& model_;
    std::unique_ptr<SecondCoder> second_; ///< null: there is no second tier
    std::vector<float> lattice_[kTogether], rotated_[kTogether];
    std::vector<int16_t> scaled_[kTogether];
    std::vector<uint8_t> level_;                  ///< slots
    std::vector<int16_t> for_words_;              ///< slots
    std::vector<float> residual_, decoded_;       ///< slots
    std::vector<float> anchor_, whole_, missing_; ///< d, second tier: a, r, r1
    int list_ = 0;                                ///< of the last encode
    float scale_ = 0;                             ///< its Model::code_scale
    int64_t word_norms_ = 0;                      ///< its words' squared norms

    void to_lattice(const float* x, float* lattice) const;
    /// The levels' grid for vectors of this l.
    LevelGrid grid_of(int j, float length) const;
    /// A far vector's |r^|^2 / |r|^2 is kept as one of few values. Of the l's next to its own this
    /// takes the one whose codes fit, and are of one of those values, best: distances are off by
    /// what is missed of both. Returns the factors. length: the factors' bits of l.
    uint16_t encode_far(const float* rotated, int j, uint16_t length);
    /// How far |r^|^2 = square is from what a far vector of this |r| keeps of it.
    double missed(double square, double length) const;
    /// Moves some levels, whose residuals lie between two, as long as that misses less.
    void meet_far(const LevelGrid& grid, const float* rotated, double length, double square);
    void encode_rotated(const float* lattice, const float* rotated, int j, uint8_t* code);
    /// These return the factors; length: the factors' bits of l.
    uint16_t encode_levels(const float* rotated, int j, uint16_t length, uint8_t* code);
    uint16_t encode_words(const float* rotated, int j, uint16_t length, uint8_t* code);
    double square_of_levels(int j, float scale) const;
    void encode_second(const float* lattice, int j, uint8_t* code);
};

} // namespace faiss_vlc
