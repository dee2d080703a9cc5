// A search on the device returns what the CPU returns, bit by bit, where codes are words.

#include <array>
#include <cmath>
#include <memory>

#include <faiss_vlc/tune/words.h>

#include <tests/opencl/search_fixture.h>

namespace faiss_vlc {
namespace {

struct Case {
    int d, m, frames;
    int code_bytes, factor_bytes;
    WordAxes axes;
};

std::string name(const Case& c, faiss::MetricType metric) {
    return "d " + std::to_string(c.d) + " m " + std::to_string(c.m) + " bytes " +
           std::to_string(c.code_bytes) + " + " + std::to_string(c.factor_bytes) + " axes " +
           std::to_string(int(c.axes)) + (metric == faiss::METRIC_L2 ? " l2" : " ip");
}

/// Words at random, as long as residuals are.
void make_words(Model& model) {
    const Layout& layout = model.layout;
    const auto limit = float(Codebook::limit(layout));
    const float deviation = std::sqrt(model.estimator.energy / float(layout.axes));
    model.codebook = Codebook();
    model.codebook.unit = 4 * deviation / limit;
    model.codebook.words.assign(size_t(layout.slots()) * kWords, 0);
    const std::vector<int> axis = layout.slot_axis();
    Random random(77);
    for (int s = 0; s < layout.slots(); s++) {
        for (int w = 0; w < kWords && axis[s] >= 0; w++) {
            const float v = float(random.normal()) * (limit / 4);
            model.codebook.at(s, w) = int16_t(std::min(limit, std::max(-limit, v)));
        }
    }
}

/// An index of words on the anchors and axes of one of levels.
IndexVLC made(const Case& c, faiss::MetricType metric) {
    VLCParameters p = small(c.m, 4);
    p.iterations = 4;
    p.frames = c.frames;
    p.codec = Codec::lattice;
    IndexVLC levels(c.d, p, metric);
    levels.train(1000, rows(1000, c.d, 3).data());
    Axes axes{levels.model->frames, {}, {}};
    for (int i = 0; i < axes.frames[0].kept; i++) {
        axes.strength.push_back(1.0 / double(1 + i));
    }
    auto model = std::make_shared<Model>(
            word_model(*levels.model, axes, c.axes, c.code_bytes, c.factor_bytes).model);
    model->sigma.clear();
    make_words(*model);
    model->finish();
    return {model, p};
}

void expect_same_words(IndexVLC& index, idx_t k, size_t nprobe, const std::vector<float>& x,
                       const std::string& what) {
    expect_same(index, k, nprobe, x,
                what + " k " + std::to_string(k) + " nprobe " + std::to_string(nprobe));
}

constexpr auto kOwn = WordAxes::own;
constexpr auto kPrincipal = WordAxes::principal;
constexpr auto kDealt = WordAxes::dealt;
constexpr auto kWhole = WordAxes::whole;

} // namespace

TEST(OpenCLWords, SmallSizes) {
    const Case cases[] = {{7, 5, 1, 2, 1, kOwn}, {16, 6, 2, 5, 2, kDealt}, {30, 4, 1, 30, 0, kOwn}};
    for (const Case& c : cases) {
        for (const auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
            IndexVLC index = made(c, metric);
            index.add(90, rows(90, c.d, 4).data());
            expect_same_words(index, 3, 2, rows(9, c.d, 5), name(c, metric));
        }
    }
}

TEST(OpenCLWords, EqualsTheCpu) {
    const Case cases[] = {
            {24, 20, 1, 4, 0, kOwn},       {24, 20, 3, 3, 1, kDealt},
            {24, 20, 2, 4, 2, kPrincipal}, {37, 40, 2, 9, 0, kDealt},
            {37, 40, 1, 16, 1, kOwn},      {37, 40, 4, 17, 2, kDealt},
            {20, 10, 2, 5, 1, kPrincipal}, {5, 9, 1, 8, 0, kOwn}, // bytes beyond the axes
            {64, 12, 1, 64, 1, kOwn},      {70, 12, 1, 33, 2, kPrincipal},
            {1, 3, 1, 1, 2, kPrincipal},   {130, 7, 1, 60, 0, kDealt},
            {24, 20, 1, 6, 0, kWhole},     {9, 5, 1, 3, 0, kWhole},
    };
    for (const Case& c : cases) {
        for (const auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
            IndexVLC index = made(c, metric);
            index.add(1500, rows(1500, c.d, 4).data());
            for (const idx_t n : {1, 53}) {
                const std::vector<float> x = rows(n, c.d, uint32_t(5 + n));
                for (const size_t nprobe : {size_t(1), size_t(3), size_t(c.m)}) {
                    expect_same_words(index, 10, nprobe, x, name(c, metric));
                    if (HasFatalFailure()) {
                        return;
                    }
                }
            }
        }
    }
}

// Several chunks a list, and the last block of each ragged in another way.
TEST(OpenCLWords, LongAndRaggedLists) {
    for (const int factor_bytes : {0, 1, 2}) {
        const Case c{12, 3, 1, 6, factor_bytes, kOwn};
        IndexVLC index = made(c, faiss::METRIC_L2);
        index.add(14000, rows(14000, c.d, 6).data());
        expect_same_words(index, 500, 3, rows(20, c.d, 7), name(c, faiss::METRIC_L2));
        const Case few{8, 30, 1, 3, factor_bytes, kOwn};
        IndexVLC short_lists = made(few, faiss::METRIC_INNER_PRODUCT);
        for (int i = 0; i < 20; i++) {
            short_lists.add(13, rows(13, few.d, uint32_t(30 + i)).data());
            expect_same_words(short_lists, 40, 30, rows(5, few.d, 8), "ragged");
        }
    }
}

TEST(OpenCLWords, StrangeQueriesAndVectors) {
    for (const int factor_bytes : {0, 1, 2}) {
        for (const int code_bytes : {4, 8}) {
            for (const auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
                const Case c{24, 20, 1, code_bytes, factor_bytes, kOwn};
                IndexVLC index = made(c, metric);
                std::vector<float> y = rows(1500, c.d, 4), x = rows(12, c.d, 15);
                for (size_t i = 0; i < y.size(); i++) {
                    y[i] *= std::array{1.0f, 1e-3f, 30.0f, 1000.0f, 1e6f}[i / c.d % 5];
                }
                index.add(1500, y.data());
                x[3] = NAN;
                x[1 * c.d] = INFINITY;
                for (int k = 0; k < c.d; k++) {
                    x[2 * c.d + k] = 1e30f;
                    x[3 * c.d + k] = 0;
                    x[4 * c.d + k] = -1e-38f;
                    x[5 * c.d + k] = k == 7 ? 3e6f : 0.0f;
                    x[6 * c.d + k] = 1e12f;
                }
                index.model->anchor(3, &x[7 * c.d]); // no residual
                x[8 * c.d] = std::numeric_limits<float>::max();
                expect_same_words(index, 10, 5, x, name(c, metric));
                expect_same_words(index, 1000, 20, x, name(c, metric));
            }
        }
    }
}

// Words all alike: their sums say nothing, and the base counts by itself.
TEST(OpenCLWords, EqualWords) {
    for (const int factor_bytes : {0, 1, 2}) {
        const Case c{24, 20, 1, 6, factor_bytes, kOwn};
        const IndexVLC usual = made(c, faiss::METRIC_L2);
        auto model = std::make_shared<Model>(*usual.model);
        for (int s = 0; s < model->layout.slots(); s++) {
            for (int w = 0; w < kWords; w++) {
                model->codebook.at(s, w) = model->codebook.at(s, 0);
            }
        }
        model->finish();
        IndexVLC index(model, usual.parameters);
        index.add(300, rows(300, c.d, 4).data());
        expect_same_words(index, 20, 5, rows(11, c.d, 5), name(c, faiss::METRIC_L2));
    }
}

TEST(OpenCLWords, Trained) {
    for (const auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
        for (const int bytes : {2, 8}) {
            VLCParameters p = small(10);
            p.codec = Codec::block;
            p.bytes = bytes;
            IndexVLC index(kDim, p, metric);
            index.train(kCount, base().data());
            ASSERT_TRUE(index.model->layout.has_words());
            index.add(kCount, base().data());
            expect_same_words(index, 10, 4, queries(), "trained");
            index.add(700, base().data());
            expect_same_words(index, 10, 4, queries(), "added more");
        }
    }
}

} // namespace faiss_vlc
