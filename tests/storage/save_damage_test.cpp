// Damaged and forged indexes are noticed, or harmless.

#include <tests/storage/save_test.h>
#include <tests/support/fine_index.h>

#include <limits>

#include <faiss_vlc/lib/half.h>
#include <faiss_vlc/model/model.h>
#include <faiss_vlc/search/lists.h>

#include <tests/support/region_index.h>
#include <tests/support/word_index.h>

using namespace faiss_vlc;

static std::unique_ptr<IndexVLC> two_tiers(faiss::MetricType metric = faiss::METRIC_L2) {
    VLCParameters params = quick(3, 3);
    params.second_bytes = 4;
    auto index = std::make_unique<IndexVLC>(5, params, metric);
    const std::vector<float> x = clustered(60, 5, 3, 9);
    index->train(60, x.data());
    index->add(20, x.data());
    return index;
}

static IndexVLC index_of_regions() {
    const auto index = small_index();
    const std::vector<float> x = clustered(20, 5, 3, 9);
    return with_regions(*index, ragged_regions(*index->model, 2, {1, 2}, 5), x);
}

/// Those whose files are damaged.
static std::vector<Bytes> all_kinds() {
    std::vector<Bytes> all{written(*small_index()), written(*small_index(AnchorGrid::float16))};
    all.push_back(written(index_of_regions()));
    const std::vector<float> x = clustered(60, 5, 3, 9);
    for (const Words& words : kWordKinds) {
        const auto index = word_index(words, 5, 3, x);
        index->add(20, x.data());
        all.push_back(written(*index));
    }
    all.push_back(written(*two_tiers()));
    all.push_back(written(*two_tiers(faiss::METRIC_INNER_PRODUCT)));
    return all;
}

TEST(SaveDamage, EveryCutAndEveryFlipIsNoticed) {
    const std::vector<Bytes> kinds = all_kinds();
    for (const Bytes& good : {kinds[0], kinds[2], kinds[4], kinds.back()}) {
        for (size_t size = 0; size < good.size(); size++) {
            const Bytes cut(good.begin(), good.begin() + size);
            EXPECT_THROW(index_of(cut), faiss::FaissException) << "cut to " << size;
            EXPECT_THROW(read(cut), faiss::FaissException) << "stream cut to " << size;
        }
        for (size_t i = 0; i < good.size(); i++) {
            for (const int flip : {0x01, 0x80, 0xff}) {
                Bytes bad = good;
                bad[i] ^= uint8_t(flip);
                EXPECT_THROW(index_of(bad), faiss::FaissException) << "byte " << i;
            }
        }
        Bytes longer = good;
        longer.push_back(0);
        EXPECT_THROW(index_of(longer), faiss::FaissException);
    }
}

TEST(SaveDamage, HostileContentWithRightChecksumsIsRefusedOrHarmless) {
    const std::vector<float> x = clustered(60, 5, 3, 9);
    for (const Bytes& good : all_kinds()) {
        const SectionReader sections(Payload{{good.data(), good.size()}, "x.vlc", nullptr});
        Random random(5);
        int refused = 0, taken = 0;
        for (const Section& changed : sections.sections()) {
            for (int trial = 0; trial < 200; trial++) {
                const Bytes bad = forged(good, [&](const std::string& name, Bytes& content) {
                    if (name == changed.name && !content.empty()) {
                        const auto last = int64_t(content.size()) - 1;
                        for (int64_t i = random.between(1, 4); i > 0; i--) {
                            content[random.between(0, last)] ^= uint8_t(random.between(1, 255));
                        }
                        if (random.between(0, 9) == 0) {
                            content.resize(random.between(0, last + 9));
                        }
                    }
                    return true;
                });
                try {
                    const auto loaded = index_of(bad);
                    // whatever comes of it, nothing leaves its memory
                    loaded->nprobe = 3;
                    search(*loaded, x, 4);
                    std::vector<float> vector(loaded->d);
                    for (size_t j = 0; loaded->is_trained && j < loaded->nlist; j++) {
                        for (size_t i = 0; i < loaded->lists().list_size(j); i++) {
                            loaded->reconstruct_from_offset(int64_t(j), int64_t(i), vector.data());
                        }
                    }
                    loaded->parameters.device = "reference";
                    loaded->set_direct_map_type(faiss::DirectMap::NoMap);
                    loaded->add(60, x.data());
                    taken++;
                } catch (const faiss::FaissException&) {
                    refused++;
                }
            }
        }
        EXPECT_GT(refused, 500);
        EXPECT_GT(taken, 300); // codes and ids may be anything
    }
}

