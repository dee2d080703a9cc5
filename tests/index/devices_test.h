#pragma once

#include <string>
#include <vector>

#include <faiss_vlc/train/assigner.h>
#include <faiss_vlc/train/reference_assigner.h>

#include <tests/support/index_test.h>
#include <tests/train/engine_steps.h>
#include <tests/train/train_test.h>

/// What is expected of several devices, whoever plays them.
namespace faiss_vlc {

/// check(data, seed) of samples with fewer rows than a block, with as many as devices have, and
/// with a row more or less.
template <class Check>
void each_ragged_sample(Check check) {
    struct Sizes {
        int64_t n, n_train;
    };
    const Sizes sizes[] = {{3, 2},     {128, 127}, {140, 128}, {140, 129}, {256, 256}, {257, 256},
                           {300, 257}, {384, 130}, {400, 385}, {900, 899}, {1153, 900}};
    uint32_t seed = 1;
    for (const auto& [n, n_train] : sizes) {
        const int m = seed % 3 == 0 ? 70 : n > 3 ? 17 : 2;
        check(TestData(n, n_train, 5 + int(seed) * 4, m, 1 + int(seed) % 4, seed), seed);
        seed++;
    }
}

inline void expect_same_blocks(Assigner& devices) {
    const TestData data(1000, 1000, 37, 50, 1, 11);
    std::vector<int32_t> expected(1000);
    ReferenceAssigner reference;
    reference.begin(50, 37, data.anchor8.data(), 1000);
    reference.assign(1000, data.rows.data(), expected.data());
    for (int64_t most : {1, 127, 129, 400, 1000}) {
        devices.begin(50, 37, data.anchor8.data(), most);
        for (int64_t n : {int64_t(1), most / 2, most - 1, most}) {
            std::vector<int32_t> met(n, -1);
            devices.assign(n, data.rows.data(), met.data());
            EXPECT_TRUE(std::equal(met.begin(), met.end(), expected.begin())) << n;
        }
    }
}

/// A trained and filled index in bytes, the device left out.
inline Bytes trained_bytes(const std::vector<float>& x, int d, VLCParameters params,
                           const std::string& device, std::string* name = nullptr) {
    params.device = device;
    IndexVLC index(d, params);
    index.train(int64_t(x.size()) / d, x.data());
    index.add(int64_t(x.size()) / d, x.data());
    index.add(1, x.data());
    if (name) {
        *name = index.trained_on;
    }
    index.parameters.device = "reference";
    return written(index);
}

/// The indexes that these devices make are the reference's.
inline void expect_same_indexes(const std::vector<std::string>& devices) {
    const int d = 20;
    VLCParameters params;
    params.m = 24;
    params.bytes = 10;
    params.iterations = 6;
    const auto check = [&](int64_t n) {
        const std::vector<float> x = clustered(n, d, 30, 3);
        const Bytes expected = trained_bytes(x, d, params, "reference");
        for (const std::string& device : devices) {
            EXPECT_TRUE(trained_bytes(x, d, params, device) == expected)
                    << device << ", " << n << " vectors, robust " << int(params.robust);
        }
    };
    for (const Robust robust : {Robust::none, Robust::huber, Robust::trim}) {
        params.robust = robust;
        check(2100);
    }
    for (int64_t n : {100, 142, 143, 300}) { // 128 and 129 of 142 and 143 train
        check(n);
    }
    // near lists, samples that grow from fewer rows than devices take in turn, many moves
    params.m = 2;
    params.first_share = 0.05f;
    params.max_points_per_anchor = 1000;
    check(2500);
    params.m = 64;
    params.candidates = 20;
    params.max_points_per_anchor = 60;
    params.stop_changes = 0;
    params.neighbours = 3;
    params.split_factor = 1.1f;
    params.merge_fraction = 0.9f;
    params.held_out = 0;
    check(5000);
}

/// Training that one of these devices leaves is gone on with by the others.
inline void expect_same_resumed(const std::vector<std::string>& devices) {
    const int d = 16;
    const std::vector<float> x = clustered(1500, d, 40, 4);
    Folder folder;
    VLCParameters params;
    params.m = 20;
    params.bytes = 8;
    params.iterations = 8;
    params.held_out = 0; // nothing stalls
    params.stop_changes = 0;
    params.end_temperature = params.start_temperature;
    params.random_bias = 3;
    params.maintain_until = 1;
    params.split_factor = 2;
    const Bytes expected = trained_bytes(x, d, params, "reference");
    for (const std::string& device : devices) {
        VLCParameters saving = params;
        saving.checkpoint = folder.file("checkpoint");
        saving.checkpoint_every = 5;
        EXPECT_TRUE(trained_bytes(x, d, saving, device) == expected) << device;
        for (const std::string& other : devices) {
            VLCParameters resuming = params;
            resuming.resume = saving.checkpoint;
            EXPECT_TRUE(trained_bytes(x, d, resuming, other) == expected)
                    << "from " << device << " to " << other;
        }
    }
}

} // namespace faiss_vlc
