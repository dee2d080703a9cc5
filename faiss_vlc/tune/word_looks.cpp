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

const WordRows& WordLooks::rows_for(WordModel& words, const Kind& kind) {
    std::optional<WordRows>& rows =
            kind.kind == WordAxes::own ? own_rows_ : turned_rows_[kind.axes];
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
    if (kind.kind == WordAxes::own && rows.are_large()) {
        own_rows_.reset(); // they take little time to make again
    }
    return error;
}

void WordLooks::forget_rows() {
    own_rows_.reset();
    for (std::optional<WordRows>& rows : turned_rows_) {
        rows.reset();
    }
}

double WordLooks::error(int factor_bytes, bool own) {
    if (own) {
        return error_of(factor_bytes, {0, WordAxes::own});
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

WordModel WordLooks::trained(int factor_bytes, bool own) {
    if (!own && !turned_) {
        error(factor_bytes, own);
    }
    const Kind kind = own ? Kind{0, WordAxes::own} : *turned_;
    WordModel words = untrained(factor_bytes, kind);
    const WordRows& rows = rows_for(words, kind);
    train_words(rows, kTrialRows, kTrialIterations, seed_, words);
    if (own && rows.are_large()) {
        own_rows_.reset(); // they take little time to make again
    }
    return words;
}

} // namespace faiss_vlc
