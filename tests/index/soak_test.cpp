// Random additions, removals, searches, saves, loads and merges against a plain model that keeps
// exact copies. VLC_SOAK_SECONDS sets for how long (`make soak`: ten minutes), VLC_SOAK_SEED
// repeats a run.

#include <malloc.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <random>
#include <set>

#include <faiss/impl/IDSelector.h>
#include <faiss/index_io.h>

#include <faiss_vlc/search/lists.h>

#include <tests/support/index_test.h>

using namespace faiss_vlc;
namespace fs = std::filesystem;

namespace {

constexpr int kDim = 16;
constexpr int kPool = 3000;
constexpr size_t kMaxVectors = 6000; ///< vectors, so that memory has a bound

/// Bytes of memory that are in use.
size_t resident() {
    malloc_trim(0);
    long pages = 0, all = 0;
    FILE* file = fopen("/proc/self/statm", "r");
    if (file) {
        if (fscanf(file, "%ld %ld", &all, &pages) != 2) {
            pages = 0;
        }
        fclose(file);
    }
    return size_t(pages) * size_t(sysconf(_SC_PAGESIZE));
}

class Soak {
public:
    Soak(uint64_t seed, const std::string& folder, faiss::MetricType metric)
        : random_(seed), path_(folder + "/x.vlc"), pool_(clustered(kPool, kDim, 40, 7)) {
        VLCParameters params = quick(int(random_.between(1, 40)), int(random_.between(1, 18)));
        index_ = std::make_unique<IndexVLC>(kDim, params, metric);
        index_->train(kPool, pool_.data());
        empty_ = std::make_unique<IndexVLC>(*index_);
    }

    void step() {
        const int64_t choice = random_.between(0, 99);
        last_ = choice < 35   ? "add"
                : choice < 50 ? "remove"
                : choice < 62 ? "search"
                : choice < 72 ? "save"
                : choice < 80 ? "merge"
                : choice < 85 ? "container"
                : choice < 90 ? "copy"
                : choice < 97 ? "reconstruct"
                : choice < 98 ? "refuse"
                              : "reset";
        const std::string op = last_;
        if (op == "add") {
            add(*index_, random_.between(1, random_.between(0, 3) ? 40 : 900));
        } else if (op == "remove") {
            remove();
        } else if (op == "search") {
            compare_search();
        } else if (op == "save") {
            faiss_vlc::write_index(index_.get(), path_.c_str());
            const bool map = random_.between(0, 1);
            take(faiss_vlc::read_index(path_.c_str(), map ? faiss::IO_FLAG_MMAP : 0));
        } else if (op == "merge") {
            IndexVLC other(*empty_);
            add(other, random_.between(0, 300));
            index_->merge_from(other, 0);
            ASSERT_EQ(other.ntotal, 0);
        } else if (op == "container") {
            const Bytes bytes = written(*index_);
            faiss::VectorIOWriter stock;
            faiss::write_index(index_.get(), &stock);
            take(read(stock.data).release());
            ASSERT_EQ(written(*index_), bytes);
        } else if (op == "copy") {
            index_ = std::make_unique<IndexVLC>(*index_);
        } else if (op == "reconstruct") {
            compare_vectors();
        } else if (op == "refuse") {
            std::vector<float> bad(pool_.begin(), pool_.begin() + 50 * kDim);
            bad[49 * kDim] = NAN;
            ASSERT_THROW(index_->add(50, bad.data()), faiss::FaissException);
        } else {
            index_->reset();
            model_.clear();
        }
        if (model_.size() > kMaxVectors) {
            remove();
        }
        ASSERT_EQ(size_t(index_->ntotal), model_.size());
        steps_++;
    }
    const std::string& last() const { return last_; }
    long steps() const { return steps_; }
    void finish() {
        compare_vectors();
        compare_search();
    }

private:
    Random random_;
    std::string path_, last_;
    const std::vector<float> pool_;
    std::unique_ptr<IndexVLC> index_, empty_;
    std::map<int64_t, int> model_; ///< id: row of the pool
    int64_t next_ = 0;
    long steps_ = 0;

    void take(faiss::Index* index) {
        index_.reset(dynamic_cast<IndexVLC*>(index));
        ASSERT_NE(index_, nullptr);
        index_->parameters.device = "reference";
    }

    void add(IndexVLC& to, int64_t n) {
        std::vector<float> x;
        std::vector<int64_t> ids;
        const bool wide = random_.between(0, 9) == 0;
        for (int64_t i = 0; i < n; i++) {
            const int row = int(random_.between(0, kPool - 1));
            next_++;
            const int64_t id = wide ? next_ << 33 : next_;
            model_[id] = row;
            ids.push_back(id);
            x.insert(x.end(), &pool_[row * kDim], &pool_[row * kDim] + kDim);
        }
        to.add_with_ids(n, x.data(), ids.data());
    }

