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

/// `model`, which has no layout, with one of words in the vectors' own axes or the given ones. Its
/// codebook is still to be trained.
Model word_model(const Model& model, const Axes& axes, WordAxes kind, int code_bytes,
                 int factor_bytes);

/// Trains the codebook by k-means on integers, from at most `rows` rows of the sample and so many
/// iterations at most. The same words from any number of threads and on any instruction set.
void train_words(const Sample& sample, const Anchors& anchors, int rows, int iterations,
                 uint32_t seed, Model& model);

/// The share of |r|^2 that the words of `rows` other rows miss, those from number `first` on.
double word_error(const Sample& sample, const Anchors& anchors, int first, int rows,
                  const Model& model);

} // namespace faiss_vlc
