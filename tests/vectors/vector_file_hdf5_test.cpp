#include <fstream>
#include <numeric>

#include <hdf5.h>

#include <faiss_vlc/vectors/vector_file.h>

#include <tests/vectors/vector_file_test.h>

namespace {

using namespace faiss_vlc;

class VectorFileHdf5Test : public FileTest {
protected:
    /// Values of `type` in dataset `name` of a file, which is made if need be. Chunks: rows and
    /// columns of a chunk, if there shall be any; `level` of deflate.
    template <class T>
    void add(const std::string& file, const char* name, hid_t type, std::vector<hsize_t> shape,
             const std::vector<T>& values, std::vector<hsize_t> chunk = {}, unsigned level = 0,
             bool write = true) {
        const hid_t id =
                std::filesystem::exists(path(file))
                        ? H5Fopen(path(file).c_str(), H5F_ACC_RDWR, H5P_DEFAULT)
                        : H5Fcreate(path(file).c_str(), H5F_ACC_EXCL, H5P_DEFAULT, H5P_DEFAULT);
        ASSERT_GE(id, 0);
        const hid_t space = H5Screate_simple(int(shape.size()), shape.data(), nullptr);
        const hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
        if (!chunk.empty()) {
            H5Pset_chunk(properties, int(chunk.size()), chunk.data());
        }
        if (level > 0) {
            H5Pset_deflate(properties, level);
        }
        const hid_t dataset =
                H5Dcreate2(id, name, type, space, H5P_DEFAULT, properties, H5P_DEFAULT);
        ASSERT_GE(dataset, 0);
        if (write) {
            ASSERT_GE(H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), 0);
        }
        H5Dclose(dataset);
        H5Pclose(properties);
        H5Sclose(space);
        H5Fclose(id);
    }

    static VectorFileOptions dataset(const std::string& name) {
        VectorFileOptions options;
        options.dataset = name;
        return options;
    }
};

TEST_F(VectorFileHdf5Test, ann_benchmarks_layout) {
    std::vector<float> train(37 * 5), test(3 * 5);
    std::iota(train.begin(), train.end(), -20.25f);
    std::iota(test.begin(), test.end(), 1000.5f);
    const std::vector<int32_t> neighbors = {4, 0, 36, 1, -1, 2};
    for (const char* file : {"a.hdf5", "a.h5", "a.HDF5"}) {
        add(file, "train", H5T_NATIVE_FLOAT, {37, 5}, train);
        add(file, "test", H5T_NATIVE_FLOAT, {3, 5}, test);
        add(file, "neighbors", H5T_NATIVE_INT32, {3, 2}, neighbors);
        auto reader = open_vectors(path(file));
        EXPECT_EQ(reader->n(), 37);
        EXPECT_EQ(reader->d(), 5);
        EXPECT_EQ(reader->dtype(), DType::f32);
        EXPECT_EQ(read_vectors(path(file)).data, train);
        EXPECT_EQ(read_vectors(path(file), {}, 2).data,
                  std::vector<float>(train.begin(), train.begin() + 10));
        EXPECT_EQ(read_vectors(path(file), dataset("test")).data, test);
        const Matrix<int64_t> labels = read_labels(path(file));
        EXPECT_EQ(labels.n, 3);
        EXPECT_EQ(labels.d, 2);
        EXPECT_EQ(labels.data, std::vector<int64_t>(neighbors.begin(), neighbors.end()));
    }
}

TEST_F(VectorFileHdf5Test, every_numeric_type) {
    const auto check = [&](const char* name, hid_t type, auto value, DType expected) {
        const std::vector<decltype(value)> values = {0, 1, 7, 100, value, 2};
        add("a.h5", name, type, {2, 3}, values);
        auto reader = open_vectors(path("a.h5"), dataset(name));
        EXPECT_EQ(reader->dtype(), expected) << name;
        std::vector<float> floats(6);
        EXPECT_EQ(reader->read(10, floats.data()), 2);
        EXPECT_EQ(floats, std::vector<float>(values.begin(), values.end())) << name;
        if (std::is_integral<decltype(value)>::value) {
            EXPECT_EQ(read_labels(path("a.h5"), name).data,
                      std::vector<int64_t>(values.begin(), values.end()))
                    << name;
        } else {
            EXPECT_FAULT(read_labels(path("a.h5"), name), name, "integers");
        }
    };
    check("u1", H5T_NATIVE_UINT8, uint8_t(255), DType::u8);
    check("i1", H5T_NATIVE_INT8, int8_t(-128), DType::i8);
    check("u2", H5T_NATIVE_UINT16, uint16_t(65535), DType::i64);
    check("i2", H5T_NATIVE_INT16, int16_t(-32768), DType::i32);
    check("i4", H5T_NATIVE_INT32, int32_t(-16777216), DType::i32);
    check("u4", H5T_NATIVE_UINT32, uint32_t(4294967040u), DType::i64);
    check("i8", H5T_NATIVE_INT64, int64_t(-(int64_t(1) << 40)), DType::i64);
    check("f4", H5T_NATIVE_FLOAT, -0.1f, DType::f32);
    check("f8", H5T_NATIVE_DOUBLE, 1.0 / 3, DType::f32);
}

