// A program whose FAISS says that it is of another version than the one faiss_vlc was compiled for.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <string>

#include <faiss/Index.h>
#include <faiss/index_factory.h>

namespace faiss {
std::string get_version() {
    return "1.2.3";
}
} // namespace faiss

int main() {
    try {
        const std::unique_ptr<faiss::Index> index(faiss::index_factory(16, "VLC4"));
        std::printf("FAILED: expected to be refused\n");
        return 1;
    } catch (const std::exception& error) {
        std::printf("%s\n", error.what());
        const bool is_told =
                std::strstr(error.what(), "runs with FAISS 1.2.3: install FAISS") != nullptr;
        return is_told ? 0 : 1;
    }
}
