#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include <faiss_vlc/model/model.h>
#include <faiss_vlc/tune/steps.h>
#include <faiss_vlc/tune/words.h>

namespace faiss_vlc {

/// Words of little training, for all that is tried of them. The sample's rows are turned once.
class WordLooks {
public:
    /// model: without a layout. axes: that words may have, besides the vectors' own.
    WordLooks(const Sample& sample, const Anchors& anchors, const Model& model,
              const std::vector<Axes>& axes, int code_size, uint32_t seed);

    /// The share of |r|^2 that hardly trained words miss, in the vectors' own axes, whole or not,
    /// or in turned ones (WordAxes::principal).
    double error(int factor_bytes, WordAxes axes);

    /// Words trained well enough to be compared by what they find. Turned axes are those in which
    /// words missed least when they were first looked at.
    WordModel trained(int factor_bytes, WordAxes axes);

    /// Frees the rows.
    void forget_rows();

private:
    struct Kind {
        size_t axes; ///< their number
        WordAxes kind;
    };
    WordModel untrained(int factor_bytes, const Kind& kind) const;
    double error_of(int factor_bytes, const Kind& kind);
    std::optional<WordRows>& place_of(const Kind& kind);
    const WordRows& rows_for(WordModel& words, const Kind& kind);
    void forget_large(const Kind& kind);

    const Sample& sample_;
    const Anchors& anchors_;
    const Model& model_;
    const std::vector<Axes>& axes_;
    int code_size_;
    uint32_t seed_;
    std::optional<Kind> turned_; ///< the one chosen
    std::optional<WordRows> own_rows_, whole_rows_;
    std::vector<std::optional<WordRows>> turned_rows_; ///< one for each of the axes
};

} // namespace faiss_vlc
