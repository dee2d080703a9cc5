// An index to its sections and back.

#include <tests/storage/save_test.h>

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <faiss_vlc/model/model.h>
#include <faiss_vlc/search/lists.h>

#include <tests/support/region_index.h>
#include <tests/support/word_index.h>

using namespace faiss_vlc;
namespace fs = std::filesystem;

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
                    EXPECT_EQ(loaded->model->rank_bias, index.model->rank_bias);
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

TEST(Save, RegionsRoundTrip) {
    for (const faiss::MetricType metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
        for (const int d : {1, 3, 17}) {
            IndexVLC plain(d, quick(9, 5), metric);
            const std::vector<float> x = clustered(150, d, 4, 7 + d);
            plain.train(150, x.data());
            EXPECT_EQ(written(plain).size(), written(*index_of(written(plain))).size());
            IndexVLC index =
                    with_regions(plain, ragged_regions(*plain.model, 4, {1, 2, 3}, uint64_t(d)), x);
            index.nprobe = 2;
            const Bytes saved = written(index);
            const auto loaded = index_of(saved);
            EXPECT_EQ(written(*loaded), saved);
            const Regions &met = loaded->model->regions, &wanted = index.model->regions;
            EXPECT_EQ(met.centres, wanted.centres);
            EXPECT_EQ(met.of, wanted.of);
            EXPECT_EQ(met.visits, wanted.visits);
            EXPECT_EQ(met.count(), 4);
            EXPECT_EQ(search(*loaded, x, 6), search(index, x, 6));
            EXPECT_TRUE(loaded->model->same_as(*plain.model));
            EXPECT_GT(index.model->memory(), plain.model->memory());
            // a reader that knows none, or a file without them, ranks all
            const auto without = index_of(forged(
                    saved, [](const std::string& name, Bytes&) { return name != "regions"; }));
            EXPECT_FALSE(without->model->regions.used());
            plain.add(150, x.data());
            plain.nprobe = 2;
            EXPECT_EQ(search(*without, x, 6), search(plain, x, 6));
            loaded->exact_ranking = true;
            EXPECT_EQ(search(*loaded, x, 6), search(plain, x, 6));
        }
    }
}

TEST(Save, WordsRoundTripKeepsResultsAndBytes) {
    for (const faiss::MetricType metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
        for (const int d : {1, 3, 17, 40}) {
            for (const Words& words : kWordKinds) {
                if (words.code_bytes > d + kFactorBytes) {
                    continue;
                }
                SCOPED_TRACE(testing::Message() << "d " << d << ", " << words.code_bytes << " and "
                                                << words.factor_bytes << " bytes");
                const std::vector<float> x = clustered(150, d, 4, 7 + d);
                const auto grid = d % 4 == 1 ? AnchorGrid::float16 : AnchorGrid::int8;
                const auto index = word_index(words, d, 5, x, metric, grid);
                index->add(77, x.data());
                const Bytes saved = written(*index);
                const auto loaded = index_of(saved);
                EXPECT_EQ(written(*loaded), saved);
                EXPECT_EQ(search(*loaded, x, 6), search(*index, x, 6));
                EXPECT_EQ(loaded->code_size - loaded->second_code_size(),
                          size_t(words.code_bytes + words.factor_bytes));
                EXPECT_EQ(loaded->code_size, index->code_size);
                EXPECT_EQ(loaded->parameters.codec, Codec::block);
                EXPECT_TRUE(loaded->model->same_as(*index->model));
                const bool whole = words.axes == WordAxes::whole;
                EXPECT_EQ(loaded->model->whole_words, whole);
                EXPECT_EQ(loaded->model->frames[0].own, words.axes == WordAxes::own || whole);
                EXPECT_EQ(loaded->model->codebook.words, index->model->codebook.words);
                EXPECT_EQ(loaded->model->codebook.norms, index->model->codebook.norms);
                std::vector<float> a(d), b(d);
                for (int i = 0; i < 77; i++) {
                    index->reconstruct(i, a.data());
                    loaded->reconstruct(i, b.data());
                    EXPECT_EQ(a, b);
                }
                // and goes on working
                loaded->add(3, x.data());
                index->add(3, x.data());
                EXPECT_EQ(written(*loaded), written(*index));
            }
        }
    }
}

