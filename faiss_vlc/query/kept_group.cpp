#include <faiss_vlc/query/kept_group.h>

#include <utility>

namespace faiss_vlc {

namespace {

/// About what the group of a model's queries takes.
size_t group_bytes(const Model& model, int size) {
    const size_t floats = (2 + model.frames.size()) * size_t(model.dp() + model.slots());
    const size_t ranks = 4 * size_t(model.m);
    const size_t words = model.layout.has_words() ? size_t(model.layout.blocks()) * 256 * 8 : 0;
    return size_t(size) * (floats + ranks) * sizeof(float) + WordTables::kAhead * words;
}

} // namespace

KeptGroup::Kept& KeptGroup::of_thread() {
    static thread_local Kept kept;
    return kept;
}

KeptGroup::KeptGroup(const std::shared_ptr<const Model>& model, int size)
    : model_(model), size_(size) {
    Kept& kept = of_thread();
    if (kept.group && kept.size == size && kept.model.lock() == model) {
        group_ = std::move(kept.group);
    } else {
        group_ = std::make_unique<QueryGroup>(*model, size);
    }
}

KeptGroup::~KeptGroup() {
    if (size_ <= kTogether && group_bytes(*model_, size_) <= kMostBytes) {
        Kept& kept = of_thread();
        kept.model = model_;
        kept.size = size_;
        kept.group = std::move(group_);
    }
}

} // namespace faiss_vlc
