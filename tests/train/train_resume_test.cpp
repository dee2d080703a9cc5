// Checkpoints of training, and going on from them.

#include <tests/model/model_test.h>
#include <tests/train/train_test.h>

namespace faiss_vlc {
namespace {

namespace fs = std::filesystem;

// The last checkpoint of a run that stopped early must not train on: the result would be another
// than that of the run that wrote it.
TEST(Resume, ARunThatStoppedEarlyStaysStopped) {
    Folder folder;
    constexpr int kDim = 16;
    const std::vector<float> x = clustered(900, kDim, 3, 6, 0.05);
    VLCParameters params = small_parameters(3);
    params.iterations = 30;
    const Sample sample = draw_sample(900, kDim, x.data(), params);
    VLCParameters saving = params;
    saving.checkpoint = folder.file("checkpoint");
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
    EXPECT_EQ(resumed.course, whole.course);
}

TEST(Resume, GoesOnFromACheckpoint) {
    const std::vector<float> x = clustered(900, 18, 50, 4);
    Folder folder;
    VLCParameters params;
    params.m = 25;
    params.iterations = 10;
    params.held_out = 0; // nothing stalls
    params.stop_changes = 0;
    params.maintain_until = 1;
    params.split_factor = 2;
    params.random_bias = 3;
    params.end_temperature = params.start_temperature;
    const Sample sample = draw(x, 18, params);
    const Anchors whole = run(sample, params);
    EXPECT_GT(whole.splits, 0);
    ASSERT_EQ(whole.iterations, 10);
    for (int every : {1, 3, 4, 6, 7}) { // stops at 10, 9, 8, 6, 7
        VLCParameters first = params;
        first.checkpoint = folder.file("state");
        first.checkpoint_every = every;
        expect_same(run(sample, first), whole);
        const Checkpoint state = read_checkpoint(first.checkpoint, sample, params);
        EXPECT_EQ(state.iteration, 10 / every * every);
        VLCParameters second = params;
        second.resume = first.checkpoint;
        expect_same(run(sample, second), whole);
    }
    // resumed half way, it writes the checkpoints that come after
    VLCParameters both = params;
    both.resume = both.checkpoint = folder.file("state");
    both.checkpoint_every = 2;
    expect_same(run(sample, both), whole);
    EXPECT_EQ(read_checkpoint(both.checkpoint, sample, params).iteration, 10);
}

TEST(Resume, RefusesAnotherRunsCheckpoint) {
    const std::vector<float> x = clustered(300, 8, 20, 4);
    Folder folder;
    VLCParameters params;
    params.m = 6;
    params.checkpoint = folder.file("state");
    params.checkpoint_every = 1;
    const Sample sample = draw(x, 8, params);
    run(sample, params);
    VLCParameters other = params;
    other.resume = params.checkpoint;
    other.kappa = 2;
    EXPECT_THROW(run(sample, other), faiss::FaissException);
    other = params;
    other.resume = params.checkpoint;
    other.seed++;
    EXPECT_THROW(run(draw(x, 8, other), other), faiss::FaissException);
    other.resume = folder.file("none");
    EXPECT_THROW(run(sample, other), faiss::FaissException);
    fs::resize_file(params.checkpoint, fs::file_size(params.checkpoint) - 40);
    other = params;
    other.resume = params.checkpoint;
    EXPECT_THROW(run(sample, other), faiss::FaissException);
}

// Checksums that are right say nothing about the content.
TEST(Resume, RefusesForgedStates) {
    const std::vector<float> x = clustered(300, 8, 20, 4);
    Folder folder;
    VLCParameters params;
    params.m = 6;
    params.iterations = 5;
    params.checkpoint = folder.file("state");
    params.checkpoint_every = 2;
    const Sample sample = draw(x, 8, params);
    run(sample, params);
    const Checkpoint good = read_checkpoint(params.checkpoint, sample, params);
    const auto refused = [&](const char* part, auto change) {
        Checkpoint bad = good;
        change(bad);
        write_checkpoint(params.checkpoint, bad);
        try {
            read_checkpoint(params.checkpoint, sample, params);
        } catch (const faiss::FaissException& error) {
            return error.msg.find(part) != std::string::npos;
        }
        return false;
    };
    EXPECT_FALSE(refused("", [](Checkpoint&) {}));
    EXPECT_TRUE(refused("iteration", [](Checkpoint& c) { c.iteration = -1; }));
    EXPECT_TRUE(refused("iteration", [](Checkpoint& c) { c.iteration = 6; }));
    EXPECT_TRUE(refused("temperature", [](Checkpoint& c) { c.temperature = 0; }));
    EXPECT_TRUE(refused("energy", [](Checkpoint& c) { c.first_energy = -1; }));
    EXPECT_TRUE(refused("energy", [](Checkpoint& c) { c.best_held = INT64_MIN; }));
    EXPECT_TRUE(refused("without gain", [](Checkpoint& c) { c.patience = INT32_MAX; }));
    EXPECT_TRUE(refused("merges", [](Checkpoint& c) { c.merges = INT32_MAX; }));
    EXPECT_TRUE(refused("pace", [](Checkpoint& c) { c.pace = Pace(2); }));
    EXPECT_TRUE(refused("splits", [](Checkpoint& c) { c.splits = -1; }));
    EXPECT_TRUE(refused("anchor", [](Checkpoint& c) { c.anchor[3] = INT32_MAX; }));
    EXPECT_TRUE(refused("anchor", [](Checkpoint& c) { c.anchor[3] = -kMaxAnchor - 1; }));
    EXPECT_TRUE(refused("energy of an iteration", [](Checkpoint& c) { c.energy[1] = -1; }));
    EXPECT_TRUE(refused("energy of an iteration", [](Checkpoint& c) { c.energy[0] = NAN; }));
    EXPECT_TRUE(refused("\"energy\"", [](Checkpoint& c) { c.energy.pop_back(); }));
    EXPECT_TRUE(refused("bias", [](Checkpoint& c) { c.bias[5] = kMaxBias + 1; }));
    EXPECT_TRUE(refused("label", [](Checkpoint& c) { c.label[299] = 6; }));
    EXPECT_TRUE(refused("label", [](Checkpoint& c) { c.label[0] = -2; }));
    EXPECT_TRUE(refused("\"label\"", [](Checkpoint& c) { c.label.pop_back(); }));
}

} // namespace
} // namespace faiss_vlc
