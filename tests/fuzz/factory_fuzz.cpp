// Descriptions for index_factory.

#include <tests/fuzz/fuzz.h>

#include <cctype>
#include <memory>
#include <regex>

#include <faiss_vlc/factory.h>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const std::string text(reinterpret_cast<const char*>(data), size);
    // FAISS builds what large numbers in its own parts ask for: no more than three digits in a row
    // before the first VLC, nor codes of 20 bits and more.
    static const std::regex wide("x0*(2[0-4])");
    if (std::regex_search(text, wide)) {
        return 0;
    }
    int digits = 0;
    for (const char c : text.substr(0, text.find("VLC"))) {
        digits = std::isdigit(uint8_t(c)) ? digits + 1 : 0;
        if (digits > 3) {
            return 0;
        }
    }
    for (const int d : {16, 1}) {
        attempt([&] {
            const std::unique_ptr<faiss::Index> index(faiss_vlc::index_factory(d, text.c_str()));
        });
    }
    return 0;
}
