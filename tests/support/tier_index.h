#pragma once

#include <memory>

#include <faiss_vlc/IndexVLC.h>
#include <faiss_vlc/model/model.h>

namespace faiss_vlc {

/// The training of an index of two tiers with other factors of second codes, empty: 1 byte is
/// comparison by decoding, others are sums. See SecondFactors.
inline std::unique_ptr<IndexVLC> with_factors(const IndexVLC& index, int bytes) {
    auto model = std::make_shared<Model>(*index.model);
    auto tier = std::make_shared<SecondTier>(*model->second);
    tier->factor_bytes = bytes;
    tier->low = -0.2f;
    tier->high = 0.2f;
    tier->finish();
    model->add_second(tier);
    return std::make_unique<IndexVLC>(model, index.parameters);
}

} // namespace faiss_vlc
