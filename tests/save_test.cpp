// An index to its sections and back; damage and forgery are noticed.

#include <faiss_vlc/load.h>
#include <faiss_vlc/save.h>

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>

#include <faiss_vlc/half.h>

#include "index_test.h"

using namespace faiss_vlc;
namespace fs = std::filesystem;

namespace {

std::unique_ptr<IndexVLC> index_of(const Bytes& bytes) {
    // a copy of just these bytes on the heap, so that the sanitizer sees every step beyond them
    const std::shared_ptr<uint8_t[]> copy(new uint8_t[bytes.size()]);
    std::copy(bytes.begin(), bytes.end(), copy.get());
    return load_index(Payload{{copy.get(), bytes.size()}, "x.vlc", copy});
}

/// The container with the content of sections changed, and all checksums right.
template <class Change>
Bytes forged(const Bytes& good, Change change) {
    const SectionReader sections(Payload{{good.data(), good.size()}, "x.vlc", nullptr});
    SectionWriter writer;
    for (const Section& s : sections.sections()) {
        Bytes content(s.bytes.data, s.bytes.data + s.bytes.size);
        if (change(s.name, content)) {
            writer.add(s.name, s.required, std::move(content));
        }
    }
    faiss::VectorIOWriter out;
    IOWriterSink sink(out);
    writer.write(sink);
    return out.data;
}

template <class T>
Bytes with(const Bytes& good, const char* section, size_t at, T value) {
    bool done = false;
    const Bytes bad = forged(good, [&](const std::string& name, Bytes& content) {
        if (name == section && at + sizeof(value) <= content.size()) {
            std::memcpy(&content[at], &value, sizeof(value));
            done = true;
        }
        return true;
    });
    EXPECT_TRUE(done) << section << " has no byte " << at;
    return bad;
}

std::unique_ptr<IndexVLC> small_index(AnchorGrid grid = AnchorGrid::int8) {
    VLCParameters params = quick(3, 5);
    params.grid = grid;
    auto index = std::make_unique<IndexVLC>(5, params);
    const std::vector<float> x = clustered(60, 5, 3, 9);
    index->train(60, x.data());
    index->add(20, x.data());
    return index;
}

} // namespace

TEST(Save, RoundTripKeepsResultsAndBytes) {
    for (const faiss::MetricType metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
        for (const AnchorGrid grid : {AnchorGrid::int8, AnchorGrid::float16}) {
            for (const int d : {1, 3, 17, 128}) {
                for (const int bytes : {3, 4, 5, 6, 7, 8, 9, 18}) {
                    VLCParameters params = quick(5, bytes);
                    params.grid = grid;
                    IndexVLC index(d, params, metric);
                    const std::vector<float> x = clustered(150, d, 4, 7 + d);
                    index.train(150, x.data());
                    index.add(77, x.data());
                    const Bytes saved = written(index);
                    const auto loaded = index_of(saved);
                    SCOPED_TRACE(testing::Message() << "d " << d << " bytes " << bytes);
                    EXPECT_EQ(written(*loaded), saved);
                    EXPECT_EQ(search(*loaded, x, 6), search(index, x, 6));
                    EXPECT_EQ(loaded->nprobe, index.nprobe);
                    EXPECT_EQ(loaded->ntotal, 77);
                    EXPECT_TRUE(loaded->model->same_as(*index.model));
                    // and goes on working
                    loaded->parameters.device = "reference";
                    loaded->add(3, x.data());
                    index.add(3, x.data());
                    EXPECT_EQ(written(*loaded), written(index));
                }
            }
        }
    }
}