TEST(SaveDamage, ForgedRegionsAreNamed) {
    const Bytes good = written(index_of_regions());
    const auto refused = [&](size_t at, auto value, const char* part) {
        return throws([&] { index_of(with(good, "regions", at, value)); }, part);
    };
    EXPECT_TRUE(refused(0, uint32_t(1), "\"regions\": regions: expected 2 to m"));
    EXPECT_TRUE(refused(0, uint32_t(4), "expected 2 to m"));
    EXPECT_TRUE(refused(0, ~uint32_t(0), "expected 2 to m"));
    EXPECT_TRUE(refused(0, uint32_t(3), "\"regions\""));
    EXPECT_TRUE(refused(4, uint32_t(0), "numbers of regions looked into"));
    EXPECT_TRUE(refused(4, uint32_t(14), "numbers of regions looked into"));
    EXPECT_TRUE(refused(4, uint32_t(1), "\"regions\""));
    EXPECT_TRUE(refused(8, int32_t(0), "regions looked into"));
    EXPECT_TRUE(refused(8, int32_t(3), "regions looked into"));
    EXPECT_TRUE(refused(12, int32_t(-1), "regions looked into"));
    EXPECT_TRUE(refused(16, int8_t(-128), "centre component"));
    EXPECT_TRUE(refused(26, int32_t(2), "region of an anchor"));
    EXPECT_TRUE(refused(26, int32_t(-1), "region of an anchor"));
    const Bytes empty = with(with(good, "regions", 30, int32_t(0)), "regions", 34, int32_t(0));
    EXPECT_TRUE(throws([&] { index_of(empty); }, "region: expected one that has anchors, got 1"));
}

