#pragma once

#include <memory>
#include <utility>
#include <vector>

#include <faiss_vlc/model/model.h>
#include <faiss_vlc/train/anneal.h>
#include <faiss_vlc/train/reference_engine.h>
#include <faiss_vlc/train/sample.h>
#include <faiss_vlc/tune/steps.h>
#include <faiss_vlc/tune/words.h>

#include <tests/support/index_test.h>

namespace faiss_vlc {

/// What an index of block codes has, which training would choose by the data.
struct Words {
    int code_bytes;
    int factor_bytes;
    WordAxes axes;
};

/// One of each kind.
inline const Words kWordKinds[] = {
        {3, 2, WordAxes::own},       {4, 1, WordAxes::principal}, {2, 0, WordAxes::dealt},
        {6, 0, WordAxes::own},       {7, 1, WordAxes::own},       {5, 2, WordAxes::dealt},
        {1, 0, WordAxes::principal}, {6, 2, WordAxes::principal}, {5, 0, WordAxes::whole}};

/// An empty index of such codes, trained quickly on x.
inline std::unique_ptr<IndexVLC> word_index(const Words& words, int d, int m,
                                            const std::vector<float>& x,
                                            faiss::MetricType metric = faiss::METRIC_L2,
                                            AnchorGrid grid = AnchorGrid::int8) {
    VLCParameters params = quick(m, d + kFactorBytes); // so that all axes are kept
    params.grid = grid;
    const auto n = int64_t(x.size()) / d;
    IndexVLC levels(d, params, metric);
    levels.parameters.codec = Codec::lattice;
    levels.train(n, x.data());
    const Sample sample = draw_sample(n, d, x.data(), params);
    ReferenceEngine engine;
    const Anchors anchors = anneal(engine, sample, params, false);
    const std::vector<Frame>& frames = levels.model->frames;
    const Axes axes{frames, {}, std::vector<double>(frames[0].kept, 1.0)};
    WordModel made =
            word_model(*levels.model, axes, words.axes, words.code_bytes, words.factor_bytes);
    made.model.sigma.clear();
    const WordRows rows(sample, anchors, 1000, made);
    train_words(rows, 1000, 3, params.seed, made);
    const auto model = std::make_shared<Model>(std::move(made.model));
    fit_factors(sample, anchors, *model);
    params.bytes = words.code_bytes + words.factor_bytes;
    params.codec = Codec::block;
    return std::make_unique<IndexVLC>(model, params);
}

} // namespace faiss_vlc
