#include <faiss_vlc/cli/cli.h>

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <faiss/IVFlib.h>
#include <faiss/IndexIDMap.h>
#include <faiss/impl/FaissException.h>
#include <omp.h>

#include <faiss_vlc/container/atomic_file.h>
#include <faiss_vlc/container/format.h>
#include <faiss_vlc/index_io.h>
#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/lib/interrupt.h>
#include <faiss_vlc/lib/parallel.h>

namespace faiss_vlc::cli {

namespace {

bool is_raw(const std::string& path) {
    const size_t dot = path.rfind('.');
    std::string extension = dot == std::string::npos ? "" : path.substr(dot);
    std::transform(extension.begin(), extension.end(), extension.begin(),
                   [](unsigned char c) { return char(std::tolower(c)); });
    const char* formats[] = {".npy", ".npz", ".fvecs", ".bvecs", ".ivecs", ".hdf5", ".h5"};
    return std::find(std::begin(formats), std::end(formats), extension) == std::end(formats);
}

/// As require_finite, but names the row of the file.
void require_finite_rows(const std::string& path, int64_t first, int64_t n, int d, const float* x) {
    for (int64_t i = 0; i < n * d; i++) {
        if (!std::isfinite(x[i])) {
            const long long row = first + i / d, column = i % d;
            fail("%s: expected finite values, row %lld, column %lld is %g", path.c_str(), row,
                 column, double(x[i]));
        }
    }
}

} // namespace

void add_json_option(CLI::App& command, Job& job) {
    command.add_flag("--json", job.json, "Print one JSON object and nothing else");
}

void add_threads_option(CLI::App& command, Job& job) {
    command.add_option("--threads", job.threads, "Threads (default: all cores)")
            ->type_name("T")
            ->check(CLI::Range(1, 4096));
}

void add_dtype_option(CLI::App& command, std::string& dtype) {
    command.add_option("--dtype", dtype, "Type of a raw file's values")
            ->check(CLI::IsMember(
                    {"float32", "float16", "float64", "uint8", "int8", "uint16", "int16"}));
}

VectorFileOptions VectorArgument::options() const {
    VectorFileOptions options;
    options.d = d;
    options.dataset = dataset;
    if (is_raw(path)) {
        const long long bytes = file_size(path); // is it there?
        const char* raw = "its extension is not .npy, .fvecs, .bvecs, .ivecs, .hdf5 or .h5, so it "
                          "is a raw file: rows of numbers with nothing between them";
        if (d < 1) {
            fail("%s: %s. It needs --d, how many numbers a row has, and --dtype, their type (it "
                 "has %lld bytes); or save it as .npy",
                 path.c_str(), raw, bytes);
        }
        if (dtype.empty()) {
            fail("%s: %s. It needs --dtype, their type (it has %lld bytes, a row %d numbers); or "
                 "save it as .npy",
                 path.c_str(), raw, bytes, d);
        }
        options.dtype = dtype;
    }
    return options;
}

VectorStream::VectorStream(const VectorArgument& argument)
    : path_(argument.path), reader_(open_vectors(argument.path, argument.options())) {
    block_rows_ = std::min(reader_->n(), rows_per_block(reader_->d()));
    block_.resize(size_t(block_rows_) * reader_->d());
}

int64_t VectorStream::next() {
    check_interrupt();
    first_ = end_;
    const int64_t rows = reader_->read(block_rows_, block_.data());
    end_ += rows;
    require_finite_rows(path_, first_, rows, d(), block_.data());
    return rows;
}

void VectorStream::rewind() {
    reader_->seek(0);
    first_ = end_ = 0;
}

Matrix<float> read_all(const VectorArgument& argument) {
    Matrix<float> vectors = read_vectors(argument.path, argument.options());
    require_finite_rows(argument.path, 0, vectors.n, vectors.d, vectors.data.data());
    return vectors;
}

LoadedIndex open_index(const std::string& path, int io_flags) {
    LoadedIndex loaded;
    loaded.path = path;
    try {
        loaded.index.reset(read_index(path.c_str(), io_flags));
    } catch (const faiss::FaissException& error) {
        if (std::string(error.what()).find(path) != std::string::npos) {
            throw;
        }
        fail("%s: not an index that can be read: %s", path.c_str(), error.what()); // FAISS's own
    }
    loaded.ivf = faiss::ivflib::try_extract_index_ivf(loaded.index.get());
    loaded.vlc = dynamic_cast<IndexVLC*>(loaded.ivf);
    return loaded;
}

void set_nprobe(LoadedIndex& loaded, int nprobe) {
    if (!loaded.ivf) {
        fail("%s: --nprobe expects an index with inverted lists", loaded.path.c_str());
    }
    loaded.ivf->nprobe = std::min(size_t(nprobe), loaded.ivf->nlist);
}

void set_search_device(LoadedIndex& loaded, const std::string& device) {
    if (device.empty()) {
        return;
    }
    if (!loaded.vlc) {
        fail("%s: --search-device needs an IndexVLC, it holds none", loaded.path.c_str());
    }
    loaded.vlc->search_device = device;
}

void add_search_device_option(CLI::App& command, std::string& device) {
    command.add_option("--search-device", device,
                       "Where to search, with the same results: opencl:<part of a name>, or "
                       "reference for the CPU (default); see vlc info --devices")
            ->type_name("NAME");
}

CLI::Option* add_nprobe_option(CLI::App& command, std::vector<int>& nprobes) {
    return command.add_option("--nprobe", nprobes, "Lists to search (default: the index's own)")
            ->type_name("N[,N...]")
            ->delimiter(',')
            ->check(CLI::Range(1, 1 << 30));
}

DecodedVectors::DecodedVectors(LoadedIndex& loaded)
    : path_(loaded.path), index_(loaded.index.get()), block_rows_(rows_per_block(index_->d)) {
    std::vector<bool> seen(index_->ntotal);
    const auto visit = [&](int64_t id) {
        if (id < 0 || id >= int64_t(seen.size()) || seen[id]) {
            fail("%s: decoding expects the ids 0 to %lld, each once, and met id %lld%s",
                 path_.c_str(), (long long)(seen.size() - 1), (long long)id,
                 id >= 0 && id < int64_t(seen.size()) ? " twice" : "");
        }
        seen[id] = true;
    };
    // A map of ids can be looked through if it maps each to itself.
    if (const auto* map = dynamic_cast<const faiss::IndexIDMap*>(index_)) {
        for (size_t i = 0; i < map->id_map.size(); i++) {
            if (map->id_map[i] != int64_t(i)) {
                fail("%s: decoding expects the ids 0 to %lld in order, and met id %lld as number "
                     "%zu",
                     path_.c_str(), (long long)(seen.size() - 1), (long long)map->id_map[i], i);
            }
        }
        index_ = map->index;
    }
    if (!loaded.ivf) {
        return;
    }
    for (size_t j = 0; j < loaded.ivf->nlist; j++) {
        const size_t size = loaded.ivf->invlists->list_size(j);
        const faiss::InvertedLists::ScopedIds ids(loaded.ivf->invlists, j);
        for (size_t i = 0; i < size; i++) {
            visit(ids[i]);
        }
    }
    loaded.ivf->set_direct_map_type(faiss::DirectMap::Array);
}

int64_t DecodedVectors::next() {
    check_interrupt();
    const int d = index_->d;
    const int64_t rows = std::min(block_rows_, index_->ntotal - next_);
    block_.resize(size_t(rows) * d);
    Rescue rescue;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < rows; i++) {
        rescue.run([&] { index_->reconstruct(next_ + i, &block_[size_t(i) * d]); });
    }
    try {
        rescue.rethrow();
    } catch (const faiss::FaissException& error) {
        fail("%s: cannot be decoded: %s", path_.c_str(), error.what());
    }
    next_ += rows;
    return rows;
}

