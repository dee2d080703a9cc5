#include <faiss_vlc/query/kept_group.h>

#include <memory>
#include <thread>

#include <tests/support/word_index.h>

using namespace faiss_vlc;

namespace {

constexpr int kDim = 19;

std::unique_ptr<IndexVLC> an_index() {
    return word_index(kWordKinds[0], kDim, 6, clustered(400, kDim, 12, 5));
}

} // namespace

TEST(KeptGroup, IsTheSameForTheSameModelAndSize) {
    const auto one = an_index(), other = an_index();
    QueryGroup* first = nullptr;
    {
        KeptGroup group(one->model, 1);
        first = &*group;
        KeptGroup beside(one->model, 1); // as of a search within a search
        EXPECT_NE(&*beside, first);
    } // the one that ends last stays
    {
        KeptGroup group(one->model, 1);
        EXPECT_EQ(&*group, first);
    }
    std::thread([&] {
        KeptGroup group(one->model, 1);
        EXPECT_NE(&*group, first);
    }).join();
    {
        KeptGroup group(one->model, 2);
        (*group).set(0, nullptr); // has room of its own
        KeptGroup single(one->model, 1);
    }
    {
        KeptGroup group(other->model, 1);
        EXPECT_EQ((*group).n(), 0);
    }
}

// Neither does it keep a model, nor is it taken for one that has another's address.
TEST(KeptGroup, LetsModelsGo) {
    std::weak_ptr<const Model> model;
    {
        const auto index = an_index();
        model = index->model;
        KeptGroup group(index->model, 1);
    }
    EXPECT_TRUE(model.expired());
    const auto index = an_index();
    KeptGroup group(index->model, 1);
    EXPECT_TRUE((*group).n() == 0);
}

// Searches of two indexes in turns find what each finds alone.
TEST(KeptGroup, TurnsDoNotMixIndexesUp) {
    const std::vector<float> x = clustered(400, kDim, 12, 5);
    const auto one = an_index();
    const auto other = word_index(kWordKinds[0], kDim, 5, x);
    for (const auto* index : {&one, &other}) {
        (*index)->add(400, x.data());
        (*index)->nprobe = 3;
    }
    const Results first = search(*one, x, 5), second = search(*other, x, 5);
    for (int q = 0; q < 20; q++) {
        const std::vector<float> row(x.begin() + q * kDim, x.begin() + (q + 1) * kDim);
        for (int r = 0; r < 2; r++) {
            const Results found = search(r ? *other : *one, row, 5);
            const Results& wanted = r ? second : first;
            for (int i = 0; i < 5; i++) {
                EXPECT_EQ(found.label[i], wanted.label[q * 5 + i]);
                EXPECT_EQ(found.distance[i], wanted.distance[q * 5 + i]);
            }
        }
    }
}
