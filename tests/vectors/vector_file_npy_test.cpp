#include <faiss_vlc/vectors/vector_file.h>

#include <tests/vectors/vector_file_test.h>

#include <cmath>
#include <limits>
#include <set>
#include <sstream>

#ifndef VLC_TEST_DATA
#error "VLC_TEST_DATA must be the path of tests/data"
#endif

namespace {

using namespace faiss_vlc;

class VectorFileNpyTest : public FileTest {
protected:
    /// A version 1 file of exactly this header and data.
    std::string npy(const std::string& header, const std::string& data) const {
        std::string length = raw_bytes<uint16_t>({uint16_t(header.size())});
        return make("a.npy", std::string("\x93NUMPY\x01\0", 8) + length + header + data);
    }

    std::string npy(const std::string& descr, const std::string& fortran, const std::string& shape,
                    size_t bytes) const {
        return npy("{'descr': " + descr + ", 'fortran_order': " + fortran + ", 'shape': " + shape +
                           ", }\n",
                   std::string(bytes, '\0'));
    }
};

TEST_F(VectorFileNpyTest, headers_in_other_spellings) {
    for (const char* header : {
                 "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }",
                 "{'descr':'<f4','fortran_order':False,'shape':(2,3)}",
                 "{\"shape\": (2L, 3L), \"descr\": \"<f4\", \"fortran_order\": False}",
                 " { 'fortran_order' : False ,\n 'shape' : ( 2 , 3 , ) ,\t'descr' : '<f4' , } \n",
         }) {
        auto reader = open_vectors(npy(header, std::string(24, '\0')));
        EXPECT_EQ(reader->n(), 2) << header;
        EXPECT_EQ(reader->d(), 3) << header;
        EXPECT_EQ(reader->dtype(), DType::f32) << header;
    }
    for (const char* descr : {"'|u1'", "'<u1'", "'>u1'"}) { // a byte has no order
        EXPECT_EQ(open_vectors(npy(descr, "False", "(2, 3)", 6))->dtype(), DType::u8) << descr;
    }
}

TEST_F(VectorFileNpyTest, arrays_that_are_not_taken) {
    const auto open = [&](const char* descr, const char* fortran, const char* shape, size_t bytes) {
        open_vectors(npy(descr, fortran, shape, bytes));
    };
    EXPECT_FAULT(open("'<f4'", "True", "(2, 3)", 24), "a.npy", "Fortran order");
    EXPECT_FAULT(open("'>f4'", "False", "(2, 3)", 24), "a.npy", "little-endian", "'>f4'",
                 "x.astype('<f4')");
    EXPECT_FAULT(open("'>f8'", "False", "(2, 3)", 48), "little-endian", "x.astype('<f8')");
    for (const char* descr :
         {"'<f16'", "'|O'", "'<U3'", "'|f4'", "'|i8'", "''", "'f'", "'<f3'", "'<b1x'", "'<f8x'"}) {
        EXPECT_FAULT(open(descr, "False", "(2, 3)", 48), "a.npy", "float32, float16, uint8");
    }
    EXPECT_FAULT(open("[('x', '<f4')]", "False", "(2, 3)", 24), "records");
    EXPECT_FAULT(open("'<f4'", "False", "(6,)", 24), "2 dimensions", "got 1");
    EXPECT_FAULT(open("'<f4'", "False", "()", 4), "got 0");
    EXPECT_FAULT(open("'<f4'", "False", "(1, 2, 3)", 24), "got 3");
    EXPECT_FAULT(open("'<f4'", "False", "(0, 3)", 0), "(0, 3)");
    EXPECT_FAULT(open("'<f4'", "False", "(2, 0)", 0), "(2, 0)");
    EXPECT_FAULT(open("'<f4'", "False", "(2, 3)", 23), "truncated", "24 bytes", "got 23");
    EXPECT_FAULT(open("'<f4'", "False", "(2, 3)", 0), "truncated", "got 0");
    EXPECT_FAULT(open("'<f4'", "False", "(2, 3)", 25), "too long", "24 bytes", "got 25");
}

// What NumPy can hold and we cannot is called by its name, not damaged, with a way out.
TEST_F(VectorFileNpyTest, other_types_are_named) {
    const auto error = [&](const char* descr) {
        return error_of([&] { open_vectors(npy(descr, "False", "(2, 3)", 96)); });
    };
    const char* const kTypes[][3] = {
            {"'<f16'", "float128", "x.astype('float32')"},
            {"'>f16'", "float128", "x.astype('float32')"},
            {"'<c8'", "complex64", "x.real"},
            {"'<c16'", "complex128", "x.real"},
            {"'|O'", "Python objects", "numpy.stack"},
            {"'<U12'", "strings", "x.astype('float32')"},
            {"'|S3'", "bytes", "x.astype('float32')"},
            {"'|V8'", "void", "x.view"},
            {"'<M8[ns]'", "dates", "astype('float32')"},
    };
    for (const auto& type : kTypes) {
        const std::string message = error(type[0]);
        EXPECT_EQ(message.find("damaged"), std::string::npos) << message;
        EXPECT_NE(message.find(type[1]), std::string::npos) << message;
        EXPECT_NE(message.find(type[2]), std::string::npos) << message;
    }
    for (const char* descr : {"'|f4'", "'<f\x1b'", "'<f9 f'", "'<Q4'"}) {
        EXPECT_NE(error(descr).find("damaged"), std::string::npos) << error(descr);
    }
    EXPECT_FAULT(open_vectors(npy("'<f4'", "False", "(6,)", 24)), "x.reshape(1, -1)");
}

TEST_F(VectorFileNpyTest, float64_becomes_float32_or_an_error) {
    const auto file = [&](const std::vector<double>& values) {
        const std::string shape = "(" + std::to_string(values.size() / 2) + ", 2)";
        return npy("{'descr': '<f8', 'fortran_order': False, 'shape': " + shape + "}",
                   raw_bytes(values));
    };
    std::vector<double> values(300000, 0.1); // several internal blocks
    values[1] = 1e-300;
    values[2] = -3.4028235e38;
    auto reader = open_vectors(file(values));
    EXPECT_EQ(reader->dtype(), DType::f64);
    std::vector<float> expected(values.begin(), values.end());
    EXPECT_EQ(expected[2], std::numeric_limits<float>::lowest());
    EXPECT_EQ(read_vectors(path("a.npy")).data, expected);
    std::vector<int64_t> integers(2);
    EXPECT_FAULT(reader->read(1, integers.data()), "expected integers", "float64");

    for (double beyond : {1e39, -1e300, 3.4028236e38}) {
        values[299999] = beyond;
        EXPECT_FAULT(read_vectors(file(values)), "a.npy", "row 149999, column 1", "float32");
    }
    // as they are, as in the other types: require_finite finds them
    const double inf = std::numeric_limits<double>::infinity();
    const std::vector<float> met = read_vectors(file({inf, std::nan("")})).data;
    EXPECT_EQ(met[0], std::numeric_limits<float>::infinity());
    EXPECT_TRUE(std::isnan(met[1]));
}

TEST_F(VectorFileNpyTest, bool_is_zero_and_one) {
    const std::string header = "{'descr': '|b1', 'fortran_order': False, 'shape': (2, 2)}";
    const std::string file = npy(header, std::string("\0\1\1\0", 4));
    EXPECT_EQ(open_vectors(file)->dtype(), DType::boolean);
    EXPECT_EQ(read_vectors(file).data, (std::vector<float>{0, 1, 1, 0}));
    EXPECT_EQ(read_vectors(npy(header, std::string("\0\xff\2\0", 4))).data,
              (std::vector<float>{0, 1, 1, 0}));
    EXPECT_FAULT(read_labels(file), "expected labels of integers", "bool");
}

TEST_F(VectorFileNpyTest, archives_are_not_arrays) {
    const std::string zip = std::string("PK\x03\x04", 4) + std::string(60, 'x');
    EXPECT_FAULT(open_vectors(make("a.npz", zip)), "a.npz", "several arrays", "numpy.save");
    EXPECT_FAULT(read_labels(make("a.NPZ", zip)), "a.NPZ", "several arrays", "numpy.save");
    EXPECT_FAULT(open_vectors(make("b.npy", zip)), "b.npy", "x93NUMPY", ".npz");
    EXPECT_FAULT(open_vectors(path("none.npz")), "none.npz", "No such file");
}

TEST_F(VectorFileNpyTest, absurd_sizes_are_refused_before_any_allocation) {
    const auto open = [&](const char* shape) { read_vectors(npy("'<f4'", "False", shape, 24)); };
    EXPECT_FAULT(open("(1000000000000, 128)"), "a.npy", "truncated", "512000000000000 bytes");
    EXPECT_FAULT(open("(4611686018427387904, 1)"), "64 bits"); // * 4 wraps to 0
    EXPECT_FAULT(open("(4611686018427387910, 1)"), "64 bits"); // * 4 wraps to 24
    EXPECT_FAULT(open("(9223372036854775807, 2147483647)"), "64 bits");
    EXPECT_FAULT(open("(9223372036854775808, 1)"), "fits memory", "9223372036854775808");
    EXPECT_FAULT(open("(1, 2147483648)"), "fits memory");
    EXPECT_FAULT(open("(18446744073709551622, 1)"), "64 bits");
    EXPECT_FAULT(open("(-2, 3)"), "a number");
}

TEST_F(VectorFileNpyTest, damaged_headers) {
    npy("'<f4'", "False", "(2, 3)", 24);
    const std::string whole = bytes_of("a.npy");
    for (size_t size = 1; size < whole.size(); size++) {
        EXPECT_FAULT(open_vectors(make("a.npy", whole.substr(0, size))), "a.npy");
    }
    // Any one byte of the header changed: an error or the same array, never a crash.
    for (size_t i = 0; i < whole.size() - 24; i++) {
        for (char c : {'\0', '\xff', '\'', '(', '}', ' ', '9', '\x1b'}) {
            std::string changed = whole;
            changed[i] = c;
            const std::string file = make("a.npy", changed);
            const std::string error = error_of([&] { read_vectors(file); });
            EXPECT_EQ(error.find('\x1b'), std::string::npos) << "raw bytes in a message";
            if (error.empty()) {
                EXPECT_EQ(read_vectors(file).data.size(), 6u) << changed;
            }
        }
    }
    EXPECT_FAULT(open_vectors(make("a.npy", std::string(100, 'x'))), "x93NUMPY");
    for (char version : {0, 4}) {
        std::string changed = whole;
        changed[6] = version;
        EXPECT_FAULT(open_vectors(make("a.npy", changed)), "version 1, 2 or 3");
    }
    const std::string large = std::string("\x93NUMPY\x02\0\xff\xff\xff\xff", 12) + "{}";
    EXPECT_FAULT(open_vectors(make("a.npy", large)), "header", "4294967295");
    for (const char* header : {"", "{", "{}", "[]", "{'descr': '<f4'}", "{'descr' '<f4'}",
                               "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)} x",
                               "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3",
                               "{'descr': '<f4', 'fortran_order': Maybe, 'shape': (2, 3)}",
                               "{'descr': '<f4', 'fortran_order': False, 'shape': (2 3)}",
                               "{'descr': '<f4', 'descr': '<f4', 'shape': (2, 3)}",
                               "{'descr': '<f4', 'fortran_order': False, 'form': (2, 3)}",
                               "{'descr': '<f4, 'fortran_order': False, 'shape': (2, 3)}"}) {
        EXPECT_FAULT(open_vectors(npy(header, std::string(24, '\0'))), "a.npy", "header");
    }
}

TEST(SampleData, sift20k_is_what_its_readme_says) {
    const std::string folder = std::string(VLC_TEST_DATA) + "/sift20k/";
    EXPECT_EQ(open_vectors(folder + "base.npy")->dtype(), DType::u8);
    EXPECT_EQ(open_vectors(folder + "query.npy")->dtype(), DType::u8);
    const Matrix<float> base = read_vectors(folder + "base.npy");
    const Matrix<float> queries = read_vectors(folder + "query.npy");
    const Matrix<int64_t> neighbours = read_labels(folder + "gt.npy");
    ASSERT_EQ(base.n, 20000);
    ASSERT_EQ(base.d, 128);
    ASSERT_EQ(queries.n, 500);
    ASSERT_EQ(queries.d, 128);
    ASSERT_EQ(neighbours.n, 500);
    ASSERT_EQ(neighbours.d, 100);
    std::set<std::vector<float>> different;
    for (int64_t i = 0; i < base.n; i++) {
        different.emplace(&base.data[size_t(i * 128)], &base.data[size_t(i * 128)] + 128);
    }
    EXPECT_EQ(different.size(), 20000u);
    for (int64_t q = 0; q < queries.n; q += 50) {
        std::vector<std::pair<float, int64_t>> found; // integers below 2^24: exact
        for (int64_t i = 0; i < base.n; i++) {
            float distance = 0;
            for (int j = 0; j < 128; j++) {
                const float difference =
                        queries.data[size_t(q * 128 + j)] - base.data[size_t(i * 128 + j)];
                distance += difference * difference;
            }
            found.emplace_back(distance, i);
        }
        std::partial_sort(found.begin(), found.begin() + 100, found.end());
        for (int64_t k = 0; k < 100; k++) {
            ASSERT_EQ(neighbours.data[size_t(q * 100 + k)], found[size_t(k)].second)
                    << "query " << q << ", place " << k;
        }
    }
}

// | package | picture | copyright | licence | rows of base | of query |
TEST(SampleData, each_row_has_a_picture_an_owner_and_a_licence) {
    std::ifstream file(std::string(VLC_TEST_DATA) + "/sift20k/SOURCES.md");
    int base = 0, queries = 0;
    for (std::string line; std::getline(file, line);) {
        std::vector<std::string> cells;
        std::istringstream row(line);
        for (std::string cell; std::getline(row, cell, '|');) {
            cells.push_back(cell);
        }
        if (cells.size() < 7 || cells[5].find_first_of("0123456789") == std::string::npos ||
            cells[1] == " all ") {
            continue;
        }
        for (int i = 1; i <= 4; i++) {
            EXPECT_GT(cells[size_t(i)].size(), 2u) << line;
        }
        base += std::stoi(cells[5]);
        queries += std::stoi(cells[6]);
    }
    EXPECT_EQ(base, 20000);
    EXPECT_EQ(queries, 500);
}

} // namespace