TEST_F(VectorFileHdf5Test, big_endian_and_half_precision) {
    add<uint32_t>("a.h5", "be", H5T_IEEE_F32BE, {1, 2}, {0x0000803f, 0x000000c0});
    EXPECT_EQ(read_vectors(path("a.h5"), dataset("be")).data, (std::vector<float>{1, -2}));

    const hid_t half = H5Tcopy(H5T_IEEE_F32LE); // the type that h5py stores float16 as
    H5Tset_fields(half, 15, 10, 5, 0, 10);
    H5Tset_size(half, 2);
    H5Tset_ebias(half, 15);
    add<uint16_t>("a.h5", "half", half, {2, 2}, {0x3c00, 0xc000, 0x0001, 0x7bff});
    H5Tclose(half);
    EXPECT_EQ(open_vectors(path("a.h5"), dataset("half"))->dtype(), DType::f16);
    EXPECT_EQ(read_vectors(path("a.h5"), dataset("half")).data,
              (std::vector<float>{1, -2, 0x1p-24f, 65504}));
}

TEST_F(VectorFileHdf5Test, chunks_and_compression_stream_in_any_step) {
    std::vector<float> values(1003 * 7);
    for (size_t i = 0; i < values.size(); i++) {
        values[i] = float(i % 977) / 3;
    }
    add("a.h5", "plain", H5T_NATIVE_FLOAT, {1003, 7}, values);
    add("a.h5", "rows", H5T_NATIVE_FLOAT, {1003, 7}, values, {100, 7});
    add("a.h5", "tiles", H5T_NATIVE_FLOAT, {1003, 7}, values, {64, 3}, 6);
    add("a.h5", "one", H5T_NATIVE_FLOAT, {1003, 7}, values, {1003, 7}, 9);
    for (const char* name : {"plain", "rows", "tiles", "one"}) {
        auto reader = open_vectors(path("a.h5"), dataset(name));
        for (int64_t step : {1, 13, 100, 1002, 5000}) {
            reader->seek(0);
            std::vector<float> streamed, block(size_t(step) * 7);
            while (const int64_t got = reader->read(step, block.data())) {
                streamed.insert(streamed.end(), block.begin(), block.begin() + got * 7);
            }
            EXPECT_EQ(streamed, values) << name << " in steps of " << step;
        }
        reader->seek(1002);
        std::vector<float> last(7);
        EXPECT_EQ(reader->read(1, last.data()), 1);
        EXPECT_EQ(last, std::vector<float>(values.end() - 7, values.end())) << name;
    }
}

TEST_F(VectorFileHdf5Test, faults) {
    const std::vector<float> values(12, 1.5f);
    add("a.h5", "train", H5T_NATIVE_FLOAT, {4, 3}, values);
    add("a.h5", "flat", H5T_NATIVE_FLOAT, {12}, values);
    add("a.h5", "cube", H5T_NATIVE_FLOAT, {2, 2, 3}, values);
    add("a.h5", "none", H5T_NATIVE_FLOAT, {0, 3}, values);
    add("a.h5", "thin", H5T_NATIVE_FLOAT, {4, 0}, values);
    add("a.h5", "text", H5T_C_S1, {4, 3}, values); // one byte of text each
    const std::string a = path("a.h5");

    ::testing::internal::CaptureStderr();
    EXPECT_FAULT(open_vectors(path("missing.h5")), path("missing.h5"), "No such file");
    EXPECT_FAULT(open_vectors(make("empty.h5", "")), "empty");
    EXPECT_FAULT(open_vectors(make("text.h5", "these are not vectors")), "text.h5", "HDF5");
    EXPECT_FAULT(open_vectors(a, dataset("absent")), a, "'absent'", "train, test, neighbors");
    EXPECT_FAULT(read_labels(a), a, "'neighbors'");
    EXPECT_FAULT(open_vectors(a, dataset("flat")), a, "'flat'", "expected 2 dimensions", "got 1");
    EXPECT_FAULT(open_vectors(a, dataset("cube")), "got 3");
    EXPECT_FAULT(open_vectors(a, dataset("none")), "(0, 3)");
    EXPECT_FAULT(open_vectors(a, dataset("thin")), "(4, 0)");
    EXPECT_FAULT(open_vectors(a, dataset("text")), "expected numbers");
    VectorFileOptions other;
    other.d = 4;
    EXPECT_FAULT(open_vectors(a, other), a, "expected dimension 4", "has 3");
    std::filesystem::create_directory(path("folder.h5"));
    EXPECT_FAULT(open_vectors(path("folder.h5")), "folder");

    auto reader = open_vectors(a);
    EXPECT_FAULT(reader->seek(5), "between 0 and 4, got 5");
    std::vector<int64_t> integers(3);
    EXPECT_FAULT(reader->read(1, integers.data()), "expected integers");
    EXPECT_EQ(::testing::internal::GetCapturedStderr(), "") << "HDF5 must not print";
}

