#include <faiss_vlc/tune/word_looks.h>

#include <limits>

#include <faiss_vlc/lib/interrupt.h>

namespace faiss_vlc {

namespace {

constexpr int kRows = 4096, kTestRows = 2048, kIterations = 3; // of a first look
constexpr int kTrialRows = 8192, kTrialIterations = 4;

} // namespace

WordLooks::WordLooks(const Sample& sample, const Anchors& anchors, const Model& model,
                     const std::vector<Axes>& axes, int code_size, uint32_t seed)
    : sample_(sample), anchors_(anchors), model_(model), axes_(axes), code_size_(code_size),
      seed_(seed), turned_rows_(axes.size()) {}

WordModel WordLooks::untrained(int factor_bytes, const Kind& kind) const {
    return word_model(model_, axes_[kind.axes], kind.kind, code_size_ - factor_bytes, factor_bytes);
}

std::optional<WordRows>& WordLooks::place_of(const Kind& kind) {
    return kind.kind == WordAxes::own     ? own_rows_
           : kind.kind == WordAxes::whole ? whole_rows_
                                          : turned_rows_[kind.axes];
}

const WordRows& WordLooks::rows_for(WordModel& words, const Kind& kind) {
    std::optional<WordRows>& rows = place_of(kind);
    if (!rows) {
        rows.emplace(sample_, anchors_, kTrialRows, words);
    }
    return *rows;
}

double WordLooks::error_of(int factor_bytes, const Kind& kind) {
    check_interrupt();
    WordModel words = untrained(factor_bytes, kind);
    const WordRows& rows = rows_for(words, kind);
    train_words(rows, kRows, kIterations, seed_, words);
    const double error = word_error(rows, kRows, kTestRows, words);
    forget_large(kind);
    return error;
}

/// Rows in the vectors' own axes take little time to make again.
void WordLooks::forget_large(const Kind& kind) {
    std::optional<WordRows>& rows = place_of(kind);
    if ((kind.kind == WordAxes::own || kind.kind == WordAxes::whole) && rows->are_large()) {
        rows.reset();
    }
}

void WordLooks::forget_rows() {
    own_rows_.reset();
    whole_rows_.reset();
    for (std::optional<WordRows>& rows : turned_rows_) {
        rows.reset();
    }
}

double WordLooks::error(int factor_bytes, WordAxes axes) {
    if (axes != WordAxes::principal) {
        return error_of(factor_bytes, {0, axes});
    }
    if (turned_) {
        return error_of(factor_bytes, *turned_);
    }
    double least = std::numeric_limits<double>::infinity();
    for (size_t i = 0; i < axes_.size(); i++) {
        for (const WordAxes kind : {WordAxes::principal, WordAxes::dealt}) {
            const double error = error_of(factor_bytes, {i, kind});
            if (error < least) {
                least = error;
                turned_ = Kind{i, kind};
            }
        }
    }
    if (!turned_) { // no error is a number
        turned_ = Kind{0, WordAxes::principal};
    }
    for (size_t i = 0; i < axes_.size(); i++) {
        if (i != turned_->axes) {
            turned_rows_[i].reset();
        }
    }
    return least;
}

WordModel WordLooks::trained(int factor_bytes, WordAxes axes) {
    const bool turns = axes == WordAxes::principal;
    if (turns && !turned_) {
        error(factor_bytes, axes);
    }
    const Kind kind = turns ? *turned_ : Kind{0, axes};
    WordModel words = untrained(factor_bytes, kind);
    const WordRows& rows = rows_for(words, kind);
    train_words(rows, kTrialRows, kTrialIterations, seed_, words);
    forget_large(kind);
    return words;
}

} // namespace faiss_vlc
