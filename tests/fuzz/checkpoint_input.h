#pragma once

#include <cstdint>
#include <vector>

#include <faiss_vlc/train/anneal.h>

/// The run whose checkpoints the seeds hold and the target resumes.
struct CheckpointedRun {
    faiss_vlc::VLCParameters params;
    faiss_vlc::Sample sample;

    CheckpointedRun() {
        constexpr int kRows = 60, kDim = 5;
        std::vector<float> x(kRows * kDim);
        for (int i = 0; i < kRows * kDim; i++) {
            x[i] = float(i * 37 % 19 - i % 7);
        }
        params.m = 4;
        params.iterations = 6;
        params.stop_changes = 0;
        params.maintain_until = 1;
        params.split_factor = 2;
        params.random_bias = 1;
        sample = faiss_vlc::draw_sample(kRows, kDim, x.data(), params);
    }
};
