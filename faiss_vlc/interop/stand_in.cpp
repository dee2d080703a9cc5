// Keys of IVFPQ that mean a VLC, for programs whose lists of keys are closed.

#include <faiss_vlc/factory.h>

#include <atomic>
#include <cstdlib>
#include <regex>
#include <string>

#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/lib/limits.h>

namespace faiss_vlc {

namespace {

enum class Mode { environment, off, on };
std::atomic<Mode> mode{Mode::environment};

/// Lists by FAISS's notation, 64k being 65536; 0 where a VLC has no such number of them.
int64_t lists_of(const std::string& digits, const std::string& unit) {
    const int64_t number = digits.size() > 7 ? 0 : std::atoi(digits.c_str());
    const int64_t lists = number * (unit == "k" ? 1 << 10 : unit == "M" ? 1 << 20 : 1);
    return lists <= kMaxLists ? lists : 0;
}

} // namespace

void stand_in_for_ivfpq(bool on) {
    mode = on ? Mode::on : Mode::off;
}

bool stands_in_for_ivfpq() {
    const Mode set = mode;
    if (set != Mode::environment) {
        return set == Mode::on;
    }
    const char* variable = std::getenv("VLC_FOR_IVFPQ");
    const std::string value = variable ? variable : "";
    if (!value.empty() && value != "0" && value != "1") {
        fail("VLC_FOR_IVFPQ: expected 1 or 0, got '%s'", value.c_str());
    }
    return value == "1";
}

std::string vlc_for_ivfpq(const std::string& description) {
    static const std::regex ivfpq(
            "(^|[,(])(?:OPQ[0-9]{1,9}(?:_[0-9]{1,9})?,)?IVF([0-9]{1,9})([kM]?)(?:_HNSW[0-9]{0,9})?"
            ",PQ([0-9]{1,6})(?:x([0-9]{1,2}))?(?:np|fsr?(?:_[0-9]{1,9})?)?(?=$|[,)])");
    std::string built, rest = description;
    for (std::smatch match; std::regex_search(rest, match, ivfpq); rest = match.suffix()) {
        built += match.prefix();
        const int64_t lists = lists_of(match[2], match[3]);
        const int64_t bits = match[5].matched ? std::atoi(match[5].str().c_str()) : 8;
        const int64_t bytes = (std::atoi(match[4].str().c_str()) * bits + 7) / 8;
        if (lists > 0 && bytes > 0 && bytes <= 99999) {
            built += match[1].str() + "VLC" + std::to_string(lists) + "b" + std::to_string(bytes);
        } else {
            built += match[0];
        }
    }
    return built + rest;
}

bool names_vlc(const std::string& description) {
    return description.find("VLC") != std::string::npos ||
           (stands_in_for_ivfpq() && vlc_for_ivfpq(description) != description);
}

} // namespace faiss_vlc