int64_t rows_per_block(int64_t d) {
    return std::max<int64_t>(1, (int64_t(1) << 22) / d);
}

void require_writable(const std::string& path) {
    const AtomicFile probe(path);
}

bool is_payload(const std::string& path) {
    FILE* file = fopen(path.c_str(), "rb");
    if (!file) {
        fail("%s: %s", path.c_str(), strerror(errno));
    }
    char start[8];
    const size_t size = fread(start, 1, sizeof start, file);
    fclose(file);
    return has_magic(start, size);
}

int64_t file_size(const std::string& path) {
    struct stat info = {};
    if (stat(path.c_str(), &info) != 0) {
        fail("%s: %s", path.c_str(), strerror(errno));
    }
    return info.st_size;
}

Json written_size(const std::string& path) {
    struct stat info = {};
    if (descriptor_of(path) >= 0 || (stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode))) {
        return nullptr;
    }
    return file_size(path);
}

double seconds_now() {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration<double>(now).count();
}

int thread_count() {
    return omp_get_max_threads();
}

double rounded(double value, int digits) {
    char text[64];
    snprintf(text, sizeof text, "%.*g", digits, value);
    return strtod(text, nullptr);
}

const char* metric_name(faiss::MetricType metric) {
    return metric == faiss::METRIC_L2              ? "l2"
           : metric == faiss::METRIC_INNER_PRODUCT ? "ip"
                                                   : "other";
}

void add_size(Json& json, const Json& file_bytes, int64_t n, int d) {
    json["file_bytes"] = file_bytes;
    if (n > 0 && !file_bytes.is_null()) {
        const int64_t bytes = file_bytes.get<int64_t>();
        json["bytes_per_vector"] = rounded(double(bytes) / double(n));
        json["percent_of_float32"] = rounded(100.0 * double(bytes) / (4.0 * double(n) * d), 4);
        json["ratio"] = rounded(4.0 * double(n) * d / double(bytes), 4);
    }
}

void print_size(const Json& json) {
    if (json["file_bytes"].is_null()) {
        return;
    }
    printf("file       %lld bytes", json["file_bytes"].get<long long>());
    if (json.contains("ratio")) {
        printf(", %.2f per vector all in, %.2f %% of raw float32 (1 : %.1f)",
               json["bytes_per_vector"].get<double>(), json["percent_of_float32"].get<double>(),
               json["ratio"].get<double>());
    }
    printf("\n");
}

} // namespace faiss_vlc::cli