TEST(Save, EveryParameterComesBack) {
    VLCParameters params;
    params.m = 7;
    params.bits_per_dim = 1.5f;
    params.bytes = 9;
    params.grid = AnchorGrid::float16;
    params.frame = FrameKind::identity;
    params.frames = 3;
    params.seed = 99;
    params.max_points_per_anchor = 50;
    params.held_out = 0.25f;
    params.iterations = 6;
    params.neighbours = 2;
    params.start_temperature = 0.5f;
    params.end_temperature = 0.02f;
    params.size_bias = 0.2f;
    params.random_bias = 0.05f;
    params.robust = Robust::trim;
    params.kappa = 2.5f;
    params.max_step = 16;
    params.merge_fraction = 0.125f;
    params.split_factor = 3;
    params.maintain_until = 0.5f;
    params.stop_changes = 0.01f;
    params.tilt = 0.5f;
    params.t1 = 0.75f;
    params.t2 = 0.5f;
    params.c = 0.25f;
    params.coverage = 0.9f;
    IndexVLC index(20, params);
    index.nprobe = 3;
    index.max_codes = 1000;
    const auto loaded = index_of(written(index));
    const VLCParameters& p = loaded->parameters;
    EXPECT_EQ(written(*loaded), written(index));
    EXPECT_EQ(p.m, 7);
    EXPECT_EQ(p.bits_per_dim, 1.5f);
    EXPECT_EQ(p.bytes, 9);
    EXPECT_EQ(p.grid, AnchorGrid::float16);
    EXPECT_EQ(p.frame, FrameKind::identity);
    EXPECT_EQ(p.frames, 3);
    EXPECT_EQ(p.seed, 99u);
    EXPECT_EQ(p.max_points_per_anchor, 50);
    EXPECT_EQ(p.held_out, 0.25f);
    EXPECT_EQ(p.iterations, 6);
    EXPECT_EQ(p.neighbours, 2);
    EXPECT_EQ(p.start_temperature, 0.5f);
    EXPECT_EQ(p.end_temperature, 0.02f);
    EXPECT_EQ(p.size_bias, 0.2f);
    EXPECT_EQ(p.random_bias, 0.05f);
    EXPECT_EQ(p.robust, Robust::trim);
    EXPECT_EQ(p.kappa, 2.5f);
    EXPECT_EQ(p.max_step, 16);
    EXPECT_EQ(p.merge_fraction, 0.125f);
    EXPECT_EQ(p.split_factor, 3);
    EXPECT_EQ(p.maintain_until, 0.5f);
    EXPECT_EQ(p.stop_changes, 0.01f);
    EXPECT_EQ(p.tilt, 0.5f);
    EXPECT_EQ(p.t1, 0.75f);
    EXPECT_EQ(p.t2, 0.5f);
    EXPECT_EQ(p.c, 0.25f);
    EXPECT_EQ(p.coverage, 0.9f);
    EXPECT_EQ(loaded->nprobe, 3u);
    EXPECT_EQ(loaded->max_codes, 1000u);
}

TEST(Save, UntrainedAndEmpty) {
    IndexVLC untrained(12, 7, 1.5f, faiss::METRIC_INNER_PRODUCT);
    auto again = index_of(written(untrained));
    EXPECT_FALSE(again->is_trained);
    EXPECT_EQ(again->code_size, untrained.code_size);
    EXPECT_EQ(again->parameters.m, 7);
    EXPECT_EQ(again->nlist, 7u);
    EXPECT_EQ(again->metric_type, faiss::METRIC_INNER_PRODUCT);

    // parameters may change until training
    untrained.parameters.bytes = 9;
    untrained.parameters.m = 4;
    again = index_of(written(untrained));
    EXPECT_EQ(again->code_size, 9u);
    EXPECT_EQ(again->nlist, 4u);

    IndexVLC index(8, quick(4, 6));
    const std::vector<float> x = clustered(100, 8, 4, 3);
    index.train(100, x.data());
    again = index_of(written(index));
    EXPECT_TRUE(again->is_trained);
    EXPECT_EQ(again->ntotal, 0);
    EXPECT_EQ(search(*again, x).second[0], -1);
    index.nprobe = 0; // useless, but no reason to lose the file
    EXPECT_EQ(index_of(written(index))->nprobe, 0u);

    // all in one list
    const std::vector<float> same(100 * 8, x[0]);
    index.nprobe = 4;
    index.add(100, same.data());
    again = index_of(written(index));
    EXPECT_EQ(search(*again, x), search(index, x));
}

