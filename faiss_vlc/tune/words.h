#pragma once

#include <cstdint>
#include <vector>

#include <faiss_vlc/model/model.h>
#include <faiss_vlc/train/sample.h>
#include <faiss_vlc/train/settle.h>
#include <faiss_vlc/tune/steps.h>

namespace faiss_vlc {

/// The axes that words are for.
enum class WordAxes {
    own,       ///< the vectors' own, in their order: where neighbouring ones belong together
    whole,     ///< the same, and words of vectors, not of residuals: where values are few
    principal, ///< by falling variance
    dealt,     ///< principal ones, dealt out so that blocks have like products of variances
};

/// A model of words. order: the axes that it has, in its order, by their numbers in those that it
/// comes from; empty if it has them as they are there.
struct WordModel {
    Model model;
    std::vector<int> order;
};

/// `model`, which has no layout, with one of words in the vectors' own axes or the given ones. Its
/// codebook is still to be trained.
WordModel word_model(const Model& model, const Axes& axes, WordAxes kind, int code_bytes,
                     int factor_bytes);

/// Residuals of the sample's rows along the axes of a model, turned once for words of several
/// layouts.
class WordRows {
public:
    /// At most so many rows, and fewer where they would take more than 256 MB. Words of the same
    /// axes in any order may be trained with them; those given lose their training.
    WordRows(const Sample& sample, const Anchors& anchors, int rows, WordModel& words);

    int size() const { return n_; }
    /// Whether they take more than 128 MB.
    bool are_large() const { return residual_.size() > size_t(32) << 20; }
    /// Where value() has the slots of a model in these axes; -1: it is an empty one.
    std::vector<int> columns(const WordModel& words) const;
    /// How many of at most `rows` a model's words are trained with.
    int rows_for(const Model& model, int rows) const;
    /// In units of the codes' scale.
    float value(int row, int column, const Layout& layout) const;
    /// |r|^2 of a row in the same units, squared.
    double square(int row, const Layout& layout) const;

private:
    WordRows(const Sample& sample, const Anchors& anchors, int rows, const Model& model);

    int n_ = 0;
    size_t slots_;
    std::vector<int> slot_of_axis_;
    float energy_;
    std::vector<float> residual_; ///< rows x slots
    std::vector<float> inverse_;  ///< of the scale of a row's code, if that knows its length
    std::vector<float> square_;
};

/// Trains the codebook by k-means on integers, from at most `count` rows and so many iterations at
/// most. The same words from any number of threads and on any instruction set.
void train_words(const WordRows& rows, int count, int iterations, uint32_t seed, WordModel& words);

/// The share of |r|^2 that the words of `count` other rows miss, those from number `first` on.
double word_error(const WordRows& rows, int first, int count, const WordModel& words);

} // namespace faiss_vlc
