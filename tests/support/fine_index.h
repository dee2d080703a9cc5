#pragma once

#include <memory>
#include <vector>

#include <faiss_vlc/IndexVLC.h>
#include <faiss_vlc/model/model.h>

namespace faiss_vlc {

/// An index of the same training that holds x, with queries that are fine or not whatever training
/// chose.
inline std::unique_ptr<IndexVLC> with_fine_queries(const IndexVLC& index, bool fine,
                                                   const std::vector<float>& x) {
    auto model = std::make_shared<Model>(*index.model);
    model->fine_queries = fine;
    auto other = std::make_unique<IndexVLC>(model, index.parameters);
    other->add(int64_t(x.size()) / index.d, x.data());
    return other;
}

/// The same of vectors that are turned finely or not.
inline std::unique_ptr<IndexVLC> with_fine_rotation(const IndexVLC& index, bool fine,
                                                    const std::vector<float>& x) {
    auto model = std::make_shared<Model>(*index.model);
    model->fine_rotation = fine;
    model->finish();
    auto other = std::make_unique<IndexVLC>(model, index.parameters);
    other->add(int64_t(x.size()) / index.d, x.data());
    return other;
}

} // namespace faiss_vlc