TEST(SaveDamage, ForgeriesAreNamed) {
    const Bytes good = written(*small_index());
    const Bytes half = written(*small_index(AnchorGrid::float16));
    const float nan = std::numeric_limits<float>::quiet_NaN();
    const float inf = std::numeric_limits<float>::infinity();
    const auto refused = [](const Bytes& bad, const char* part) {
        return throws([&] { index_of(bad); }, part);
    };
    EXPECT_TRUE(refused(with(good, "index", 0, uint32_t(0)), "\"index\": d"));
    EXPECT_TRUE(refused(with(good, "index", 0, uint32_t(16385)), "\"index\": d"));
    EXPECT_TRUE(refused(with(good, "index", 0, uint32_t(6)), "section")); // others disagree
    EXPECT_TRUE(refused(with(good, "index", 4, uint32_t(0)), "\"index\": m"));
    EXPECT_TRUE(refused(with(good, "index", 4, ~uint32_t(0)), "\"index\": m"));
    EXPECT_TRUE(refused(with(good, "index", 8, uint32_t(2)), "metric"));
    EXPECT_TRUE(refused(with(good, "index", 12, uint32_t(2)), "trained"));
    EXPECT_TRUE(refused(with(good, "index", 12, uint32_t(0)), "\"index\": m"));
    EXPECT_TRUE(refused(with(good, "index", 16, uint64_t(21)), "list sizes"));
    EXPECT_TRUE(refused(with(good, "index", 16, ~uint64_t(0)), "ntotal"));
    EXPECT_TRUE(refused(with(good, "index", 40, uint32_t(6)), "code bytes"));
    EXPECT_TRUE(refused(with(good, "index", 44, uint32_t(3)), "direct map"));
    EXPECT_TRUE(refused(with(good, "parameters", 12, uint32_t(3)), "grid"));
    EXPECT_TRUE(refused(with(good, "parameters", 44, nan), "finite"));
    EXPECT_TRUE(refused(with(good, "parameters", 32, int32_t(0)), "iterations"));
    EXPECT_TRUE(refused(with(good, "lattice", 0, 0.0f), "scale"));
    EXPECT_TRUE(refused(with(good, "lattice", 0, -1.0f), "scale"));
    EXPECT_TRUE(refused(with(good, "lattice", 0, inf), "scale"));
    EXPECT_TRUE(refused(with(good, "lattice", 8, nan), "mean"));
    EXPECT_TRUE(refused(with(good, "anchors", 0, uint32_t(2)), "grid"));
    EXPECT_TRUE(refused(with(good, "anchors", 0, uint32_t(1)), "anchors"));
    EXPECT_TRUE(refused(with(good, "anchors", 4, int8_t(-128)), "anchor component"));
    EXPECT_TRUE(refused(with(half, "anchors", 4, float_to_half(nan)), "anchor component"));
    EXPECT_TRUE(refused(with(half, "anchors", 4, float_to_half(128)), "anchor component"));
    EXPECT_TRUE(refused(with(good, "spread", 2, float_to_half(inf)), "spread"));
    EXPECT_TRUE(refused(with(good, "spread", 2, float_to_half(-1)), "spread"));
    EXPECT_TRUE(refused(with(good, "sigma", 0, -1.0f), "sigma"));
    EXPECT_TRUE(refused(with(good, "sigma", 0, nan), "sigma"));
    EXPECT_TRUE(refused(with(good, "frame", 0, uint32_t(9)), "axes"));
    EXPECT_TRUE(refused(with(good, "frame", 4, uint32_t(0)), "frames"));
    EXPECT_TRUE(refused(with(good, "frame", 4, uint32_t(65)), "frames"));
    EXPECT_TRUE(refused(with(good, "frame", 8, uint8_t(1)), "frame of an anchor"));
    const uint32_t rows = 8 + uint32_t(small_index()->model->m);
    EXPECT_TRUE(refused(with(good, "frame", rows, int8_t(-128)), "axis component"));
    EXPECT_TRUE(refused(with(good, "layout", 0, uint32_t(4)), "code bytes"));
    EXPECT_TRUE(refused(with(good, "layout", 4, uint32_t(1)), "\"layout\""));
    EXPECT_TRUE(refused(with(good, "layout", 4, ~uint32_t(0)), "fields"));
    EXPECT_TRUE(refused(with(good, "layout", 8, uint16_t(60000)), "code layout"));
    EXPECT_TRUE(refused(with(good, "layout", 10, uint16_t(60000)), "code layout"));
    EXPECT_TRUE(refused(with(good, "layout", 12, uint8_t(3)), "code layout"));
    EXPECT_TRUE(refused(with(good, "layout", 13, uint8_t(9)), "code layout"));
    EXPECT_TRUE(refused(with(good, "layout", 14, uint8_t(8)), "code layout"));
    EXPECT_TRUE(refused(with(good, "layout", 15, uint8_t(1)), "filler"));
    // 32 values of gamma and of far, then t1, t2, c, energy, most distance, usual length, kappa and
    // default nprobe
    EXPECT_TRUE(refused(with(good, "estimator", 0, 0.0f), "gamma"));
    EXPECT_TRUE(refused(with(good, "estimator", 0, -1.0f), "gamma"));
    EXPECT_TRUE(refused(with(good, "estimator", 0, 1e3f), "above 0 and rising"));
    EXPECT_TRUE(refused(with(good, "estimator", 4 * 31, 1e-30f), "above 0 and rising"));
    EXPECT_TRUE(refused(with(good, "estimator", 4 * 15, nan), "finite"));
    EXPECT_TRUE(refused(with(good, "estimator", 4 * 32, -1.0f), "far"));
    EXPECT_TRUE(refused(with(good, "estimator", 4 * 32, 1e3f), "above 0 and rising"));
    EXPECT_TRUE(refused(with(good, "estimator", 4 * 63, nan), "finite"));
    for (const size_t place : {64, 65, 66, 67, 68, 69, 70}) {
        EXPECT_TRUE(refused(with(good, "estimator", 4 * place, nan), "finite")) << place;
        EXPECT_TRUE(refused(with(good, "estimator", 4 * place, inf), "finite")) << place;
    }
    EXPECT_TRUE(refused(with(good, "estimator", 4 * 67, 0.0f), "energy"));
    EXPECT_TRUE(refused(with(good, "estimator", 4 * 67, -1.0f), "energy"));
    EXPECT_TRUE(refused(with(good, "estimator", 4 * 68, -1.0f), "most distance"));
    EXPECT_TRUE(refused(with(good, "estimator", 4 * 69, -1.0f), "usual length"));
    EXPECT_TRUE(refused(with(good, "estimator", 4 * 70, 0.0f), "kappa"));
    EXPECT_TRUE(refused(with(good, "estimator", 4 * 71, int32_t(0)), "default nprobe"));
    EXPECT_TRUE(refused(with(good, "estimator", 4 * 71, int32_t(4)), "default nprobe"));
    const Bytes fine = written(*with_fine_queries(*small_index(), true, {}));
    EXPECT_TRUE(index_of(fine)->model->fine_queries);
    EXPECT_TRUE(refused(with(fine, "query", 0, uint32_t(1)), "planes of a query"));
    EXPECT_TRUE(refused(with(fine, "query", 0, uint32_t(3)), "planes of a query"));
    const Bytes finely = written(*with_fine_rotation(*small_index(), true, {}));
    EXPECT_TRUE(index_of(finely)->model->fine_rotation);
    EXPECT_TRUE(refused(with(finely, "rotation", 0, uint32_t(1)), "parts of a component"));
    EXPECT_TRUE(refused(with(finely, "rotation", 0, uint32_t(3)), "parts of a component"));
    EXPECT_TRUE(refused(with(good, "rank", 0, -0.5f), "above 0"));
    EXPECT_TRUE(refused(with(good, "rank", 0, nan), "above 0"));
    EXPECT_TRUE(refused(with(good, "rank", 0, 0.0f), "above 0"));
    EXPECT_TRUE(refused(with(good, "rank", 0, 4.5f), "above 0"));
    // the largest that pass are harmless
    const auto wide = index_of(with(with(with(good, "rank", 0, 4.0f), "estimator", 4 * 67, 3e38f),
                                    "spread", 2, float_to_half(65504)));
    wide->nprobe = wide->nlist;
    EXPECT_EQ(search(*wide, std::vector<float>(wide->d, 1.0f), 3).label.size(), 3u);
    EXPECT_TRUE(refused(with(good, "lists", 0, uint32_t(5)), "bytes of an id"));
    EXPECT_TRUE(refused(with(good, "lists", 0, uint32_t(8)), "\"ids\""));
    EXPECT_TRUE(refused(with(good, "lists", 4, ~uint32_t(0)), "list sizes"));
    // a direct map of the array kind needs ids below ntotal: else there is none
    const Bytes mapped = with(good, "index", 44, uint32_t(1));
    EXPECT_EQ(index_of(mapped)->direct_map.type, faiss::DirectMap::Array);
    EXPECT_EQ(index_of(with(mapped, "ids", 0, uint32_t(20)))->direct_map.type,
              faiss::DirectMap::NoMap);

    // code bytes and code size that agree, but not with d: nothing may be allocated by them
    const Bytes huge = with(good, "index", 40, uint32_t(0x7fffffff));
    EXPECT_TRUE(refused(with(huge, "layout", 0, uint32_t(0x7ffffffd)), "code bytes"));

    const SectionReader sections(Payload{{good.data(), good.size()}, "x.vlc", nullptr});
    for (const Section& gone : sections.sections()) {
        const Bytes less =
                forged(good, [&](const std::string& name, Bytes&) { return name != gone.name; });
        if (gone.required && gone.name != "rank") { // without it lists rank by anchors alone
            EXPECT_TRUE(refused(less, "missing")) << gone.name;
        } else {
            EXPECT_EQ(index_of(less)->ntotal, 20) << gone.name;
        }
        const Bytes more = forged(good, [&](const std::string& name, Bytes& content) {
            content.resize(content.size() + (name == gone.name));
            return true;
        });
        EXPECT_THROW(index_of(more), faiss::FaissException) << gone.name;
    }
}