// Words of the same shape are not the same words.
TEST(Save, OtherWordsAreAnotherModel) {
    const std::vector<float> x = clustered(150, 8, 4, 7);
    const auto index = word_index(kWordKinds[1], 8, 5, x);
    for (const size_t at : {size_t(12), size_t(16)}) { // unit, the first word
        const auto other = index_of(with(written(*index), "words", at, uint8_t(0x21)));
        EXPECT_FALSE(other->model->same_as(*index->model)) << at;
    }
    const auto bytes = word_index({4, 0, WordAxes::principal}, 8, 5, x);
    EXPECT_FALSE(bytes->model->same_as(*index->model));
    EXPECT_THROW(bytes->merge_from(*index, 0), faiss::FaissException);
}

TEST(Save, EveryParameterComesBack) {
    VLCParameters params;
    params.m = 7;
    params.bits_per_dim = 1.5f;
    params.bytes = 9;
    params.codec = Codec::block;
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
    params.candidates = 64;
    params.first_share = 0.5f;
    params.step = 1.25f;
    params.rank_bias = 0.125f;
    params.regions = 12;
    IndexVLC index(20, params);
    index.nprobe = 3;
    index.max_codes = 1000;
    const auto loaded = index_of(written(index));
    const VLCParameters& p = loaded->parameters;
    EXPECT_EQ(written(*loaded), written(index));
    EXPECT_EQ(p.m, 7);
    EXPECT_EQ(p.bits_per_dim, 1.5f);
    EXPECT_EQ(p.bytes, 9);
    EXPECT_EQ(p.codec, Codec::block);
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
    EXPECT_EQ(p.candidates, 64);
    EXPECT_EQ(p.first_share, 0.5f);
    EXPECT_EQ(p.step, 1.25f);
    EXPECT_EQ(p.rank_bias, 0.125f);
    EXPECT_EQ(p.regions, 12);
    EXPECT_EQ(loaded->nprobe, 3u);
    EXPECT_EQ(loaded->max_codes, 1000u);
}

// Trained or not, and wherever it is in a tree.
TEST(Save, FilesKeepHowManyAreRefined) {
    const std::vector<float> x = clustered(200, 16, 4, 3);
    for (const char* key : {"VLC4b3+8", "PCA8,VLC4b3+8", "IDMap,VLC4b3+8"}) {
        const IndexPtr untrained = tree_of(16, key), index = filled_tree(16, key, x);
        for (faiss::Index* one : {untrained.get(), index.get()}) {
            const Bytes plain = written(*one);
            EXPECT_EQ(vlc_of(*read(plain))->refine_k, 0u) << key;
            vlc_of(*one)->refine_k = 77;
            EXPECT_EQ(vlc_of(*read(written(*one)))->refine_k, 77u) << key;
            vlc_of(*one)->refine_k = 0;
            EXPECT_EQ(written(*one), plain) << key; // not a byte more
        }
    }
    IndexVLC index(16, quick(4, 6));
    index.refine_k = 5;
    for (const size_t size : {0, 7, 9}) {
        const auto resized = [&](const std::string& name, Bytes& section) {
            section.resize(name == "refine" ? size : section.size());
            return true;
        };
        EXPECT_TRUE(throws([&] { index_of(forged(written(index), resized)); }, "refine")) << size;
    }
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
    EXPECT_EQ(search(*again, x).label[0], -1);
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
    for (const Codec codec : {Codec::lattice, Codec::block}) {
        VLCParameters params = quick(16, 20);
        params.codec = codec;
        IndexVLC index(64, params);
        const std::vector<float> x = clustered(2000, 64, 16, 3);
        index.train(2000, x.data());
        index.add(2000, x.data());
        EXPECT_EQ(index.code_size, size_t(20 + test_second_bytes()));
        const size_t words = codec == Codec::block ? 64 * 256 * 2 : 0;
        const size_t second = index.model->second ? 64 * 64 + 64 * 5 : 0;
        const size_t model = 64 * 64 * 2 + 16 * 64 + 64 * 8 + 64 * 16 + words + second;
        EXPECT_LT(written(index).size(), 2000 * (index.code_size + 4) + model + 2500);
    }
}

