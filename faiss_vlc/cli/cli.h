#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <faiss/Index.h>
#include <faiss/IndexIVF.h>
#include <nlohmann/json.hpp>

#include <faiss_vlc/IndexVLC.h>
#include <faiss_vlc/cli/options.h>
#include <faiss_vlc/vectors/vector_file.h>

/// What the subcommands of `vlc` share. Not part of the library.
namespace faiss_vlc::cli {

using Json = nlohmann::ordered_json;

/// What is left to do once the arguments are parsed.
struct Job {
    std::function<Json()> run;              ///< does the work and returns its result
    std::function<void(const Json&)> print; ///< prints the result as text
    std::vector<std::string*> outputs;      ///< names of the files that it writes
    bool json = false;                      ///< print it as JSON instead
    int threads = 0;                        ///< 0: as many as OpenMP takes
};

// Each adds one subcommand, which fills in the job when it is chosen.
void add_index_command(CLI::App& app, Job& job);
void add_eval_command(CLI::App& app, Job& job);
void add_search_command(CLI::App& app, Job& job);
void add_decode_command(CLI::App& app, Job& job);
void add_info_command(CLI::App& app, Job& job);
void add_verify_command(CLI::App& app, Job& job);

void add_json_option(CLI::App& command, Job& job);
void add_threads_option(CLI::App& command, Job& job);

/// A file of vectors among the arguments.
struct VectorArgument {
    std::string path;
    std::string dtype;   ///< of a raw file; other formats name theirs
    std::string dataset; ///< HDF5
    int d = 0;           ///< 0: unknown, else what the file must have

    VectorFileOptions options() const;
};
void add_dtype_option(CLI::App& command, std::string& dtype);

/// Streams a file's vectors block by block; throws for NaN and infinity, naming file and row.
/// Checks for interrupts.
class VectorStream {
public:
    explicit VectorStream(const VectorArgument& argument);

    const std::string& path() const { return path_; }
    int64_t n() const { return reader_->n(); }
    int d() const { return reader_->d(); }

    /// Reads the next block and returns its rows, 0 at the end.
    int64_t next();
    /// Of the block: float rows x d, and the first row's number in the file.
    const float* block() const { return block_.data(); }
    int64_t first() const { return first_; }
    void rewind();

private:
    std::string path_;
    std::unique_ptr<VectorReader> reader_;
    std::vector<float> block_;
    int64_t block_rows_ = 0, first_ = 0, end_ = 0;
};

/// Reads all vectors of a file, finite ones only.
Matrix<float> read_all(const VectorArgument& argument);

/// An index of any kind, its file, and the inverted file inside it, if there is one.
struct LoadedIndex {
    std::string path;
    std::unique_ptr<faiss::Index> index;
    faiss::IndexIVF* ivf = nullptr;
    IndexVLC* vlc = nullptr; ///< ivf, if it is one of ours
};
/// io_flags: as read_index takes.
LoadedIndex open_index(const std::string& path, int io_flags = 0);
/// Throws if there are no lists to probe.
void set_nprobe(LoadedIndex& loaded, int nprobe);
/// Does nothing if no device was named; throws if the index has none of our lists.
void set_search_device(LoadedIndex& loaded, const std::string& device);
void add_search_device_option(CLI::App& command, std::string& device);
CLI::Option* add_nprobe_option(CLI::App& command, std::vector<int>& nprobes);

/// The vectors that an index gives back, in the order of their ids, block by block. Throws unless
/// the ids are 0 .. ntotal - 1. Checks for interrupts.
class DecodedVectors {
public:
    explicit DecodedVectors(LoadedIndex& loaded);

    /// Decodes the next block and returns its rows, 0 at the end.
    int64_t next();
    const float* block() const { return block_.data(); }

private:
    std::string path_;
    const faiss::Index* index_;
    int64_t next_ = 0, block_rows_;
    std::vector<float> block_;
};

/// The exact neighbours of queries among vectors that come in blocks. Distances are compared in
/// double precision, equal ones go by the smaller id.
class ExactNeighbours {
public:
    /// Borrows the queries.
    ExactNeighbours(const Matrix<float>& queries, int64_t k, faiss::MetricType metric);
    /// x float n x d; ids go on from the last block's.
    void add(int64_t n, const float* x);
    /// queries x k, best first, -1 where there are fewer.
    Matrix<int64_t> labels() const;

private:
    const Matrix<float>& queries_;
    int64_t k_, first_ = 0;
    bool inner_product_;
    std::vector<std::vector<std::pair<double, int64_t>>> best_; ///< distance (or -product), id

    double distance(const float* x, const float* y) const;
};

/// Most neighbours that a search may ask for.
constexpr int kMaxResults = 1 << 20;

/// Rows of d floats that make about 16 MB.
int64_t rows_per_block(int64_t d);

/// Throws unless a file can be written there; leaves nothing behind.
void require_writable(const std::string& path);
/// Is the file in the format of docs/FORMAT.md, rather than FAISS's?
bool is_payload(const std::string& path);
int64_t file_size(const std::string& path);
/// Bytes of a file that has been written; null of a pipe, a device or a descriptor.
Json written_size(const std::string& path);

double seconds_now();
int thread_count();
/// To significant digits that a measurement deserves, so that JSON shows no float noise.
double rounded(double value, int digits = 6);

const char* metric_name(faiss::MetricType metric);
/// Adds file_bytes, and of n vectors of d dimensions bytes_per_vector, percent_of_float32, ratio,
/// if the bytes are not null.
void add_size(Json& json, const Json& bytes, int64_t n, int d);
/// Prints what add_size added.
void print_size(const Json& json);

} // namespace faiss_vlc::cli