TEST_F(VectorFileHdf5Test, damaged_and_truncated_files_are_errors) {
    std::vector<float> values(3000);
    std::iota(values.begin(), values.end(), 0.f);
    add("whole.h5", "train", H5T_NATIVE_FLOAT, {1000, 3}, values, {100, 3}, 1);
    const std::string whole = bytes_of("whole.h5");
    for (size_t size : {size_t(1), size_t(8), whole.size() / 2, whole.size() - 1}) {
        EXPECT_FAULT(read_vectors(make("cut.h5", whole.substr(0, size))), "cut.h5");
    }
    // Compressed data that does not uncompress: found when reading.
    std::string damaged = whole;
    const size_t zlib = whole.find("\x78\x01");
    ASSERT_NE(zlib, std::string::npos);
    damaged.replace(zlib, 40, 40, '\xff');
    EXPECT_FAULT(read_vectors(make("damaged.h5", damaged)), "damaged.h5", "cannot read");
}

TEST_F(VectorFileHdf5Test, shapes_without_data_are_not_believed) {
    const hsize_t huge = hsize_t(1) << 50;
    add<float>("a.h5", "train", H5T_NATIVE_FLOAT, {huge, 100}, {}, {1, 100}, 0, false);
    add<float>("a.h5", "packed", H5T_NATIVE_FLOAT, {huge, 100}, {}, {1, 100}, 1, false);
    add<float>("a.h5", "wide", H5T_NATIVE_FLOAT, {1, hsize_t(1) << 40}, {}, {1, 100}, 0, false);
    add<float>("a.h5", "small", H5T_NATIVE_FLOAT, {2, 2}, {}, {1, 2}, 1, false);
    EXPECT_FAULT(read_vectors(path("a.h5")), "a.h5", "'train'", "stores 0");
    EXPECT_FAULT(read_vectors(path("a.h5"), dataset("packed")), "stores 0");
    EXPECT_FAULT(read_vectors(path("a.h5"), dataset("wide")), "that fits memory");
    EXPECT_FAULT(read_vectors(path("a.h5"), dataset("small")), "stores 0");
}

// Reading values of no bytes, H5Dread would never come back.
TEST_F(VectorFileHdf5Test, sizes_of_values_are_not_believed) {
    add<float>("a.hdf5", "train", H5T_IEEE_F32LE, {3, 2}, {1, 2, 3, 4, 5, 6});
    const char message[] = {0x11, 0x20, 0x1f, 0x00, 4, 0, 0, 0}; // a float32, size last
    std::fstream file(path("a.hdf5"), std::ios::in | std::ios::out | std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(file), {}};
    const size_t at = bytes.find(std::string(message, sizeof message));
    ASSERT_NE(at, std::string::npos);
    for (const int size : {0, 255}) {
        file.seekp(std::streamoff(at + 4));
        file.put(char(size));
        file.flush();
        EXPECT_THROW(read_vectors(path("a.hdf5")), faiss::FaissException) << size;
    }
}

TEST_F(VectorFileHdf5Test, values_in_another_file_are_refused) {
    make("values", std::string(48, 'x'));
    const hid_t id = H5Fcreate(path("a.h5").c_str(), H5F_ACC_EXCL, H5P_DEFAULT, H5P_DEFAULT);
    const hsize_t shape[2] = {4, 3};
    const hid_t space = H5Screate_simple(2, shape, nullptr);
    const hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_external(properties, path("values").c_str(), 0, 48);
    H5Dclose(
            H5Dcreate2(id, "train", H5T_NATIVE_FLOAT, space, H5P_DEFAULT, properties, H5P_DEFAULT));
    H5Pclose(properties);
    H5Sclose(space);
    H5Fclose(id);
    EXPECT_FAULT(open_vectors(path("a.h5")), "expected the values in this file");
}

} // namespace
