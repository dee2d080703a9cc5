// A device that fails half way: replaced by the reference under `auto`, an error if it was asked
// for.

#include <atomic>
#include <cstdlib>
#include <memory>

#include <faiss/impl/AuxIndexStructures.h>

#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/lib/interrupt.h>

#include <tests/support/index_test.h>
#include <tests/support/test_kind.h>

using namespace faiss_vlc;

namespace {

constexpr int kDim = 12;
constexpr int kCount = 120;

/// Counts down over all engines' calls; the call that finds 1 fails.
std::atomic<int> calls_left{0};
std::atomic<int> calls{0};

void call(const char* name) {
    calls++;
    if (calls_left-- == 1) {
        fail("device 'feeble': %s: out of resources", name);
    }
}

/// The reference in a device's clothes.
class FeebleEngine final : public Engine {
public:
    FeebleEngine() { call("compile"); }
    std::string name() const override { return "feeble"; }
    void begin(const Shape& shape, const SampleView& sample) override {
        call("begin");
        real_.begin(shape, sample);
    }
    void set_anchors(const int32_t* a) override {
        call("set_anchors");
        real_.set_anchors(a);
    }
    void set_bias(const int32_t* bias) override {
        call("set_bias");
        real_.set_bias(bias);
    }
    void set_labels(const int32_t* labels) override {
        call("set_labels");
        real_.set_labels(labels);
    }
    void list_near(int length) override {
        call("list_near");
        real_.list_near(length);
    }
    AssignSummary assign(int64_t rows, int64_t known) override {
        call("assign");
        return real_.assign(rows, known);
    }
    void reduce(const ReduceParams& params) override {
        call("reduce");
        real_.reduce(params);
    }
    void update(const UpdateParams& params) override {
        call("update");
        real_.update(params);
    }
    void nearest(int32_t* label, int32_t* dist) override {
        call("nearest");
        real_.nearest(label, dist);
    }
    void apply(const Move* moves, int count) override {
        call("apply");
        real_.apply(moves, count);
    }
    void quantize(AnchorGrid grid) override {
        call("quantize");
        real_.quantize(grid);
    }
    void covariance(const int32_t* rows, int64_t count, int64_t* sums) override {
        call("covariance");
        real_.covariance(rows, count, sums);
    }
    void get_counts(int32_t* out) override {
        call("get_counts");
        real_.get_counts(out);
    }
    void get_energies(int64_t* out) override {
        call("get_energies");
        real_.get_energies(out);
    }
    void get_weights(int64_t* out) override {
        call("get_weights");
        real_.get_weights(out);
    }
    void get_anchors(int32_t* out) override {
        call("get_anchors");
        real_.get_anchors(out);
    }
    void get_spreads(int32_t* out) override {
        call("get_spreads");
        real_.get_spreads(out);
    }
    void get_bias(int32_t* out) override {
        call("get_bias");
        real_.get_bias(out);
    }
    void get_labels(int32_t* out) override {
        call("get_labels");
        real_.get_labels(out);
    }
    void get_distances(int32_t* out, int64_t rows) override {
        call("get_distances");
        real_.get_distances(out, rows);
    }
    void get_sums(int64_t* out) override {
        call("get_sums");
        real_.get_sums(out);
    }
    void set_sums(const int64_t* sums) override {
        call("set_sums");
        real_.set_sums(sums);
    }

private:
    ReferenceEngine real_;
};

class FeebleAssigner final : public Assigner {
public:
    FeebleAssigner() { call("compile"); }
    std::string name() const override { return "feeble"; }
    void begin(int m, int d, const int8_t* anchors8, int64_t max_block) override {
        call("begin blocks");
        real_.begin(m, d, anchors8, max_block);
    }
    void assign(int64_t n, const int8_t* x, int32_t* labels) override {
        call("assign block");
        real_.assign(n, x, labels);
    }

private:
    ReferenceAssigner real_;
};

/// One of Feeble, three of them for "opencl-all", or the reference.
template <class Interface, class Reference, class Feeble, class Several>
std::unique_ptr<Interface> make(const std::string& device) {
    if (device == "reference") {
        return std::make_unique<Reference>();
    }
    if (device == "opencl-all") {
        return several<Feeble, Interface, Several>(3);
    }
    return std::make_unique<Feeble>();
}

class DeviceFault : public testing::Test {
protected:
    void SetUp() override {
        unsetenv("VLC_DEVICE");
        calls = calls_left = 0;
    }
    static IndexVLC fresh(const char* device) {
        VLCParameters params = quick(5, 6);
        params.device = device;
        return IndexVLC(kDim, params);
    }
    const std::vector<float> x_ = clustered(kCount, kDim, 8, 3);
    const RegisteredKind kind_{std::make_shared<TestKind>(
            make<Engine, ReferenceEngine, FeebleEngine, DevicesEngine>,
            make<Assigner, ReferenceAssigner, FeebleAssigner, DevicesAssigner>)};
};

} // namespace

