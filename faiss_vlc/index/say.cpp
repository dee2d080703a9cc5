#include <faiss_vlc/index/say.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

namespace faiss_vlc {

namespace {

double percent(int64_t part, int64_t of) {
    return of > 0 ? 100.0 * double(part) / double(of) : 0;
}

/// l of a vector whose code doesn't keep it.
float length_of(const Model& model, const float* x, int j) {
    std::vector<float> lattice(model.dp(), 0);
    for (int k = 0; k < model.d; k++) {
        lattice[k] = (x[k] - model.lattice.mean[k]) * model.lattice.scale;
    }
    return std::sqrt(model.anchor_distance(lattice.data(), j)) /
           model.estimator.length_unit(model.spread[j]);
}

} // namespace

AddedRows count_outside(const Model& model, int64_t n, const float* x, const uint8_t* codes,
                        const int64_t* list_nos) {
    const Estimator& estimator = model.estimator;
    const bool has_factors = model.layout.factor_bytes > 0;
    const bool has_gamma = model.layout.factor_bytes == kFactorBytes;
    const size_t code_size = size_t(model.code_size());
    AddedRows counted;
    for (int64_t i = 0; i < n; i++) {
        if (list_nos[i] < 0) {
            continue;
        }
        counted.rows++;
        const uint16_t word = model.factors_of(codes + size_t(i) * code_size);
        const float length = has_factors ? decode_length(word)
                                         : length_of(model, x + i * model.d, int(list_nos[i]));
        const bool beyond = length > model.usual_length;
        // a far row's gamma says something else
        const bool missed = has_gamma && !estimator.is_far(length) && length > 0 &&
                            (word & (kGammaSteps - 1)) < kUnusualGammas;
        counted.outside += beyond || missed;
        if (beyond) {
            counted.twice += length > 2 * model.usual_length;
            counted.farthest =
                    std::max(counted.farthest, std::min(kUnbounded, length / model.usual_length));
        }
    }
    return counted;
}

void note_added(VLCInvertedLists& lists, const AddedRows& added) {
    lists.added.add(added);
    if (lists.added.many_outside() && !lists.warned_of_outside) {
        lists.warned_of_outside = true;
        fprintf(stderr,
                "WARNING adding: %.0f %% of the %lld vectors added lie outside of what training saw"
                " (the farthest at %.3g times its bound). Recall suffers; train again, on a sample "
                "that has such vectors\n",
                percent(lists.added.outside, lists.added.rows), (long long)lists.added.rows,
                double(lists.added.farthest));
    }
}

void report_training(const Model& model, bool verbose) {
    const HeldOutRecall& recall = model.recall;
    const double found = percent(recall.estimated, recall.sought);
    if (verbose) {
        printf("held out: of %lld neighbours of %lld vectors among %lld, %.1f %% lie in %lld "
               "lists, plain decoding finds %.1f %% in all lists, the estimate %.1f %%, and "
               "%.1f %% in %lld lists\n",
               (long long)recall.sought, (long long)recall.queries, (long long)recall.base,
               percent(recall.in_lists, recall.sought), (long long)recall.nprobe,
               percent(recall.decoded, recall.sought), found, percent(recall.probed, recall.sought),
               (long long)recall.nprobe);
    }
    if (recall.coarse_lattice()) {
        fprintf(stderr,
                "WARNING training: the int8 lattice, with steps of %g, is coarse for these "
                "vectors: of the neighbours of held-out vectors, lists can tell %.0f %% from "
                "others, and %.0f %% are found. Far apart groups or one large dimension cause "
                "this: scale the dimensions alike, or index the groups each by itself\n",
                1.0 / double(model.lattice.scale), percent(recall.on_lattice, recall.sought),
                found);
    } else if (recall.below_product()) {
        fprintf(stderr,
                "WARNING training: with all lists probed, %.0f %% of the neighbours of held-out "
                "vectors are found, %.0f %% by a product quantizer of as many bytes. Give more "
                "bytes, let RFlat order the best again, or take an IVFPQ for these vectors\n",
                found, percent(recall.product, recall.sought));
    }
}

} // namespace faiss_vlc
