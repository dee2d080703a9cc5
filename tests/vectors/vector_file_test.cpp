#include <cmath>
#include <limits>

#include <sys/stat.h>

#include <faiss_vlc/lib/finite.h>
#include <faiss_vlc/vectors/vector_file.h>

#include <tests/vectors/vector_file_test.h>

namespace {

using namespace faiss_vlc;

/// IEEE 754 by its definition.
double value_of_half(uint16_t half) {
    const int exponent = half >> 10 & 31;
    const int mantissa = half & 1023;
    const double sign = half >> 15 ? -1 : 1;
    if (exponent == 31) {
        return sign * (mantissa ? std::numeric_limits<double>::quiet_NaN() : HUGE_VAL);
    }
    return sign *
           (exponent ? std::ldexp(1024 + mantissa, exponent - 25) : std::ldexp(mantissa, -24));
}

template <class T>
std::vector<float> floats_of(const std::vector<T>& values, DType dtype) {
    std::vector<float> floats;
    floats.reserve(values.size());
    for (T value : values) {
        floats.push_back(dtype == DType::f16 ? float(value_of_half(uint16_t(value)))
                                             : float(value));
    }
    return floats;
}

/// Rows that each start with their dimension.
template <class T>
std::string xvecs_bytes(const std::vector<T>& values, int d) {
    std::string bytes;
    for (size_t i = 0; i < values.size(); i += size_t(d)) {
        bytes += raw_bytes<int32_t>({d});
        bytes += raw_bytes(std::vector<T>(values.begin() + long(i), values.begin() + long(i) + d));
    }
    return bytes;
}

std::string dictionary_of(const std::string& descr, const std::string& shape,
                          const std::string& fortran = "False") {
    return "{'descr': " + descr + ", 'fortran_order': " + fortran + ", 'shape': " + shape + ", }";
}

/// A .npy file with this dictionary, as NumPy lays it out.
std::string npy_bytes(std::string dictionary, const std::string& data, int version = 1) {
    const size_t fixed = version == 1 ? 10 : 12;
    dictionary.append(63 - (fixed + dictionary.size()) % 64, ' ');
    dictionary += '\n';
    std::string length = raw_bytes<uint32_t>({uint32_t(dictionary.size())});
    length.resize(fixed - 8);
    return std::string("\x93NUMPY") + char(version) + '\0' + length + dictionary + data;
}

VectorFileOptions raw(int d, const std::string& dtype) {
    VectorFileOptions options;
    options.d = d;
    options.dtype = dtype;
    return options;
}

class VectorFileTest : public FileTest {
protected:
    struct Case {
        std::string path;
        VectorFileOptions options;
        DType dtype;
        std::vector<float> values;
    };

