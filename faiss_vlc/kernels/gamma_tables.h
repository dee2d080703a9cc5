#pragma once

#include <faiss_vlc/codec/estimator.h>

namespace faiss_vlc {

/// Scan::tables: plain, as compilers make of it what a level has. Static: each has a copy of its
/// own.
static inline void gamma_tables(const Estimator::Steps& steps, const Estimator::Scales& by,
                                float* __restrict add, float* __restrict mul) {
    for (int i = 0; i < kGammaSteps; i++) {
        add[i] = by.square * (steps.own[i] + by.penalty * steps.miss[i]);
    }
    for (int i = 0; i < kGammaSteps; i++) {
        mul[i] = by.dot * steps.share[i];
    }
}

} // namespace faiss_vlc