TEST(Save, APlainReaderDecodesAlike) {
    // the reader in Python knows FORMAT.md only
    const std::string python = fs::exists("/usr/bin/python3") ? "/usr/bin/python3" : "python3";
    const fs::path script = fs::path(VLC_TEST_DATA).parent_path() / "storage/format_reader_test.py";
    std::string folder = (fs::temp_directory_path() / "vlc-reader-XXXXXX").string();
    ASSERT_NE(mkdtemp(folder.data()), nullptr);
    std::string command = python + " '" + script.string() + "'";
    const auto give = [&](IndexVLC& index, const std::vector<float>& x, const std::string& name) {
        const int d = index.d;
        std::vector<int64_t> ids(77);
        for (int i = 0; i < 77; i++) {
            ids[i] = (index.code_size % 2 ? int64_t(1) << 33 : 0) + 3 * i;
        }
        index.add_with_ids(77, x.data(), ids.data());
        std::vector<float> decoded(77 * d);
        for (int i = 0; i < 77; i++) {
            index.reconstruct(ids[i], &decoded[i * d]);
        }
        const std::string stem = folder + "/" + name;
        save_index(index, stem + ".vlc");
        auto writer = create_vectors(stem + "_decoded.npy", DType::f32, d, 77);
        writer->append(decoded.data(), 77);
        writer->close();
        command += " '" + stem + "'";
    };
    const auto give_search = [&](IndexVLC& index, const std::vector<float>& x,
                                 const std::string& name) {
        constexpr int kQueries = 6, kBest = 5;
        index.nprobe = 3;
        save_index(index, folder + "/" + name + ".vlc");
        const float* queries = &x[100 * index.d];
        std::vector<float> distances(kQueries * kBest);
        std::vector<int64_t> labels(kQueries * kBest);
        index.search(kQueries, queries, kBest, distances.data(), labels.data());
        const auto write = [&](const char* end, DType type, int width, const auto* data) {
            auto writer = create_vectors(folder + "/" + name + end, type, width, kQueries);
            writer->append(data, kQueries);
            writer->close();
        };
        write("_queries.npy", DType::f32, index.d, queries);
        write("_distances.npy", DType::f32, kBest, distances.data());
        write("_labels.npy", DType::i64, kBest, labels.data());
    };
    for (const AnchorGrid grid : {AnchorGrid::int8, AnchorGrid::float16}) {
        for (const int d : {1, 3, 17, 128}) {
            const std::vector<float> x = clustered(150, d, 4, 7 + d);
            const std::string start = std::to_string(int(grid)) + "_" + std::to_string(d) + "_";
            for (const int bytes : {3, 4, 6, 9, 40}) {
                VLCParameters params = quick(5, bytes);
                params.grid = grid;
                IndexVLC index(d, params);
                index.train(150, x.data());
                give(index, x, start + std::to_string(bytes));
            }
            for (const Words& words : kWordKinds) {
                if (words.code_bytes <= d + kFactorBytes) {
                    for (const auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
                        const auto index = word_index(words, d, 5, x, metric, grid);
                        const std::string name =
                                start + "words" + std::to_string(words.code_bytes) + "_" +
                                std::to_string(words.factor_bytes) + "_" + std::to_string(metric);
                        give(*index, x, name);
                        give_search(*index, x, name);
                    }
                }
            }
            for (const auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
                for (const int bytes : {1, 4}) {
                    for (const int second : {4, 9, 40}) { // 40: up to 8 bits a dimension
                        VLCParameters params = quick(5, bytes);
                        params.codec = bytes > kFactorBytes ? Codec::lattice : Codec::block;
                        params.grid = grid;
                        params.second_bytes = second;
                        IndexVLC index(d, params, metric);
                        index.train(150, x.data());
                        const std::string name = start + std::to_string(bytes) + "+" +
                                                 std::to_string(second) + "_" +
                                                 std::to_string(metric);
                        give(index, x, name);
                        give_search(index, x, name);
                    }
                }
            }
        }
    }
    EXPECT_EQ(std::system(command.c_str()), 0);
    fs::remove_all(folder);
}

