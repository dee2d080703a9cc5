#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include <faiss/impl/FaissException.h>
#include <gtest/gtest.h>

/// What the tests of files share: a folder of their own and ways to make files and faults.
class FileTest : public ::testing::Test {
protected:
    FileTest() {
        std::string pattern = ::testing::TempDir() + "/vlc-file-XXXXXX";
        if (mkdtemp(pattern.data()) == nullptr) {
            throw std::runtime_error("cannot make " + pattern);
        }
        folder_ = pattern;
    }

    ~FileTest() override {
        std::error_code ignored;
        std::filesystem::remove_all(folder_, ignored);
    }

    std::string path(const std::string& name) const { return folder_ + "/" + name; }

    /// Writes the bytes and returns the path.
    std::string make(const std::string& name, const std::string& bytes) const {
        std::ofstream(path(name), std::ios::binary) << bytes;
        return path(name);
    }

    std::string bytes_of(const std::string& name) const {
        std::ifstream file(path(name), std::ios::binary);
        return std::string(std::istreambuf_iterator<char>(file), {});
    }

    /// Sorted names of what is in the folder, hidden ones too.
    std::vector<std::string> names() const {
        std::vector<std::string> found;
        for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
            found.push_back(entry.path().filename());
        }
        std::sort(found.begin(), found.end());
        return found;
    }

    std::string folder_;
};

/// The bytes of values, as files hold them.
template <class T>
std::string raw_bytes(const std::vector<T>& values) {
    return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

/// Message of the FaissException that the function throws; empty if it throws none.
inline std::string error_of(const std::function<void()>& function) {
    try {
        function();
    } catch (const faiss::FaissException& error) {
        return error.what();
    }
    return "";
}

/// The function must throw a FaissException whose message holds all of the parts.
#define EXPECT_FAULT(function, ...)                                             \
    do {                                                                        \
        const std::string message = error_of([&] { function; });                \
        EXPECT_FALSE(message.empty()) << "no error from " #function;            \
        for (const std::string& part : std::vector<std::string>{__VA_ARGS__}) { \
            EXPECT_NE(message.find(part), std::string::npos)                    \
                    << "expected '" << part << "' in: " << message;             \
        }                                                                       \
    } while (false)
