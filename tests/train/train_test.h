#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include <gtest/gtest.h>

#include <faiss/impl/FaissException.h>

#include <faiss_vlc/train/anneal.h>
#include <faiss_vlc/train/checkpoint.h>
#include <faiss_vlc/train/reference_engine.h>

#include <tests/support/unit_test.h>

/// What the tests of the annealing loop share.
namespace faiss_vlc {

/// A folder that goes away.
class Folder {
public:
    Folder() {
        std::string name =
                (std::filesystem::temp_directory_path() / "vlc_train_test.XXXXXX").string();
        path_ = mkdtemp(name.data()) ? name : "";
        EXPECT_FALSE(path_.empty());
    }
    ~Folder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    std::string file(const std::string& name) const { return path_ + "/" + name; }

private:
    std::string path_;
};

inline Anchors run(const Sample& sample, const VLCParameters& params) {
    ReferenceEngine engine;
    return anneal(engine, sample, params, false);
}

inline Sample draw(const std::vector<float>& x, int d, const VLCParameters& params) {
    return draw_sample(int64_t(x.size()) / d, d, x.data(), params);
}

inline void expect_same(const Anchors& a, const Anchors& b) {
    EXPECT_EQ(a.anchor, b.anchor);
    EXPECT_EQ(a.label, b.label);
    EXPECT_EQ(a.dist, b.dist);
    EXPECT_EQ(a.count, b.count);
    EXPECT_EQ(a.energy, b.energy);
    EXPECT_EQ(a.covariance, b.covariance);
    EXPECT_EQ(a.course, b.course);
    EXPECT_EQ(a.iterations, b.iterations);
    EXPECT_EQ(a.merges, b.merges);
    EXPECT_EQ(a.splits, b.splits);
}

} // namespace faiss_vlc
