// Writes the seed corpora: seeds <folder>. Small valid inputs of every kind.

#include <cstdio>
#include <filesystem>
#include <functional>
#include <memory>

#include <faiss/index_io.h>

#include <faiss_vlc/IndexVLC.h>
#include <faiss_vlc/factory.h>
#include <faiss_vlc/index_io.h>
#include <faiss_vlc/interop/tree.h>
#include <faiss_vlc/train/reference_engine.h>
#include <faiss_vlc/vectors/vector_file.h>

#include <hdf5.h>

#include <tests/fuzz/checkpoint_input.h>
#include <tests/fuzz/fuzz.h>

namespace fs = std::filesystem;

namespace {

fs::path folder;

void put(const std::string& target, const std::string& name, const void* data, size_t size) {
    fs::create_directories(folder / target);
    FILE* file = fopen((folder / target / name).c_str(), "wb");
    fwrite(data, 1, size, file);
    fclose(file);
}

Bytes file_bytes(const fs::path& path) {
    Bytes bytes(fs::file_size(path));
    FILE* file = fopen(path.c_str(), "rb");
    if (fread(bytes.data(), 1, bytes.size(), file) != bytes.size()) {
        bytes.clear();
    }
    fclose(file);
    return bytes;
}

constexpr int kDim = 8;

std::vector<float> vectors(int n, int d) {
    std::vector<float> x(size_t(n) * d);
    uint32_t state = 1;
    for (float& v : x) {
        state = state * 1664525 + 1013904223;
        v = float(int(state >> 20) % 41 - 20);
    }
    return x;
}

void indexes() {
    const std::vector<float> x = vectors(40, kDim);
    int number = 0;
    for (const char* description : {"VLC3x2",
                                    "VLC",
                                    "VLC2b5",
                                    "VLC2b3block",
                                    "VLC2b3+6",
                                    "IDMap,VLC2b2+7block",
                                    "VLC2b1",
                                    "IDMap,VLC3x2",
                                    "IDMap2,VLC3x2",
                                    "PCA4,VLC3x2",
                                    "VLC3x2,RFlat",
                                    "VLC3x2,Refine(SQ8)",
                                    "RR8,VLC3x4",
                                    "L2norm,VLC3x2",
                                    "PCAR4,VLC2b5,RFlat",
                                    "IDMap,PCA4,VLC2x1",
                                    "IVF3,Flat",
                                    "IVF3,SQ8",
                                    "IDMap,Flat",
                                    "Flat,RFlat",
                                    "SQ8"}) {
        for (const int state : {0, 1, 2, 3}) { // untrained, empty, filled, with wide ids or a map
            const std::unique_ptr<faiss::Index> index(faiss_vlc::index_factory(
                    kDim, description,
                    state == 1 ? faiss::METRIC_INNER_PRODUCT : faiss::METRIC_L2));
            auto find = [](auto&& self, faiss::Index& node) -> faiss_vlc::IndexVLC* {
                auto* found = dynamic_cast<faiss_vlc::IndexVLC*>(&node);
                faiss_vlc::each_child(node, [&](faiss::Index*& child, bool) {
                    found = found ? found : self(self, *child);
                });
                return found;
            };
            faiss_vlc::IndexVLC* vlc = find(find, *index);
            if (vlc) {
                vlc->parameters.device = "reference";
                vlc->parameters.iterations = 2;
                if (state == 2) {
                    vlc->parameters.grid = faiss_vlc::AnchorGrid::float16;
                }
            }
            if (state > 0) {
                index->train(40, x.data());
            }
            if (state > 1) {
                const bool ids = std::string(description).find("IDMap") != std::string::npos;
                std::vector<int64_t> labels(40);
                for (int i = 0; i < 40; i++) {
                    labels[i] = state == 3 ? int64_t(i) << 33 : i;
                }
                if (ids || (state == 3 && index.get() == vlc)) {
                    index->add_with_ids(40, x.data(), labels.data());
                } else {
                    index->add(40, x.data());
                    if (vlc && state == 3) {
                        vlc->make_direct_map(true);
                    }
                }
            }
            faiss::VectorIOWriter writer;
            faiss_vlc::write_index(index.get(), &writer);
            const bool own = faiss_vlc::has_magic(writer.data.data(), writer.data.size());
            put(own ? "own_format_fuzz" : "container_fuzz", std::to_string(number++),
                writer.data.data(), writer.data.size());
            if (own && state > 0) { // the same payload inside FAISS's fields
                faiss::VectorIOWriter stock;
                faiss::write_index(index.get(), &stock);
                put("container_fuzz", std::to_string(number++), stock.data.data(),
                    stock.data.size());
            }
        }
    }
}

void descriptions() {
    int number = 0;
    for (const char* text : {"VLC",
                             "VLC256",
                             "VLC256x4",
                             "VLC256x1.5",
                             "VLC256b32block",
                             "OPQ16_64,VLC256x4",
                             "PCA64,VLC",
                             "IDMap,VLC",
                             "VLC,RFlat",
                             "VLCx2",
                             "VLCb8",
                             "IDMap2,PCAR8,VLC16b6,Refine(SQ8)",
                             "IVF16,Flat",
                             "RR8,VLC8x8",
                             "L2norm,VLC8x2",
                             "HNSW8,Flat",
                             "VLC1048576x8",
                             "VLC99999999999x9.5",
                             "ITQ8,LSH",
                             "IMI2x4,PQ4",
                             "VLC8x2(x)",
                             "VLC8x2lattice,VLC",
                             "SQ8"}) {
        put("factory_fuzz", std::to_string(number++), text, std::strlen(text));
    }
}

void vector_files() {
    const std::vector<float> x = vectors(5, 3);
    const auto with_choice = [&](const std::string& name, uint8_t choice, const fs::path& path) {
        Bytes bytes = file_bytes(path);
        bytes.insert(bytes.begin(), choice);
        put("vector_files_fuzz", name, bytes.data(), bytes.size());
    };
    const fs::path scratch = folder / "scratch";
    fs::create_directories(scratch);
    {
        auto writer = faiss_vlc::create_vectors(scratch / "a.fvecs", faiss_vlc::DType::f32, 3, 5);
        writer->append(x.data(), 5);
        writer->close();
        with_choice("fvecs", 0, scratch / "a.fvecs");
    }
    {
        auto writer = faiss_vlc::create_vectors(scratch / "a.npy", faiss_vlc::DType::f32, 3, 5);
        writer->append(x.data(), 5);
        writer->close();
        with_choice("npy", 3, scratch / "a.npy");
    }
    const std::vector<int64_t> labels = {1, 2, 3, 4, 5, 6};
    for (const auto& [name, type, choice] : {std::tuple{"a.ivecs", faiss_vlc::DType::i32, 2},
                                             std::tuple{"l.npy", faiss_vlc::DType::i64, 5}}) {
        auto writer = faiss_vlc::create_vectors(scratch / name, type, 3, 2);
        writer->append(labels.data(), 2);
        writer->close();
        with_choice(name, uint8_t(choice), scratch / name);
    }
    const uint8_t bvecs[] = {1, 3, 0, 0, 0, 7, 8, 9, 3, 0, 0, 0, 1, 2, 3};
    put("vector_files_fuzz", "bvecs", bvecs, sizeof(bvecs));
    // raw: format 4, type in sixths, then d
    for (const int type : {1, 2, 3, 4}) {
        Bytes raw(25, 60);
        raw[0] = uint8_t(4 + 6 * (type + 6 * 2));
        put("vector_files_fuzz", "raw" + std::to_string(type), raw.data(), raw.size());
    }
    const fs::path h5 = scratch / "a.hdf5";
    const hid_t file = H5Fcreate(h5.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    const hsize_t size[2] = {5, 3};
    const hid_t space = H5Screate_simple(2, size, nullptr);
    for (const char* name : {"train", "test", "neighbors"}) {
        const bool integers = std::string(name) == "neighbors";
        const hid_t set = H5Dcreate2(file, name, integers ? H5T_STD_I32LE : H5T_IEEE_F32LE, space,
                                     H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        H5Dwrite(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, x.data());
        H5Dclose(set);
    }
    H5Sclose(space);
    H5Fclose(file);
    const Bytes bytes = file_bytes(h5);
    put("hdf5_fuzz", "layout", bytes.data(), bytes.size());
    fs::remove_all(scratch);
}

void checkpoints() {
    const CheckpointedRun run;
    const fs::path path = folder / "checkpoint";
    for (const int every : {1, 4, 5}) {
        faiss_vlc::VLCParameters params = run.params;
        params.checkpoint = path;
        params.checkpoint_every = every;
        faiss_vlc::ReferenceEngine engine;
        faiss_vlc::anneal(engine, run.sample, params, false);
        const Bytes bytes = file_bytes(path);
        put("checkpoint_fuzz", std::to_string(every), bytes.data(), bytes.size());
    }
    fs::remove(path);
}

void commands() {
    int number = 0;
    for (const char* text :
         {"index\n--emb\na.fvecs\n--m\n3\n--bits\n2\n--iterations\n2\n--out\nx.vlc",
          "index\n--emb\na.fvecs\n--m\n3\n--bytes\n6\n--metric\nip\n--seed\n5\n--robust\ntrim\n--"
          "work-group\n64\n"
          "--threads\n1\n--verbose\n--iterations\n2\n--out\nx.vlc",
          "index\n--emb\na.fvecs\n--train\na.fvecs\n--checkpoint\nc\n--every\n1\n--iterations\n2\n-"
          "-m\n2\n--out\nx.vlc",
          "info\n--idx\nx.vlc\n--json", "info\n--devices", "verify\n--idx\nx.vlc",
          "search\n--idx\nx.vlc\n--queries\na.fvecs\n--k\n3\n--nprobe\n2\n--out\nl.npy\n--"
          "distances\nd.npy",
          "eval\n--idx\nx.vlc\n--queries\na.fvecs\n--emb\na.fvecs\n--k\n3\n--nprobe\n1,2,3",
          "decode\n--idx\nx.vlc\n--out\nd.fvecs", "--help", "--version", "index\n--help",
          "index\n--emb\na.raw\n--d\n4\n--dtype\nfloat16\n--out\nx.vlc"}) {
        put("cli_fuzz", std::to_string(number++), text, std::strlen(text));
    }
}

} // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: seeds <folder>\n");
        return 2;
    }
    folder = argv[1];
    indexes();
    descriptions();
    vector_files();
    checkpoints();
    commands();
    return 0;
}