TEST(SaveDamage, ForgedWordsAreNamed) {
    const std::vector<float> x = clustered(60, 5, 3, 9);
    const auto own = word_index({3, 0, WordAxes::own}, 5, 3, x);
    const auto turned = word_index({3, 1, WordAxes::principal}, 5, 3, x);
    own->add(20, x.data());
    turned->add(20, x.data());
    const Bytes good = written(*own), other = written(*turned);
    const auto refused = [](const Bytes& bad, const char* part) {
        return throws([&] { index_of(bad); }, part);
    };
    const float nan = std::numeric_limits<float>::quiet_NaN();
    EXPECT_TRUE(refused(with(good, "words", 0, uint32_t(0)), "code bytes"));
    EXPECT_TRUE(refused(with(good, "words", 0, uint32_t(4)), "code bytes"));
    EXPECT_TRUE(refused(with(good, "words", 4, uint32_t(1)), "code bytes"));
    EXPECT_TRUE(refused(with(good, "words", 4, uint32_t(4)), "factor bytes"));
    EXPECT_TRUE(refused(with(good, "index", 40, uint32_t(4)), "code bytes"));
    // they agree, but not with d; and they agree when their sum overflows
    const Bytes huge = with(good, "index", 40, uint32_t(0x7fffffff));
    EXPECT_TRUE(refused(with(huge, "words", 0, uint32_t(0x7fffffff)), "code bytes"));
    const Bytes one = with(with(good, "index", 40, uint32_t(1)), "words", 4, uint32_t(2));
    EXPECT_TRUE(refused(with(one, "words", 0, ~uint32_t(0)), "code bytes"));
    EXPECT_TRUE(refused(with(good, "words", 8, uint32_t(0)), "axes"));
    EXPECT_TRUE(refused(with(good, "words", 8, uint32_t(6)), "axes"));
    EXPECT_TRUE(refused(with(good, "words", 8, uint32_t(4)), "\"words\"")); // too long for it
    for (const float unit : {nan, 0.0f, -1.0f, 1e-16f, 1e16f}) {
        EXPECT_TRUE(refused(with(good, "words", 12, unit), "unit")) << unit;
    }
    EXPECT_TRUE(refused(with(good, "words", 16, int16_t(8192)), "component of a word"));
    EXPECT_TRUE(refused(with(good, "words", 16, int16_t(-32768)), "component of a word"));
    index_of(with(good, "words", 16, int16_t(-8191)));
    EXPECT_TRUE(refused(with(good, "frame", 0, uint32_t(4)), "axes"));
    EXPECT_TRUE(refused(with(good, "frame", 8, uint8_t(1)), "frame of an anchor"));
    EXPECT_TRUE(refused(with(good, "frame", 4, uint32_t(1)), "\"frame\""));  // and no rows
    EXPECT_TRUE(refused(with(other, "frame", 4, uint32_t(0)), "\"frame\"")); // and rows
    EXPECT_TRUE(refused(with(other, "frame", 4, uint32_t(65)), "frames"));
    // own axes are for words
    EXPECT_TRUE(refused(with(written(*small_index()), "frame", 4, uint32_t(0)), "frames"));
    for (const Bytes* of : {&good, &other}) {
        const SectionReader sections(Payload{{of->data(), of->size()}, "x.vlc", nullptr});
        for (const Section& gone : sections.sections()) {
            const Bytes less =
                    forged(*of, [&](const std::string& name, Bytes&) { return name != gone.name; });
            if (gone.required && gone.name != "rank") {
                EXPECT_TRUE(refused(less, "missing")) << gone.name;
            } else {
                EXPECT_EQ(index_of(less)->ntotal, 20) << gone.name;
            }
            const Bytes more = forged(*of, [&](const std::string& name, Bytes& content) {
                content.resize(content.size() + (name == gone.name));
                return true;
            });
            EXPECT_THROW(index_of(more), faiss::FaissException) << gone.name;
        }
    }
}