    /// A file of every format and dtype, n x d.
    std::vector<Case> every_format(int64_t n, int d) const {
        std::vector<Case> cases;
        add_cases<float>(cases, n, d, DType::f32, "'<f4'", ".fvecs");
        add_cases<uint16_t>(cases, n, d, DType::f16, "'<f2'", "");
        add_cases<uint8_t>(cases, n, d, DType::u8, "'|u1'", ".bvecs");
        add_cases<int8_t>(cases, n, d, DType::i8, "'|i1'", "");
        add_cases<int32_t>(cases, n, d, DType::i32, "", ".ivecs");
        add_cases<double>(cases, n, d, DType::f64, "'<f8'", "");
        add_cases<int16_t>(cases, n, d, DType::i16, "'<i2'", "");
        add_cases<uint16_t>(cases, n, d, DType::u16, "'<u2'", "");
        return cases;
    }

private:
    template <class T>
    void add_cases(std::vector<Case>& cases, int64_t n, int d, DType dtype,
                   const std::string& descr, const std::string& extension) const {
        std::vector<T> values(size_t(n) * size_t(d));
        for (size_t i = 0; i < values.size(); i++) {
            const int64_t value = int64_t(i) * 7919 % 30000; // as float16 bits: finite
            values[i] = T(std::is_signed<T>::value ? value - 15000 : value);
            if (std::is_floating_point<T>::value) {
                values[i] /= 7;
            }
        }
        const std::string name = dtype_name(dtype);
        const std::vector<float> floats = floats_of(values, dtype);
        const std::string shape = "(" + std::to_string(n) + ", " + std::to_string(d) + ")";
        if (!extension.empty()) {
            cases.push_back({make(name + extension, xvecs_bytes(values, d)), {}, dtype, floats});
        }
        if (!descr.empty()) {
            const std::string bytes = raw_bytes(values);
            for (int version : {1, 2, 3}) {
                const std::string file = name + std::to_string(version) + ".npy";
                cases.push_back({make(file, npy_bytes(dictionary_of(descr, shape), bytes, version)),
                                 {},
                                 dtype,
                                 floats});
            }
            cases.push_back({make(name + ".raw", bytes), raw(d, name), dtype, floats});
            cases.push_back({make(name, bytes), raw(d, name), dtype, floats});
        }
    }
};

TEST_F(VectorFileTest, every_format_and_dtype) {
    for (int64_t n : {1, 2, 63}) {
        for (int d : {1, 3, 17, 128}) {
            const std::vector<Case> cases = every_format(n, d);
            EXPECT_EQ(cases.size(), 38u);
            for (const Case& c : cases) {
                SCOPED_TRACE(c.path);
                auto reader = open_vectors(c.path, c.options);
                EXPECT_EQ(reader->n(), n);
                EXPECT_EQ(reader->d(), d);
                EXPECT_EQ(reader->dtype(), c.dtype);
                const Matrix<float> all = read_vectors(c.path, c.options);
                EXPECT_EQ(all.n, n);
                EXPECT_EQ(all.d, d);
                EXPECT_EQ(all.data, c.values);
                const Matrix<float> head = read_vectors(c.path, c.options, 2);
                EXPECT_EQ(head.n, std::min<int64_t>(n, 2));
                EXPECT_EQ(head.data,
                          std::vector<float>(c.values.begin(), c.values.begin() + head.n * d));
                EXPECT_EQ(read_vectors(c.path, c.options, 0).data.size(), 0u);
            }
        }
    }
}

TEST_F(VectorFileTest, streaming_in_odd_steps_equals_reading_at_once) {
    const int64_t n = 4099;
    const int d = 131; // several internal blocks of about 1 MB, none of them of whole steps
    for (const Case& c : every_format(n, d)) {
        SCOPED_TRACE(c.path);
        auto reader = open_vectors(c.path, c.options);
        for (int64_t step : {7, 1000, 4098, 4099, 1 << 20}) {
            reader->seek(0);
            std::vector<float> streamed, block(size_t(std::min(step, n)) * size_t(d));
            while (const int64_t got = reader->read(step, block.data())) {
                streamed.insert(streamed.end(), block.begin(), block.begin() + got * d);
            }
            EXPECT_TRUE(streamed == c.values) << "in steps of " << step;
            EXPECT_EQ(reader->read(1, block.data()), 0);
            EXPECT_EQ(reader->read(0, block.data()), 0);
        }
        std::vector<float> row(static_cast<size_t>(d));
        for (int64_t start : {4098, 0, 2001}) {
            reader->seek(start);
            EXPECT_EQ(reader->read(1, row.data()), 1);
            EXPECT_TRUE(std::equal(row.begin(), row.end(), c.values.begin() + start * d));
        }
        reader->seek(n);
        EXPECT_EQ(reader->read(1, row.data()), 0);
        EXPECT_FAULT(reader->seek(n + 1), c.path, "between 0 and 4099, got 4100");
        EXPECT_FAULT(reader->seek(-1), c.path, "got -1");
        EXPECT_FAULT(reader->read(-1, row.data()), c.path, "at least 0, got -1");
    }
}

TEST_F(VectorFileTest, labels) {
    const std::vector<int64_t> expected = {5, 0, -1, 7, 2147483647, -2147483648};
    const std::vector<int32_t> narrow(expected.begin(), expected.end());
    const std::vector<std::string> paths = {
            make("a.npy", npy_bytes(dictionary_of("'<i4'", "(2, 3)"), raw_bytes(narrow))),
            make("b.npy", npy_bytes(dictionary_of("'<i8'", "(2, 3)"), raw_bytes(expected), 2)),
            make("c.ivecs", xvecs_bytes(narrow, 3))};
    for (const std::string& path : paths) {
        const Matrix<int64_t> labels = read_labels(path);
        EXPECT_EQ(labels.n, 2) << path;
        EXPECT_EQ(labels.d, 3) << path;
        EXPECT_EQ(labels.data, expected) << path;
    }
    const std::vector<uint32_t> words = {5, 4294967295u};
    make("u4.npy", npy_bytes(dictionary_of("'<u4'", "(1, 2)"), raw_bytes(words)));
    EXPECT_EQ(read_labels(path("u4.npy")).data, (std::vector<int64_t>{5, 4294967295}));
    EXPECT_FAULT(open_vectors(path("u4.npy")), "uint32", "labels", "astype('float32')");
    const std::vector<int16_t> shorts = {5, -1};
    make("i2.npy", npy_bytes(dictionary_of("'<i2'", "(1, 2)"), raw_bytes(shorts)));
    EXPECT_EQ(read_labels(path("i2.npy")).data, (std::vector<int64_t>{5, -1}));
    std::vector<uint64_t> ids(20000, 7);
    ids.back() = uint64_t(1) << 63;
    make("u8.npy", npy_bytes(dictionary_of("'<u8'", "(10000, 2)"), raw_bytes(ids)));
    EXPECT_FAULT(read_labels(path("u8.npy")), "u8.npy", "row 9999, column 1", "fits int64",
                 "9223372036854775808");
    ids.back()--;
    make("u8.npy", npy_bytes(dictionary_of("'<u8'", "(10000, 2)"), raw_bytes(ids)));
    EXPECT_EQ(read_labels(path("u8.npy")).data.back(), INT64_MAX);
    const std::vector<int64_t> large = {int64_t(1) << 40, -(int64_t(1) << 62) - 1};
    make("d.npy", npy_bytes(dictionary_of("'<i8'", "(1, 2)"), raw_bytes(large)));
    EXPECT_EQ(read_labels(path("d.npy")).data, large);

    EXPECT_FAULT(open_vectors(path("a.npy")), "a.npy", "int32", "labels");
    EXPECT_FAULT(open_vectors(path("b.npy")), "b.npy", "int64", "labels");
    make("e.npy", npy_bytes(dictionary_of("'<f4'", "(1, 1)"), "1234"));
    EXPECT_FAULT(read_labels(path("e.npy")), "e.npy", "int32 or int64", "float32");
    EXPECT_FAULT(read_labels(make("f.fvecs", "")), "f.fvecs", ".npy, .ivecs or .hdf5");
    EXPECT_FAULT(read_labels(make("g", "")), ".npy, .ivecs or .hdf5");
    std::vector<int64_t> integers(1);
    make("h.fvecs", xvecs_bytes<float>({1.f}, 1));
    EXPECT_FAULT(open_vectors(path("h.fvecs"))->read(1, integers.data()), "expected integers");
    make("i.bvecs", xvecs_bytes<uint8_t>({200}, 1));
    EXPECT_EQ(open_vectors(path("i.bvecs"))->read(1, integers.data()), 1);
    EXPECT_EQ(integers[0], 200);
}

TEST_F(VectorFileTest, files_that_are_none) {
    const auto open = [&](const std::string& file) { open_vectors(file, raw(4, "float32")); };
    for (const char* extension : {".npy", ".fvecs", ".bvecs", ".ivecs", ".hdf5", ".raw"}) {
        const std::string missing = path(std::string("missing") + extension);
        EXPECT_FAULT(open(missing), missing, "No such file");
        const std::string empty = make(std::string("empty") + extension, "");
        EXPECT_FAULT(open(empty), empty, "empty");
        const std::string folder = path(std::string("folder") + extension);
        std::filesystem::create_directory(folder);
        EXPECT_FAULT(open(folder), folder, "folder");
        const std::string pipe = path(std::string("pipe") + extension);
        ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
        EXPECT_FAULT(open(pipe), pipe, "pipe or a device"); // and does not wait for a writer
    }
    EXPECT_FAULT(open(path("empty.npy/x.npy")), "Not a directory");
    EXPECT_FAULT(open(""), "No such file");
}

TEST_F(VectorFileTest, xvecs_faults) {
    const std::string good = xvecs_bytes<float>({1, 2, 3, 4, 5, 6}, 3);
    EXPECT_FAULT(open_vectors(make("a.fvecs", "123")), "a.fvecs", "truncated", "3 bytes");
    EXPECT_FAULT(open_vectors(make("a.fvecs", good.substr(0, 15))), "truncated", "16 bytes",
                 "dimension 3", "15 bytes");
    EXPECT_FAULT(open_vectors(make("a.fvecs", good.substr(0, 31))), "a.fvecs", "multiple",
                 "16 bytes", "31 bytes");
    EXPECT_FAULT(open_vectors(make("a.fvecs", good + "x")), "multiple");
    EXPECT_FAULT(open_vectors(make("a.fvecs", raw_bytes<int32_t>({0, 0}))), "at least 1, got 0");
    EXPECT_FAULT(open_vectors(make("a.bvecs", raw_bytes<int32_t>({-5, 0}))), "got -5");
    EXPECT_FAULT(open_vectors(make("a.ivecs", raw_bytes<int32_t>({INT32_MAX, 0}))), "truncated",
                 "8589934592 bytes", "8 bytes");
    EXPECT_FAULT(open_vectors(make("a.fvecs", good), raw(4, "")), "expected dimension 4", "has 3");
    EXPECT_FAULT(open_vectors(make("a.fvecs", good), raw(0, "uint8")), "expected uint8",
                 "has float32");
    EXPECT_EQ(open_vectors(make("a.fvecs", good), raw(3, "f32"))->n(), 2);
}

TEST_F(VectorFileTest, every_row_of_xvecs_must_have_the_same_dimension) {
    const int64_t n = 50000; // several internal blocks
    std::string bytes = xvecs_bytes(std::vector<float>(size_t(n) * 10, 1.f), 10);
    const int64_t bad = n - 3;
    bytes.replace(size_t(bad) * 44, 4, raw_bytes<int32_t>({9}));
    auto reader = open_vectors(make("a.fvecs", bytes));
    std::vector<float> rows(size_t(n) * 10);
    EXPECT_FAULT(reader->read(n, rows.data()), "a.fvecs", "row 49997", "dimension 10", "got 9");
    EXPECT_EQ(reader->read(bad, rows.data()), bad) << "the position is where it was";
    EXPECT_FAULT(reader->read(1, rows.data()), "row 49997");
}

TEST_F(VectorFileTest, a_file_that_shrinks_is_an_error) {
    make("a.fvecs", xvecs_bytes(std::vector<float>(1000, 1.f), 10));
    auto reader = open_vectors(path("a.fvecs"));
    std::filesystem::resize_file(path("a.fvecs"), 1000);
    std::vector<float> rows(1000);
    EXPECT_EQ(reader->read(20, rows.data()), 20);
    EXPECT_FAULT(reader->read(100, rows.data()), "a.fvecs", "truncated");
}

TEST_F(VectorFileTest, raw_faults) {
    const std::string file = make("a.bin", std::string(24, 'x'));
    EXPECT_FAULT(open_vectors(file), file, "--d", "--dtype");
    EXPECT_FAULT(open_vectors(file, raw(3, "")), "--dtype");
    EXPECT_FAULT(open_vectors(file, raw(0, "float32")), "--d");
    EXPECT_FAULT(open_vectors(file, raw(-3, "float32")), "d = -3");
    EXPECT_FAULT(open_vectors(file, raw(3, "float128")), "unknown dtype 'float128'");
    EXPECT_EQ(open_vectors(file, raw(3, "float64"))->n(), 1);
    EXPECT_FAULT(open_vectors(file, raw(3, "int64")), "got --dtype int64");
    EXPECT_FAULT(open_vectors(file, raw(5, "float32")), file, "multiple", "20 bytes", "24 bytes");
    EXPECT_FAULT(open_vectors(file, raw(7, "float32")), "truncated", "28 bytes", "24 bytes");
    EXPECT_FAULT(open_vectors(file, raw(INT32_MAX, "float32")), "8589934588 bytes");
    EXPECT_EQ(open_vectors(file, raw(3, "f16"))->n(), 4);
    EXPECT_EQ(open_vectors(file, raw(3, "u8"))->n(), 8);
    std::filesystem::create_directory(path("b.npy"));
    make("b.npy/file", std::string(4, 'x')); // the dot is the folder's
    EXPECT_FAULT(open_vectors(path("b.npy/file")), "--d");
}

TEST_F(VectorFileTest, extension_in_any_case) {
    make("A.FVECS", xvecs_bytes<float>({1, 2}, 2));
    make("A.Npy", npy_bytes(dictionary_of("'<f4'", "(1, 1)"), std::string(4, '\0')));
    EXPECT_EQ(open_vectors(path("A.FVECS"))->d(), 2);
    EXPECT_EQ(open_vectors(path("A.Npy"))->d(), 1);
}

TEST_F(VectorFileTest, writing_and_reading_back) {
    const std::vector<float> floats = {1, -0.f, 0.1f, HUGE_VALF, 1e-45f, -7};
    const std::vector<int64_t> labels = {0, -1, INT32_MAX, INT32_MIN, 5, 6};
    const auto write = [&](const std::string& name, DType dtype, const auto& values) {
        auto writer = create_vectors(path(name), dtype, 2, 3);
        writer->append(values.data(), 1);
        writer->append(values.data() + 2, 0);
        writer->append(values.data() + 2, 2);
        EXPECT_FALSE(std::filesystem::exists(path(name)));
        writer->close();
        EXPECT_FAULT(writer->append(values.data(), 1), path(name));
        EXPECT_FAULT(writer->close(), path(name));
    };
    write("a.npy", DType::f32, floats);
    write("a.fvecs", DType::f32, floats);
    write("b.npy", DType::i32, labels);
    write("c.npy", DType::i64, labels);
    write("d.ivecs", DType::i32, labels);
    write("e.ivecs", DType::i64, labels);
    EXPECT_EQ(names(), (std::vector<std::string>{"a.fvecs", "a.npy", "b.npy", "c.npy", "d.ivecs",
                                                 "e.ivecs"}));
    EXPECT_EQ(bytes_of("a.npy"), npy_bytes(dictionary_of("'<f4'", "(3, 2)"), raw_bytes(floats)));
    EXPECT_EQ(bytes_of("a.fvecs"), xvecs_bytes(floats, 2));
    EXPECT_EQ(bytes_of("c.npy"), npy_bytes(dictionary_of("'<i8'", "(3, 2)"), raw_bytes(labels)));
    for (const char* name : {"a.npy", "a.fvecs"}) {
        EXPECT_EQ(raw_bytes(read_vectors(path(name)).data), raw_bytes(floats)) << name;
    }
    for (const char* name : {"b.npy", "c.npy", "d.ivecs", "e.ivecs"}) {
        EXPECT_EQ(read_labels(path(name)).data, labels) << name;
    }
    create_vectors(path("none.npy"), DType::f32, 2, 0)->close();
    EXPECT_EQ(bytes_of("none.npy"), npy_bytes(dictionary_of("'<f4'", "(0, 2)"), ""));
    EXPECT_FAULT(open_vectors(path("none.npy")), "none.npy", "(0, 2)");
}

TEST_F(VectorFileTest, a_writer_that_is_not_closed_leaves_no_trace) {
    make("old.npy", "old");
    const std::vector<float> rows(1 << 20, 1.f);
    for (const char* name : {"old.npy", "new.npy", "new.fvecs"}) {
        auto writer = create_vectors(path(name), DType::f32, 1 << 10, 2000);
        writer->append(rows.data(), 1 << 10);
        EXPECT_FAULT(writer->close(), path(name), "expected 2000 rows", "got 1024");
    }
    EXPECT_EQ(names(), std::vector<std::string>{"old.npy"});
    EXPECT_EQ(bytes_of("old.npy"), "old");
}

TEST_F(VectorFileTest, writer_faults) {
    EXPECT_FAULT(create_vectors(path("a.txt"), DType::f32, 2, 3), "a.txt", ".npy, .fvecs", ".txt");
    EXPECT_FAULT(create_vectors(path("a"), DType::i64, 2, 3), ".npy, .ivecs");
    EXPECT_FAULT(create_vectors(path("a.bvecs"), DType::f32, 2, 3), "'.bvecs'");
    EXPECT_FAULT(create_vectors(path("a.ivecs"), DType::f32, 2, 3), "float32", ".ivecs");
    EXPECT_FAULT(create_vectors(path("a.fvecs"), DType::i64, 2, 3), "int64", ".fvecs");
    EXPECT_FAULT(create_vectors(path("a.npy"), DType::f16, 2, 3), "float16");
    EXPECT_FAULT(create_vectors(path("a.npy"), DType::f32, 0, 3), "d = 0");
    EXPECT_FAULT(create_vectors(path("a.npy"), DType::f32, 2, -1), "n = -1");
    EXPECT_FAULT(create_vectors(path("a.npy"), DType::f32, 1 << 30, INT64_MAX), "a.npy");
    EXPECT_FAULT(create_vectors(path("a.npy"), DType::i64, 8, INT64_MAX / 64), "a.npy");
    EXPECT_FAULT(create_vectors(path("none/a.npy"), DType::f32, 2, 3), "none/a.npy", "No such");

    auto writer = create_vectors(path("a.ivecs"), DType::i64, 2, 3);
    const std::vector<float> floats(2);
    const std::vector<int64_t> labels = {1, 2, 3, int64_t(INT32_MAX) + 1, 5, 6};
    EXPECT_FAULT(writer->append(floats.data(), 1), "a.ivecs", "expected integers");
    EXPECT_FAULT(writer->append(labels.data(), 3), "row 1, column 1", "int32", "2147483648");
    EXPECT_FAULT(writer->append(labels.data(), 4), "at most 3 rows", "got 4");
    EXPECT_FAULT(writer->append(labels.data(), -1), "got -1");
    EXPECT_FAULT(writer->close(), "expected 3 rows", "got 0");
    writer.reset();
    EXPECT_FAULT(create_vectors(path("a.npy"), DType::f32, 2, 1)->append(labels.data(), 1),
                 "expected floats");
    EXPECT_TRUE(names().empty());
}

TEST(RequireFinite, names_the_first_bad_value) {
    std::vector<float> x(5 * 19, -1e38f);
    x[0] = 1e-45f;
    EXPECT_NO_THROW(require_finite(x.data(), 5, 19, "query"));
    EXPECT_NO_THROW(require_finite(nullptr, 0, 19, "query"));
    x[4 * 19 + 1] = std::numeric_limits<float>::quiet_NaN();
    EXPECT_FAULT(require_finite(x.data(), 5, 19, "query"), "query", "row 4, column 1", "nan");
    x[3 * 19 + 18] = -std::numeric_limits<float>::infinity();
    EXPECT_FAULT(require_finite(x.data(), 5, 19, "query"), "row 3, column 18", "-inf");
}

TEST(DTypes, names_and_sizes) {
    for (DType dtype : {DType::f32, DType::f16, DType::u8, DType::i8, DType::i32, DType::i64}) {
        EXPECT_EQ(dtype_from_name(dtype_name(dtype)), dtype);
    }
    EXPECT_EQ(dtype_from_name("u8"), DType::u8);
    EXPECT_EQ(dtype_size(DType::f16), 2u);
    EXPECT_EQ(dtype_size(DType::i64), 8u);
    EXPECT_FAULT(dtype_from_name("double"), "'double'", "float32");
}

} // namespace