TEST_F(DeviceFault, UnderAutoTheReferenceTakesOverAndSaysSo) {
    IndexVLC expected = fresh("reference");
    expected.train(kCount, x_.data());
    for (const char* device : {"auto", ""}) {
        IndexVLC whole = fresh(device);
        calls = 0;
        whole.train(kCount, x_.data());
        const int training = calls;
        ASSERT_GT(training, 20);
        EXPECT_EQ(whole.trained_on, "feeble");
        for (int at = 1; at <= training; at += *device ? 1 : 9) {
            IndexVLC index = fresh(device);
            testing::internal::CaptureStderr();
            calls_left = at;
            index.train(kCount, x_.data());
            const std::string said = testing::internal::GetCapturedStderr();
            EXPECT_NE(said.find("out of resources"), std::string::npos) << said;
            EXPECT_NE(said.find("using the CPU reference"), std::string::npos) << said;
            EXPECT_EQ(index.trained_on, "reference");
            index.parameters.device = "reference";
            EXPECT_EQ(written(index), written(expected)) << "call " << at;
        }
    }
}

TEST_F(DeviceFault, ADeviceThatWasAskedForThrows) {
    IndexVLC whole = fresh("opencl:feeble");
    whole.train(kCount, x_.data());
    const int training = calls;
    for (int at = 1; at <= training; at++) {
        IndexVLC index = fresh("opencl:feeble");
        calls_left = at;
        EXPECT_TRUE(throws([&] { index.train(kCount, x_.data()); }, "feeble"));
        EXPECT_FALSE(index.is_trained);
        EXPECT_EQ(index.model, nullptr);
        EXPECT_TRUE(index.trained_on.empty());
        if (at % 10 == 1) { // the next attempt succeeds
            index.train(kCount, x_.data());
            EXPECT_EQ(written(index), written(whole));
        }
    }
    setenv("VLC_DEVICE", "opencl:feeble", 1); // asked for by the environment
    IndexVLC index = fresh("");
    calls_left = 7;
    EXPECT_TRUE(throws([&] { index.train(kCount, x_.data()); }, "feeble"));
    unsetenv("VLC_DEVICE");
}

TEST_F(DeviceFault, WhileAdding) {
    IndexVLC expected = fresh("auto");
    expected.train(kCount, x_.data());
    IndexVLC index(expected);
    expected.add(kCount, x_.data());
    for (int at = 1; at <= 3; at++) { // compile, begin, assign
        IndexVLC copy(index);
        testing::internal::CaptureStderr();
        calls_left = at;
        copy.add(kCount, x_.data());
        const std::string said = testing::internal::GetCapturedStderr();
        EXPECT_NE(said.find("using the CPU reference"), std::string::npos) << said;
        EXPECT_EQ(written(copy), written(expected));

        copy.reset();
        copy.parameters.device = "opencl:feeble";
        calls_left = at;
        EXPECT_TRUE(throws([&] { copy.add(kCount, x_.data()); }, "feeble"));
        EXPECT_EQ(copy.ntotal, 0);
        copy.add(kCount, x_.data());
        EXPECT_EQ(copy.ntotal, kCount);
    }
}

/// Wants an interrupt at the given question, once, as Python's does.
struct InterruptAt : faiss::InterruptCallback {
    explicit InterruptAt(int at) : left(at) {}
    int left;
    bool want_interrupt() override { return left-- == 1; }
};

TEST_F(DeviceFault, AnInterruptIsNoFault) {
    for (int at : {1, 3}) { // before the first iteration, and later
        IndexVLC index = fresh("auto");
        testing::internal::CaptureStderr();
        faiss::InterruptCallback::instance = std::make_unique<InterruptAt>(at);
        EXPECT_THROW(index.train(kCount, x_.data()), Interrupted);
        faiss::InterruptCallback::instance.reset();
        EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
        EXPECT_FALSE(index.is_trained);
    }
}

// Which call of which device comes first is not fixed; that none is left waiting is.
TEST_F(DeviceFault, OneOfSeveralThrowsAndTheOthersEnd) {
    constexpr int kRows = 500; // for all three
    const std::vector<float> x = clustered(kRows, kDim, 8, 3);
    IndexVLC expected = fresh("reference");
    expected.train(kRows, x.data());
    expected.add(kRows, x.data());
    IndexVLC whole = fresh("opencl-all");
    calls = 0;
    whole.train(kRows, x.data());
    const int training = calls;
    EXPECT_EQ(whole.trained_on, "3 x feeble");
    whole.add(kRows, x.data());
    const int all = calls;
    EXPECT_EQ(all - training, 3 * 3) << "all were made, begin blocks and assign one";
    whole.parameters.device = expected.parameters.device;
    EXPECT_EQ(written(whole), written(expected));
    for (int at = 1; at <= all; at += 2) {
        IndexVLC index = fresh("opencl-all");
        calls_left = at;
        EXPECT_TRUE(throws(
                [&] {
                    index.train(kRows, x.data());
                    index.add(kRows, x.data());
                },
                "device 'feeble'"));
        EXPECT_EQ(index.is_trained, at > training);
        EXPECT_EQ(index.ntotal, 0);
        if (at % 10 == 1) {
            if (!index.is_trained) {
                index.train(kRows, x.data());
            }
            index.add(kRows, x.data());
            index.parameters.device = expected.parameters.device;
            EXPECT_EQ(written(index), written(expected)) << "call " << at;
        }
    }
    IndexVLC index = fresh("opencl-all");
    calls_left = 4; // the first one's own begin(), or another's
    EXPECT_TRUE(throws([&] { index.train(kRows, x.data()); }, " of 3: device 'feeble': begin"));
}
