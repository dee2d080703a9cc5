#pragma once

#include <memory>

#include <faiss_vlc/query/query_group.h>

namespace faiss_vlc {

/// A group for some queries. A small one is the one that its thread had last, if that was of the
/// same model and size: to make it takes a search of one query as long as some of its lists do.
/// Each thread keeps at most one, of at most kMostBytes, until it ends or needs another.
class KeptGroup {
public:
    KeptGroup(const std::shared_ptr<const Model>& model, int size);
    ~KeptGroup();
    KeptGroup(const KeptGroup&) = delete;
    KeptGroup& operator=(const KeptGroup&) = delete;

    QueryGroup& operator*() { return *group_; }

private:
    static constexpr size_t kMostBytes = 1 << 20;
    struct Kept {
        std::weak_ptr<const Model> model; ///< so that indexes free their memory
        int size = 0;
        std::unique_ptr<QueryGroup> group;
    };
    static Kept& of_thread();

    std::shared_ptr<const Model> model_;
    int size_;
    std::unique_ptr<QueryGroup> group_;
};

} // namespace faiss_vlc