    void remove() {
        struct Chosen : faiss::IDSelector {
            std::set<int64_t> ids;
            bool is_member(int64_t id) const override { return ids.count(id) > 0; }
        } chosen;
        const double share =
                random_.unit() * random_.unit() + (model_.size() > kMaxVectors ? 0.3 : 0);
        for (const auto& [id, row] : model_) {
            if (random_.unit() < share) {
                chosen.ids.insert(id);
            }
        }
        ASSERT_EQ(index_->remove_ids(chosen), chosen.ids.size());
        for (const int64_t id : chosen.ids) {
            model_.erase(id);
        }
    }

    /// An index made at once of what the model holds.
    IndexVLC rebuilt() const {
        IndexVLC index(*empty_);
        std::vector<float> x;
        std::vector<int64_t> ids;
        for (const auto& [id, row] : model_) {
            ids.push_back(id);
            x.insert(x.end(), &pool_[row * kDim], &pool_[row * kDim] + kDim);
        }
        index.add_with_ids(int64_t(ids.size()), x.data(), ids.data());
        return index;
    }

    void compare_search() {
        IndexVLC expected = rebuilt();
        const int n = int(random_.between(1, 30));
        const int first = int(random_.between(0, kPool - n));
        const std::vector<float> queries(pool_.begin() + first * kDim,
                                         pool_.begin() + (first + n) * kDim);
        expected.nprobe = index_->nprobe = size_t(random_.between(1, int64_t(expected.nlist)));
        const int k = int(random_.between(1, 20));
        ASSERT_EQ(::search(*index_, queries, k), ::search(expected, queries, k));
    }

    void compare_vectors() {
        const IndexVLC expected = rebuilt();
        std::map<int64_t, std::vector<float>> vectors;
        for (const IndexVLC* index : {static_cast<const IndexVLC*>(index_.get()), &expected}) {
            const VLCInvertedLists& lists = index->lists();
            size_t met = 0;
            for (size_t j = 0; j < index->nlist; j++) {
                for (size_t i = 0; i < lists.list_size(j); i++, met++) {
                    std::vector<float> v(kDim);
                    index->reconstruct_from_offset(int64_t(j), int64_t(i), v.data());
                    if (index == index_.get()) {
                        ASSERT_TRUE(vectors.emplace(lists.id(j, i), v).second);
                    } else {
                        ASSERT_EQ(vectors.at(lists.id(j, i)), v);
                    }
                }
            }
            ASSERT_EQ(met, model_.size());
        }
    }
};

} // namespace

TEST(Soak, AgreesWithAPlainModel) {
    const char* wanted = std::getenv("VLC_SOAK_SECONDS");
    const double seconds = wanted ? std::atof(wanted) : 8;
    const char* given = std::getenv("VLC_SOAK_SEED");
    uint64_t seed = given ? std::strtoull(given, nullptr, 10) : std::random_device{}();
    std::string folder = (fs::temp_directory_path() / "vlc-soak-XXXXXX").string();
    ASSERT_NE(mkdtemp(folder.data()), nullptr);
    const auto start = std::chrono::steady_clock::now();
    const auto elapsed = [&] {
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    };
    long steps = 0;
    size_t early = 0, most = 0;
    int runs = 0;
    do { // each seed is one run of a few hundred steps
        printf("VLC_SOAK_SEED=%llu\n", (unsigned long long)seed);
        Soak soak(seed, folder, seed % 2 ? faiss::METRIC_L2 : faiss::METRIC_INNER_PRODUCT);
        while (soak.steps() < 400 && elapsed() < seconds) {
            soak.step();
            ASSERT_FALSE(HasFatalFailure()) << "step " << soak.steps() << ": " << soak.last();
        }
        soak.finish();
        ASSERT_FALSE(HasFatalFailure()) << "at the end";
        steps += soak.steps();
        const size_t now = resident();
        (++runs <= 3 ? early : most) = std::max(runs <= 3 ? early : most, now);
        seed = seed * 6364136223846793005u + 1442695040888963407u;
    } while (elapsed() < seconds && !given);
    printf("%ld steps in %d runs, %.0f s; memory %.1f MB after three runs, %.1f MB at most later\n",
           steps, runs, elapsed(), double(early) / 1e6, double(most) / 1e6);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    EXPECT_LT(most, early + early / 4 + (32u << 20));
#endif
    fs::remove_all(folder);
}