TEST(Save, WideIdsAndDirectMaps) {
    IndexVLC index(8, quick(4, 6));
    const std::vector<float> x = clustered(100, 8, 4, 3);
    index.train(100, x.data());
    std::vector<int64_t> ids(100);
    for (int i = 0; i < 100; i++) {
        ids[i] = i % 2 ? -1 - i : (int64_t(1) << 40) + i;
    }
    index.add_with_ids(100, x.data(), ids.data());
    index.set_direct_map_type(faiss::DirectMap::Hashtable);
    const auto wide = index_of(written(index));
    EXPECT_EQ(search(*wide, x), search(index, x));
    EXPECT_TRUE(wide->lists().wide_ids());
    EXPECT_EQ(wide->direct_map.type, faiss::DirectMap::Hashtable);
    std::vector<float> a(8), b(8);
    for (const int64_t id : ids) {
        index.reconstruct(id, a.data());
        wide->reconstruct(id, b.data());
        EXPECT_EQ(a, b);
    }

    index.reset();
    index.set_direct_map_type(faiss::DirectMap::NoMap);
    index.add(100, x.data());
    index.make_direct_map(true);
    const auto mapped = index_of(written(index));
    EXPECT_FALSE(mapped->lists().wide_ids());
    EXPECT_EQ(mapped->direct_map.type, faiss::DirectMap::Array);
    EXPECT_EQ(mapped->direct_map.array, index.direct_map.array);
}

TEST(Save, WhatCouldNotBeLoadedIsNotSaved) {
    const auto index = small_index();
    index->ntotal++;
    EXPECT_TRUE(throws([&] { written(*index); }, "ntotal is 21, but the lists hold 20"));
    index->ntotal--;
    index->parameters.iterations = 0;
    EXPECT_TRUE(throws([&] { written(*index); }, "iterations"));
    index->parameters.iterations = 1;
    index->model = nullptr;
    EXPECT_TRUE(throws([&] { written(*index); }, "no anchors"));
}

