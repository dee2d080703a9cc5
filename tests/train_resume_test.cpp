#include <gtest/gtest.h>

#include <faiss_vlc/checkpoint.h>

#include "model_test.h"
#include "vector_file_test.h"

namespace faiss_vlc {
namespace {

class ResumeTest : public FileTest {};

// The last checkpoint of a run that stopped early must not train on: the result would be another
// than that of the run that wrote it.
TEST_F(ResumeTest, ARunThatStoppedEarlyStaysStopped) {
    constexpr int kDim = 16;
    const std::vector<float> x = clustered(900, kDim, 3, 6, 0.05);
    VLCParameters params = small_parameters(3);
    params.iterations = 30;
    const Sample sample = draw_sample(900, kDim, x.data(), params);
    VLCParameters saving = params;
    saving.checkpoint = path("checkpoint");
    saving.checkpoint_every = 1;
    ReferenceEngine engine;
    const Anchors whole = anneal(engine, sample, saving, false);
    ASSERT_LT(whole.iterations, 30) << "was to stop early";
    VLCParameters resuming = params;
    resuming.resume = saving.checkpoint;
    const Anchors resumed = anneal(engine, sample, resuming, false);
    EXPECT_EQ(resumed.iterations, whole.iterations);
    EXPECT_EQ(resumed.anchor, whole.anchor);
    EXPECT_EQ(resumed.label, whole.label);
    EXPECT_EQ(resumed.energy, whole.energy);
}

} // namespace
} // namespace faiss_vlc
