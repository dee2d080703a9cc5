// Training by several processes, played by threads: the bytes of training by one.

#include <cmath>
#include <condition_variable>
#include <mutex>
#include <thread>

#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/ranks.h>

#include <tests/support/index_test.h>
#include <tests/support/test_kind.h>

namespace faiss_vlc {
namespace {

/// Adds up what a number of threads give, and hands it to all of them.
class Meeting {
public:
    explicit Meeting(int count) : count_(count) {}

    void add_up(int64_t* values, int64_t n) {
        std::unique_lock<std::mutex> lock(mutex_);
        if (came_ == 0) {
            sums_.assign(n, 0);
        }
        ASSERT_EQ(int64_t(sums_.size()), n) << "threads have come for different things";
        for (int64_t i = 0; i < n; i++) {
            sums_[i] += values[i];
        }
        const int64_t round = round_;
        if (++came_ == count_) {
            given_ = sums_;
            came_ = 0;
            round_++;
            changed_.notify_all();
        } else {
            changed_.wait(lock, [&] { return round_ != round; });
        }
        std::copy(given_.begin(), given_.end(), values);
    }

private:
    const int count_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<int64_t> sums_, given_;
    int came_ = 0;
    int64_t round_ = 0;
};

/// Runs each rank in a thread of its own; what each throws, if anything, by rank.
template <class Body>
std::vector<std::string> run_ranks(int count, Body body) {
    Meeting meeting(count);
    std::vector<std::string> errors(count);
    std::vector<std::thread> threads;
    for (int rank = 0; rank < count; rank++) {
        threads.emplace_back([&, rank] {
            try {
                body(Ranks{rank, count,
                           [&](int64_t* values, int64_t n) { meeting.add_up(values, n); }});
            } catch (const std::exception& error) {
                errors[rank] = error.what();
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    return errors;
}

/// Where the vectors of `rank` begin: parts of unequal sizes.
int64_t part(int64_t n, int rank, int count) {
    return n * rank * (rank + 3) / (int64_t(count) * (count + 3));
}

struct Training {
    int d = 24;
    faiss::MetricType metric = faiss::METRIC_L2;
    VLCParameters params;
    std::vector<float> anchors; ///< given ones
};

void give(IndexVLC& index, const std::vector<float>& anchors) {
    if (!anchors.empty()) {
        index.quantizer->add(int64_t(anchors.size()) / index.d, anchors.data());
    }
}

void expect_same_bytes(const Training& training, const std::vector<float>& x,
                       const std::vector<std::string>& devices) {
    const int d = training.d;
    const int64_t n = int64_t(x.size()) / d;
    IndexVLC alone(d, training.params, training.metric);
    give(alone, training.anchors);
    alone.train(n, x.data());
    const Bytes expected = written(alone);
    for (int count = 1; count <= 4; count++) {
        SCOPED_TRACE(std::to_string(count) + " ranks");
        std::vector<Bytes> met(count);
        const auto errors = run_ranks(count, [&](const Ranks& ranks) {
            VLCParameters params = training.params;
            params.device = devices[ranks.rank % devices.size()];
            IndexVLC index(d, params, training.metric);
            give(index, training.anchors);
            const int64_t first = part(n, ranks.rank, count);
            index.train_distributed(part(n, ranks.rank + 1, count) - first, &x[first * d], ranks);
            met[ranks.rank] = written(index);
        });
        for (int rank = 0; rank < count; rank++) {
            EXPECT_EQ(errors[rank], "");
            EXPECT_TRUE(met[rank] == expected) << "rank " << rank;
        }
    }
}

TEST(Ranks, GatherTakesBytesFromWhoHasThem) {
    std::vector<uint8_t> expected(70000001); // more than are sent at once, and no whole words
    for (size_t i = 0; i < expected.size(); i++) {
        expected[i] = uint8_t(i * 37 + i / 255);
    }
    int same = 0;
    run_ranks(2, [&](const Ranks& ranks) {
        std::vector<uint8_t> bytes(expected.size(), 0);
        for (size_t i = 0; i < bytes.size(); i++) {
            bytes[i] = i % 3 % 2 == size_t(ranks.rank) ? expected[i] : 0;
        }
        ranks.gather(bytes.data(), bytes.size());
        const bool equal = bytes == expected;
        static std::mutex mutex;
        const std::lock_guard<std::mutex> lock(mutex);
        same += equal;
    });
    EXPECT_EQ(same, 2);
}

TEST(Ranks, AFailureIsEverybodys) {
    const auto errors = run_ranks(3, [](const Ranks& ranks) {
        ranks.together([] {});
        ranks.together([&] {
            if (ranks.rank == 1) {
                fail("no luck");
            }
        });
    });
    EXPECT_NE(errors[0].find("process 1 failed"), std::string::npos) << errors[0];
    EXPECT_NE(errors[1].find("no luck"), std::string::npos) << errors[1];
    EXPECT_NE(errors[2].find("process 1 failed"), std::string::npos) << errors[2];
}

TEST(Distributed, GivesTheBytesOfOneProcess) {
    Training training;
    training.params.m = 40;
    training.params.bytes = 12;
    training.params.iterations = 8;
    const std::vector<float> x = clustered(9000, training.d, 60, 3);
    const std::vector<std::string> reference = {"reference"};
    expect_same_bytes(training, x, reference);

    training.metric = faiss::METRIC_INNER_PRODUCT;
    training.params.grid = AnchorGrid::float16;
    training.params.robust = Robust::trim;
    training.params.neighbours = 3;
    training.params.random_bias = 0.1f;
    training.params.second_bytes = 15;
    expect_same_bytes(training, x, reference);

    training.params.second_bytes = 0;
    training.params.robust = Robust::none;
    training.params.held_out = 0;
    training.params.neighbours = 1;
    expect_same_bytes(training, x, reference);

    // near lists, and a sample that grows by less than a block for each process
    training.params.m = 64;
    training.params.candidates = 20;
    training.params.max_points_per_anchor = 100;
    training.params.stop_changes = 0;
    training.params.split_factor = 1.1f; // and many moves
    training.params.merge_fraction = 0.9f;
    expect_same_bytes(training, x, reference);

    training.params.m = 0; // by the number of all vectors
    expect_same_bytes(training, x, reference);
}

TEST(Distributed, FirstIterationsMayHaveNoRowsForSome) {
    Training training;
    training.d = 5;
    training.params.m = 2;
    training.params.first_share = 0.05f; // 128 rows, which are one process's
    training.params.max_points_per_anchor = 1000;
    expect_same_bytes(training, clustered(2500, training.d, 3, 4), {"reference"});
}

TEST(Distributed, DevicesMayDiffer) {
    Training training;
    training.d = 100;
    training.params.m = 70;
    training.params.candidates = 32;
    training.params.iterations = 6;
    expect_same_bytes(training, clustered(9000, training.d, 100, 5), {"auto", "reference"});
    expect_same_bytes(training, clustered(9000, training.d, 100, 5), {"auto"});
}

TEST(Distributed, EachMayHaveSeveralDevices) {
    const auto count = [](const std::string& device) { return device == "two" ? 2 : 1; };
    const RegisteredKind kind(std::make_shared<TestKind>(
            [&](const std::string& device) { return several_engines(count(device)); },
            [&](const std::string& device) { return several_assigners(count(device)); }));
    Training training;
    training.params.m = 40;
    training.params.iterations = 6;
    training.params.max_points_per_anchor = 35; // some have less than a block for each
    expect_same_bytes(training, clustered(2000, training.d, 60, 3), {"two", "one"});
}

TEST(Distributed, GivenAnchors) {
    Training training;
    training.params.m = 30;
    const std::vector<float> x = clustered(5000, training.d, 30, 6);
    training.anchors.assign(x.begin(), x.begin() + 30 * training.d);
    expect_same_bytes(training, x, {"reference"});
}

TEST(Distributed, QueriesOfAllCount) {
    const int d = 8;
    const std::vector<float> x = clustered(1500, d, 4, 7), queries = clustered(90, d, 4, 8);
    VLCParameters params;
    params.m = 8;
    params.device = "reference";
    const auto train = [&](const Ranks& ranks, int64_t first, int64_t end) {
        IndexVLC index(d, params);
        const int64_t from = part(1500, ranks.rank, ranks.count);
        index.train_distributed(part(1500, ranks.rank + 1, ranks.count) - from, &x[from * d], ranks,
                                end - first, queries.data() + first * d);
        return written(index);
    };
    const Bytes expected = train(Ranks{}, 0, 90);
    EXPECT_TRUE(train(Ranks{}, 0, 0) != expected);
    std::vector<Bytes> met(3);
    for (const bool shared : {true, false}) {
        const auto errors = run_ranks(3, [&](const Ranks& ranks) {
            const bool here = shared || ranks.rank == 0;
            const int64_t first = shared ? part(90, ranks.rank, 3) : 0;
            const int64_t end = shared ? part(90, ranks.rank + 1, 3) : here ? 90 : 0;
            met[ranks.rank] = train(ranks, first, end);
        });
        for (int rank = 0; rank < 3; rank++) {
            EXPECT_EQ(errors[rank], "");
            EXPECT_TRUE(met[rank] == expected) << "rank " << rank;
        }
    }
}

TEST(Distributed, FaultsOfOneEndAll) {
    const int d = 8;
    const std::vector<float> good = clustered(1000, d, 4, 7);
    std::vector<float> bad = good;
    bad[77] = NAN;
    const auto train = [&](const Ranks& ranks, const std::vector<float>& x, VLCParameters params) {
        params.device = "reference";
        IndexVLC index(d, params);
        index.train_distributed(int64_t(x.size()) / d, x.data(), ranks);
    };
    VLCParameters params;
    params.m = 4;
    auto errors = run_ranks(
            2, [&](const Ranks& ranks) { train(ranks, ranks.rank ? bad : good, params); });
    EXPECT_NE(errors[0].find("process 1 failed"), std::string::npos) << errors[0];
    EXPECT_NE(errors[1].find("finite"), std::string::npos) << errors[1];

    errors = run_ranks(2, [&](const Ranks& ranks) {
        VLCParameters own = params;
        own.kappa += float(ranks.rank);
        train(ranks, good, own);
    });
    for (const std::string& error : errors) {
        EXPECT_NE(error.find("parameters or given anchors differ"), std::string::npos) << error;
    }

    errors = run_ranks(2, [&](const Ranks& ranks) {
        VLCParameters own = params;
        own.checkpoint = "unused";
        own.checkpoint_every = 2;
        train(ranks, good, own);
    });
    for (const std::string& error : errors) {
        EXPECT_NE(error.find("checkpoint_every"), std::string::npos) << error;
    }

    params.max_points_per_anchor = 50; // 200 rows, fewer than a block for each
    errors = run_ranks(2, [&](const Ranks& ranks) { train(ranks, good, params); });
    for (const std::string& error : errors) {
        EXPECT_NE(error.find("a sample of 256"), std::string::npos) << error;
    }

    const Ranks wrong{2, 2, [](int64_t*, int64_t) {}};
    EXPECT_ANY_THROW(train(wrong, good, params));
    EXPECT_ANY_THROW(train(Ranks{0, 2, {}}, good, params));
}

} // namespace
} // namespace faiss_vlc