TEST(Save, EveryCutAndEveryFlipIsNoticed) {
    const Bytes good = written(*small_index());
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

TEST(Save, HostileContentWithRightChecksumsIsRefusedOrHarmless) {
    const std::vector<float> x = clustered(60, 5, 3, 9);
    for (const AnchorGrid grid : {AnchorGrid::int8, AnchorGrid::float16}) {
        const Bytes good = written(*small_index(grid));
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

TEST(Save, ForgeriesAreNamed) {
    const Bytes good = written(*small_index());
    const Bytes half = written(*small_index(AnchorGrid::float16));
    const float nan = std::numeric_limits<float>::quiet_NaN();
    const float inf = std::numeric_limits<float>::infinity();
    const auto refused = [](const Bytes& bad, const char* part) {
        return throws([&] { index_of(bad); }, part);
    };
    EXPECT_TRUE(refused(with(good, "index", 0, uint32_t(0)), "\"index\": d"));
    EXPECT_TRUE(refused(with(good, "index", 0, uint32_t(4097)), "\"index\": d"));
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
    EXPECT_TRUE(refused(with(good, "parameters", 12, uint32_t(2)), "grid"));
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
    EXPECT_TRUE(refused(with(good, "estimator", 0, 0.0f), "gamma"));
    EXPECT_TRUE(refused(with(good, "estimator", 4, -1.0f), "gamma"));
    EXPECT_TRUE(refused(with(good, "estimator", 16, nan), "finite"));
    EXPECT_TRUE(refused(with(good, "estimator", 24, int32_t(4)), "default nprobe"));
    EXPECT_TRUE(refused(with(good, "lists", 0, uint32_t(5)), "bytes of an id"));
    EXPECT_TRUE(refused(with(good, "lists", 0, uint32_t(8)), "\"ids\""));
    EXPECT_TRUE(refused(with(good, "lists", 4, ~uint32_t(0)), "list sizes"));
    // a direct map of the array kind needs ids below ntotal
    EXPECT_TRUE(refused(with(with(good, "index", 44, uint32_t(1)), "ids", 0, uint32_t(20)), "ids"));

    // code bytes and code size that agree, but not with d: nothing may be allocated by them
    const Bytes huge = with(good, "index", 40, uint32_t(0x7fffffff));
    EXPECT_TRUE(refused(with(huge, "layout", 0, uint32_t(0x7ffffffd)), "code bytes"));

    const SectionReader sections(Payload{{good.data(), good.size()}, "x.vlc", nullptr});
    for (const Section& gone : sections.sections()) {
        const Bytes less =
                forged(good, [&](const std::string& name, Bytes&) { return name != gone.name; });
        if (gone.required) {
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

TEST(Save, FileIsReplacedWhole) {
    const std::string path = testing::TempDir() + "vlc_save_" + std::to_string(getpid()) + ".vlc";
    const auto index = small_index();
    save_index(*index, path);
    const std::vector<float> x = clustered(60, 5, 3, 9);
    index->add(60, x.data());
    save_index(*index, path);
    EXPECT_EQ(load_index(load_file(path))->ntotal, 80);
    std::ifstream file(path, std::ios::binary);
    const std::vector<char> content{std::istreambuf_iterator<char>(file), {}};
    EXPECT_EQ(content.size(), index_sections(*index).total_size());
    unlink(path.c_str());
    EXPECT_THROW(save_index(*index, "/no/such/folder/x.vlc"), faiss::FaissException);
}

TEST(Save, FileHoldsLittleBesideTheCodes) {
    IndexVLC index(64, quick(16, 20));
    const std::vector<float> x = clustered(2000, 64, 16, 3);
    index.train(2000, x.data());
    index.add(2000, x.data());
    const size_t model = 64 * 64 * 2 + 16 * 64 + 64 * 8 + 64 * 16;
    EXPECT_LT(written(index).size(), 2000 * (20 + 4) + model + 2500);
}

TEST(Save, APlainReaderDecodesAlike) {
    // the reader in Python knows FORMAT.md only
    const std::string python = fs::exists("/usr/bin/python3") ? "/usr/bin/python3" : "python3";
    const fs::path script = fs::path(VLC_TEST_DATA).parent_path() / "format_reader_test.py";
    std::string folder = (fs::temp_directory_path() / "vlc-reader-XXXXXX").string();
    ASSERT_NE(mkdtemp(folder.data()), nullptr);
    std::string command = python + " '" + script.string() + "'";
    for (const AnchorGrid grid : {AnchorGrid::int8, AnchorGrid::float16}) {
        for (const int d : {1, 3, 17, 128}) {
            for (const int bytes : {3, 4, 6, 9, 40}) {
                VLCParameters params = quick(5, bytes);
                params.grid = grid;
                IndexVLC index(d, params);
                const std::vector<float> x = clustered(150, d, 4, 7 + d);
                index.train(150, x.data());
                std::vector<int64_t> ids(77);
                for (int i = 0; i < 77; i++) {
                    ids[i] = (bytes % 2 ? int64_t(1) << 33 : 0) + 3 * i;
                }
                index.add_with_ids(77, x.data(), ids.data());
                std::vector<float> decoded(77 * d);
                for (int i = 0; i < 77; i++) {
                    index.reconstruct(ids[i], &decoded[i * d]);
                }
                const std::string stem = folder + "/" + std::to_string(int(grid)) + "_" +
                                         std::to_string(d) + "_" + std::to_string(bytes);
                save_index(index, stem + ".vlc");
                auto writer = create_vectors(stem + "_decoded.npy", DType::f32, d, 77);
                writer->append(decoded.data(), 77);
                writer->close();
                command += " '" + stem + "'";
            }
        }
    }
    EXPECT_EQ(std::system(command.c_str()), 0);
    fs::remove_all(folder);
}
