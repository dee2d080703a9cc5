#pragma once

#include <memory>
#include <vector>

#include <faiss_vlc/train/anneal.h>
#include <faiss_vlc/train/reference_engine.h>
#include <faiss_vlc/tune/tune.h>

#include <tests/support/unit_test.h>

/// Models and codes for the tests of lists, search and tuning.

struct Trained {
    faiss_vlc::Sample sample;
    faiss_vlc::Anchors anchors;
    std::shared_ptr<const faiss_vlc::Model> model;
};

inline Trained train_model(int64_t n, int d, const float* x, const faiss_vlc::VLCParameters& params,
                           faiss::MetricType metric = faiss::METRIC_L2) {
    Trained t;
    t.sample = faiss_vlc::draw_sample(n, d, x, params);
    faiss_vlc::ReferenceEngine engine;
    t.anchors = faiss_vlc::anneal(engine, t.sample, params, false);
    t.model = std::make_shared<faiss_vlc::Model>(
            faiss_vlc::tune_model(t.sample, t.anchors, params, metric));
    return t;
}

inline faiss_vlc::VLCParameters small_parameters(int m, int bytes = 0) {
    faiss_vlc::VLCParameters params;
    params.device = "reference";
    params.m = m;
    params.bytes = bytes;
    params.iterations = 8;
    params.codec = faiss_vlc::Codec::lattice;
    return params;
}
