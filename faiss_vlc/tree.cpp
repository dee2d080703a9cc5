#include <faiss_vlc/tree.h>

#include <memory>

#include <faiss/IndexIDMap.h>
#include <faiss/IndexPreTransform.h>
#include <faiss/IndexRefine.h>

namespace faiss_vlc {

namespace {

using Replace = std::function<faiss::Index*(faiss::Index*)>;

void visit(faiss::Index*& node, const Replace& replace) {
    if (auto* transform = dynamic_cast<faiss::IndexPreTransform*>(node)) {
        visit(transform->index, replace);
    } else if (auto* map = dynamic_cast<faiss::IndexIDMap*>(node)) {
        visit(map->index, replace);
    } else if (auto* refine = dynamic_cast<faiss::IndexRefine*>(node)) {
        visit(refine->base_index, replace);
        visit(refine->refine_index, replace);
    }
    faiss::Index* old = node;
    node = nullptr; // deleted by `replace`, or to be put back
    try {
        node = replace(old);
    } catch (...) {
        node = old;
        throw;
    }
}

} // namespace

faiss::Index* replace_nodes(faiss::Index* root, const Replace& replace) {
    faiss::Index* node = root;
    try {
        visit(node, replace);
    } catch (...) {
        delete node;
        throw;
    }
    return node;
}

} // namespace faiss_vlc