TEST(Save, FilesKeepWhatTrainingAndAddingCounted) {
    for (const auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
        VLCParameters params = quick(5, 4);
        params.codec = Codec::lattice; // files of before had no other
        IndexVLC index(6, params, metric);
        std::vector<float> x = clustered(400, 6, 5, 3);
        index.train(400, x.data());
        x[0] += 50;
        index.add(100, x.data());
        const HeldOutRecall recall = index.held_out_recall();
        ASSERT_GT(recall.sought, 0);
        ASSERT_GE(index.added_rows().outside, 1);
        const Bytes good = written(index);
        for (const auto& loaded : {index_of(good), index_of(written(*index_of(good)))}) {
            for (const auto member :
                 {&HeldOutRecall::queries, &HeldOutRecall::base, &HeldOutRecall::sought,
                  &HeldOutRecall::nprobe, &HeldOutRecall::in_lists, &HeldOutRecall::decoded,
                  &HeldOutRecall::estimated, &HeldOutRecall::probed, &HeldOutRecall::product,
                  &HeldOutRecall::on_lattice}) {
                EXPECT_EQ(loaded->held_out_recall().*member, recall.*member);
            }
            EXPECT_EQ(loaded->model->usual_length, index.model->usual_length);
            EXPECT_EQ(loaded->added_rows().rows, 100);
            EXPECT_EQ(loaded->added_rows().outside, index.added_rows().outside);
            EXPECT_EQ(loaded->added_rows().twice, index.added_rows().twice);
            EXPECT_EQ(loaded->added_rows().farthest, index.added_rows().farthest);
        }
        // files of before have neither
        const Bytes old = forged(good, [](const std::string& name, Bytes&) {
            return name != "recall" && name != "added";
        });
        const auto loaded = index_of(old);
        EXPECT_EQ(loaded->held_out_recall().sought, 0);
        EXPECT_EQ(loaded->added_rows().rows, 0);
        EXPECT_EQ(written(*loaded), old);
        loaded->add(1, x.data());
        EXPECT_EQ(loaded->added_rows().outside, metric == faiss::METRIC_L2 ? 1 : 0);
        // more found than there was to find, more outside than there are
        EXPECT_THROW(index_of(with(good, "recall", 24, uint32_t(recall.sought + 1))),
                     faiss::FaissException);
        EXPECT_THROW(index_of(with(good, "added", 8, int64_t(101))), faiss::FaissException);
        EXPECT_THROW(index_of(with(good, "added", 16, int64_t(-1))), faiss::FaissException);
    }
}

TEST(Save, FilesKeepTheEnergyOfEachIteration) {
    const auto index = small_index();
    const std::vector<float> energies = index->model->record.energies;
    ASSERT_EQ(int(energies.size()), index->model->record.iterations);
    const Bytes good = written(*index);
    for (const auto& loaded : {index_of(good), index_of(written(*index_of(good)))}) {
        EXPECT_EQ(loaded->model->record.energies, energies);
    }
    // files of before have none, nor have those whose anchors were given
    const Bytes old =
            forged(good, [](const std::string& name, Bytes&) { return name != "energy"; });
    EXPECT_TRUE(index_of(old)->model->record.energies.empty());
    EXPECT_EQ(written(*index_of(old)), old);
    EXPECT_THROW(index_of(with(good, "energy", 4, -1.0f)), faiss::FaissException);
    EXPECT_THROW(index_of(with(good, "energy", 0, INFINITY)), faiss::FaissException);
    for (const int32_t iterations : {-1, 0, int(energies.size()) + 1, INT32_MAX}) {
        EXPECT_THROW(index_of(with(good, "training", 8, iterations)), faiss::FaissException);
    }
    const Bytes without =
            forged(good, [](const std::string& name, Bytes&) { return name != "training"; });
    EXPECT_TRUE(index_of(without)->model->record.energies.empty());
}
