#include <faiss_vlc/lib/interrupt.h>

#include <memory>
#include <string>

#include <gtest/gtest.h>

#include <faiss/impl/AuxIndexStructures.h>

#include <faiss_vlc/lib/error.h>

namespace faiss_vlc {
namespace {

/// Reports one interrupt, as Python's does.
struct Once : faiss::InterruptCallback {
    bool wanted = true;
    bool want_interrupt() override {
        const bool was = wanted;
        wanted = false;
        return was;
    }
};

class Interrupts : public testing::Test {
protected:
    void SetUp() override { faiss::InterruptCallback::instance = std::make_unique<Once>(); }
    void TearDown() override { faiss::InterruptCallback::instance.reset(); }
};

/// Whether the FaissException that body throws is an interruption.
template <class Body>
bool interrupts(Body body) {
    try {
        body();
    } catch (const faiss::FaissException& error) {
        return is_interruption(error);
    }
    ADD_FAILURE() << "nothing was thrown";
    return false;
}

TEST_F(Interrupts, AreThrownOnceWithFaissesText) {
    try {
        check_interrupt();
        FAIL() << "nothing was thrown";
    } catch (const Interrupted& error) {
        EXPECT_EQ(std::string(error.what()), "computation interrupted");
        EXPECT_TRUE(is_interruption(error));
    }
    EXPECT_NO_THROW(check_interrupt());
}

TEST_F(Interrupts, ThatFaissThrowsAreKnown) {
    EXPECT_TRUE(interrupts([] { faiss::InterruptCallback::check(); }));
}

TEST_F(Interrupts, AreNoOtherErrors) {
    EXPECT_FALSE(interrupts([] { fail("device 'x': out of resources"); }));
    faiss::InterruptCallback::instance.reset();
    EXPECT_NO_THROW(check_interrupt());
}

} // namespace
} // namespace faiss_vlc
