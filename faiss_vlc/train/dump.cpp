#include <faiss_vlc/train/dump.h>

#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/train/settle.h>
#include <faiss_vlc/vectors/vector_file.h>

namespace faiss_vlc {

namespace {

void save(const std::string& path, int64_t n, int d, const std::vector<int64_t>& values) {
    auto writer = create_vectors(path + ".npy", DType::i64, d, n);
    writer->append(values.data(), n);
    writer->close();
}

template <class T>
std::vector<int64_t> widened(const std::vector<T>& values) {
    return std::vector<int64_t>(values.begin(), values.end());
}

/// With the folders above it; std::filesystem would ask for a newer libstdc++ than all else does.
void create_folders(const std::string& path) {
    int error = 0;
    for (size_t end = 0; end != std::string::npos;) {
        end = path.find('/', end + 1);
        error = mkdir(path.substr(0, end).c_str(), 0777) == 0 ? 0 : errno;
    }
    struct stat found;
    if (error == EEXIST && stat(path.c_str(), &found) == 0) {
        error = S_ISDIR(found.st_mode) ? 0 : ENOTDIR;
    }
    if (error) {
        fail("%s: cannot create the folder for intermediates: %s", path.c_str(),
             std::strerror(error));
    }
}

} // namespace

Dump::Dump(const std::string& folder) : folder_(folder) {
    if (!folder_.empty()) {
        create_folders(folder_);
    }
}

void Dump::iteration(int t, Engine& engine, const Shape& shape) {
    if (folder_.empty()) {
        return;
    }
    const std::string stem = folder_ + "/iteration_" + std::to_string(t) + "_";
    const int m = shape.m;
    std::vector<int32_t> rows(shape.n), per_anchor(m), anchors(size_t(m) * shape.dp);
    std::vector<int64_t> sums(m);
    engine.get_labels(rows.data());
    save(stem + "label", shape.n, 1, widened(rows));
    engine.get_distances(rows.data());
    save(stem + "dist", shape.n, 1, widened(rows));
    engine.get_counts(per_anchor.data());
    save(stem + "count", m, 1, widened(per_anchor));
    engine.get_energies(sums.data());
    save(stem + "energy", m, 1, sums);
    engine.get_weights(sums.data());
    save(stem + "weight", m, 1, sums);
    engine.get_anchors(anchors.data());
    save(stem + "anchor", m, shape.dp, widened(anchors));
    engine.get_spreads(per_anchor.data());
    save(stem + "spread", m, 1, widened(per_anchor));
    engine.get_bias(per_anchor.data());
    save(stem + "bias", m, 1, widened(per_anchor));
}

void Dump::result(const Anchors& anchors, const Shape& shape) {
    if (folder_.empty()) {
        return;
    }
    const std::string stem = folder_ + "/result_";
    save(stem + "anchor", shape.m, shape.dp, widened(anchors.anchor));
    save(stem + "label", shape.n, 1, widened(anchors.label));
    save(stem + "dist", shape.n, 1, widened(anchors.dist));
    save(stem + "count", shape.m, 1, widened(anchors.count));
    save(stem + "energy", shape.m, 1, anchors.energy);
    if (anchors.covariance.empty()) {
        return;
    }
    save(stem + "covariance", int64_t(anchors.groups) * shape.d, shape.d, anchors.covariance);
}

} // namespace faiss_vlc