TEST(SaveDamage, ForgedSecondTiersAreNamed) {
    const Bytes good = written(*two_tiers()),
                products = written(*two_tiers(faiss::METRIC_INNER_PRODUCT));
    const auto refused = [](const Bytes& bad, const char* part) {
        return throws([&] { index_of(bad); }, part);
    };
    const float nan = std::numeric_limits<float>::quiet_NaN();
    const float inf = std::numeric_limits<float>::infinity();
    const SecondTier tier = *two_tiers()->model->second;
    EXPECT_TRUE(refused(with(good, "second", 0, uint32_t(0)), "\"second\": code bytes"));
    EXPECT_TRUE(refused(with(good, "second", 0, uint32_t(6)), "\"second\": code bytes"));
    const auto code_bytes = uint32_t(tier.layout.code_bytes);
    EXPECT_TRUE(refused(with(good, "second", 0, ~uint32_t(0)), "\"second\": code bytes"));
    // another size, of which the first tier would have the rest
    EXPECT_THROW(index_of(with(good, "second", 0, code_bytes + 1)), faiss::FaissException);
    for (const uint32_t bytes : {0u, 2u, 5u, ~0u}) {
        EXPECT_TRUE(refused(with(good, "second", 4, bytes), "factor bytes")) << bytes;
    }
    EXPECT_TRUE(refused(with(products, "second", 4, uint32_t(3)), "factor bytes"));
    EXPECT_TRUE(refused(with(good, "second", 8, uint32_t(0)), "axes"));
    EXPECT_TRUE(refused(with(good, "second", 8, uint32_t(6)), "axes"));
    EXPECT_TRUE(refused(with(good, "second", 12, uint32_t(0)), "vectors refined"));
    EXPECT_TRUE(refused(with(good, "second", 12, ~uint32_t(0)), "vectors refined"));
    EXPECT_TRUE(refused(with(good, "second", 16, uint32_t(0)), "vectors usually refined"));
    EXPECT_TRUE(refused(with(good, "second", 16, uint32_t(tier.refined + 1)),
                        "vectors usually refined"));
    EXPECT_TRUE(refused(with(good, "second", 20, int64_t(0)), "base"));
    EXPECT_TRUE(refused(with(good, "second", 20, int64_t(-1)), "base"));
    for (const size_t at : {28, 32, 36, 40, 44}) {
        EXPECT_TRUE(refused(with(good, "second", at, nan), "finite")) << at;
        EXPECT_TRUE(refused(with(good, "second", at, inf), "finite")) << at;
    }
    EXPECT_TRUE(refused(with(good, "second", 28, -0.1f), "growth"));
    EXPECT_TRUE(refused(with(good, "second", 28, 1.1f), "growth"));
    EXPECT_TRUE(refused(with(good, "second", 32, -1.0f), "range slack"));
    EXPECT_TRUE(refused(with(good, "second", 36, -1.0f), "unit"));
    EXPECT_TRUE(refused(with(good, "second", 36, 2e15f), "unit"));
    EXPECT_TRUE(refused(with(good, "second", 40, -1.0f), "alpha"));
    EXPECT_TRUE(refused(with(good, "second", 40, 50.0f), "alpha"));
    EXPECT_TRUE(refused(with(good, "second", 44, 101.0f), "alpha"));
    EXPECT_TRUE(refused(with(good, "second", 48, uint8_t(9)),
                        "\"second\": second tier: expected widths of 0 to 8 bits, got 9"));
    const size_t axes = tier.layout.width.size();
    ASSERT_GT(axes, size_t(code_bytes));
    const Bytes wide = forged(good, [&](const std::string& name, Bytes& content) {
        if (name == "second") {
            std::fill_n(&content[48], axes, uint8_t(8));
        }
        return true;
    });
    EXPECT_TRUE(refused(wide, "expected widths that fit in"));
    EXPECT_TRUE(refused(with(good, "second", 47 + axes, uint8_t(0)), "width of the last axis"));
    EXPECT_TRUE(refused(with(good, "second", 48 + axes, -1.0f), "sigma"));
    EXPECT_TRUE(refused(with(good, "second", 48 + axes, nan), "sigma"));
    EXPECT_TRUE(refused(with(good, "second", 48 + 5 * axes, int8_t(-128)), "axis component"));
    const Bytes flat = forged(good, [&](const std::string& name, Bytes& content) {
        if (name == "second") {
            std::fill_n(&content[48 + 5 * axes], 5, uint8_t(0));
        }
        return true;
    });
    EXPECT_TRUE(refused(flat, "one that is not zero"));
    const auto optional = [](const std::string& name) { // lists rank by anchors alone, or defaults
        return name == "rank" || name == "routing" || name.find("parameters") == 0;
    };
    for (const Bytes* of : {&good, &products}) {
        const SectionReader sections(Payload{{of->data(), of->size()}, "x.vlc", nullptr});
        bool has_tier = false, has_codes = false;
        for (const Section& gone : sections.sections()) {
            has_tier = has_tier || gone.name == "second";
            has_codes = has_codes || gone.name == "seconds";
            const Bytes less =
                    forged(*of, [&](const std::string& name, Bytes&) { return name != gone.name; });
            if (gone.required && !optional(gone.name)) {
                EXPECT_THROW(index_of(less), faiss::FaissException) << gone.name;
            }
            for (const int by : {-1, 1}) {
                const Bytes other = forged(*of, [&](const std::string& name, Bytes& content) {
                    content.resize(content.size() + size_t(name == gone.name ? by : 0));
                    return true;
                });
                EXPECT_THROW(index_of(other), faiss::FaissException) << gone.name;
            }
        }
        EXPECT_TRUE(has_tier && has_codes);
    }
    EXPECT_TRUE(
            refused(forged(good, [](const std::string& name, Bytes&) { return name != "seconds"; }),
                    "\"seconds\": missing"));
    // a tier in a file of one: its sections disagree
    const Bytes one = written(*small_index());
    const SectionReader sections(Payload{{good.data(), good.size()}, "x.vlc", nullptr});
    SectionWriter writer;
    const SectionReader own(Payload{{one.data(), one.size()}, "x.vlc", nullptr});
    for (const Section& s : own.sections()) {
        writer.add(s.name, s.required, Bytes(s.bytes.data, s.bytes.data + s.bytes.size));
    }
    for (const Section& s : sections.sections()) {
        if (s.name == "second") {
            writer.add(s.name, s.required, Bytes(s.bytes.data, s.bytes.data + s.bytes.size));
        }
    }
    faiss::VectorIOWriter out;
    IOWriterSink sink(out);
    writer.write(sink);
    EXPECT_THROW(index_of(out.data), faiss::FaissException);
}
