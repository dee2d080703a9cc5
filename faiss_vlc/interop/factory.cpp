#include <faiss_vlc/factory.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <regex>
#include <string>
#include <vector>

#include <faiss/IndexHNSW.h>
#include <faiss/IndexNSG.h>
#include <faiss/IndexPQ.h>
#include <faiss/impl/FaissException.h>
#include <faiss/index_factory.h>

#include <faiss_vlc/IndexVLC.h>
#include <faiss_vlc/codec/codec.h>
#include <faiss_vlc/faiss_version.h>
#include <faiss_vlc/interop/tree.h>
#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/lib/limits.h>
#include <faiss_vlc/second/second_tier.h>

namespace faiss_vlc {

namespace {

/// A VLC token, and what FAISS builds the tree around in its place: PQ1x<bits>, one code of a few
/// bits, for a number of bits that nothing else in the description has.
struct Token {
    VLCParameters params;
    size_t bits = 0;
    bool placed = false;
};

[[noreturn]] void bad_token(const std::string& token) {
    fail("index_factory: expected VLC[<m>][x<bits>[+<bits>]|b<bytes>[+<bytes>]][lattice|block] "
         "with 1 to 1048576 anchors, 0.125 to 8 bits per dimension or at least 1 byte (lattice: 3, "
         "second tier: 4), got '%s'",
         token.c_str());
}

/// Bits per dimension: digits and a point, the same in every locale.
float bits_of(const std::string& token, const std::string& text) {
    double value = 0, unit = 1;
    bool fraction = false;
    for (char c : text) {
        if (c == '.') {
            fraction = true;
            continue;
        }
        value = value * 10 + (c - '0');
        unit = fraction ? unit * 10 : unit;
    }
    const auto bits = float(value / unit);
    if (bits < 0.125f || bits > 8) {
        bad_token(token);
    }
    return bits;
}

VLCParameters parse_token(const std::string& token) {
    static const std::regex grammar("VLC([0-9]{1,7})?(?:x([0-9]{1,2}(?:\\.[0-9]{1,6})?)(?:\\+([0-9]"
                                    "{1,2}(?:\\.[0-9]{1,6})?))?|b([0-9]{1,5})"
                                    "(?:\\+([0-9]{1,5}))?)?(lattice|block)?");
    std::smatch match;
    if (!std::regex_match(token, match, grammar)) {
        bad_token(token);
    }
    VLCParameters params;
    if (match[1].matched) {
        params.m = std::atoi(match[1].str().c_str());
        if (params.m < 1 || params.m > kMaxLists) {
            bad_token(token);
        }
    }
    if (match[2].matched) {
        params.bits_per_dim = bits_of(token, match[2]);
    }
    if (match[3].matched) {
        params.second_bits = bits_of(token, match[3]);
    }
    if (match[4].matched) {
        params.bytes = std::atoi(match[4].str().c_str());
        if (params.bytes < 1) {
            bad_token(token);
        }
    }
    if (match[5].matched) {
        params.second_bytes = std::atoi(match[5].str().c_str());
        if (params.second_bytes < SecondTier::kLeastBytes) {
            bad_token(token);
        }
    }
    if (match[6].matched) {
        params.codec = match[6].str() == "block" ? Codec::block : Codec::lattice;
    }
    if (params.bytes > 0 && params.bytes <= kFactorBytes && params.codec == Codec::lattice) {
        bad_token(token); // nothing would be left for levels
    }
    return params;
}

std::string digits_at(const std::string& text, size_t first) {
    return text.substr(first, text.find_first_not_of("0123456789", first) - first);
}

/// Puts IndexVLCs into the places of their stand-ins. Graphs are left out: they need storage of the
/// kind that they were made for.
void place(faiss::Index*& node, std::vector<Token>& tokens) {
    if (const auto* pq = dynamic_cast<const faiss::IndexPQ*>(node)) {
        for (Token& token : tokens) {
            if (!token.placed && pq->pq.M == 1 && pq->pq.nbits == token.bits) {
                auto index = std::make_unique<IndexVLC>(node->d, token.params, node->metric_type);
                delete node;
                node = index.release();
                token.placed = true;
                return;
            }
        }
    } else if (!dynamic_cast<const faiss::IndexHNSW*>(node) &&
               !dynamic_cast<const faiss::IndexNSG*>(node)) {
        each_child(*node, [&](faiss::Index*& child, bool) { place(child, tokens); });
    }
}

/// Refuses what FAISS's own factory crashes at.
void check_codes(const char* description) {
    constexpr size_t kLongest = 1000; // std::regex calls itself for each character
    if (const size_t length = std::strlen(description); length > kLongest) {
        fail("index_factory: expected a description of at most %zu characters, got %zu", kLongest,
             length);
    }
    // FAISS 1.7.3 divides by them
    static const std::regex no_codes("PQ0+([^0-9]|$)");
    if (std::regex_search(description, no_codes)) {
        fail("index_factory: expected at least 1 code a vector behind PQ, got '%s'", description);
    }
    // and shifts by these
    static const std::regex wide_codes(
            "(Q|IMI)[0-9]+(x[0-9]+)*x0*(2[5-9]|[3-9][0-9]|[1-9][0-9]{2,})([^0-9x]|$)");
    if (std::regex_search(description, wide_codes)) {
        fail("index_factory: expected codes of at most 24 bits, got '%s'", description);
    }
}

/// Cuts the VLC tokens out of a description and puts their stand-ins there.
std::string with_stand_ins(const std::string& description, std::vector<Token>& tokens) {
    std::string built; // the description with stand-ins
    std::string rest = description;
    static const std::regex token_start("(^|[,(])(VLC[^,()]*)");
    size_t bits = 0;
    for (std::smatch match; std::regex_search(rest, match, token_start); rest = match.suffix()) {
        std::string stand_in;
        do {
            stand_in = "PQ1x" + std::to_string(++bits);
        } while (description.find(stand_in) != std::string::npos);
        if (bits > 8) { // the stand-in's tables double with each
            fail("index_factory: too many VLC tokens in '%s'", description.c_str());
        }
        const std::string token = match[2].str(), behind = match.suffix().str();
        if (token.find('_') != std::string::npos || behind.compare(0, 1, "(") == 0) {
            fail("index_factory: VLC takes no quantizer, as it ranks its anchors itself, by "
                 "int8 arithmetic: expected '%s', got '%s'",
                 token.substr(0, token.find('_')).c_str(), (token + behind).c_str());
        }
        built += match.prefix().str();
        const std::string before = built.substr(built.rfind(',') + 1);
        if (match[1].str() == "," && before.compare(0, 3, "IVF") == 0) {
            fail("index_factory: VLC is an inverted file itself, and ranks its own anchors: "
                 "expected 'VLC%s%s', got '%s'",
                 digits_at(before, 3).c_str(), token.substr(3 + digits_at(token, 3).size()).c_str(),
                 description.c_str());
        }
        tokens.push_back({parse_token(token), bits});
        built += match[1].str() + stand_in;
    }
    return built + rest;
}

faiss::Index* stock_factory(int d, const char* description, faiss::MetricType metric,
                            bool own_invlists) {
#if FAISS_VLC_HAS_OWN_INVLISTS
    return faiss::index_factory(d, description, metric, own_invlists);
#else
    if (!own_invlists) {
        fail("index_factory: own_invlists = false for '%s': expected true, as FAISS %s has no such "
             "argument",
             description, compiled_faiss().c_str());
    }
    return faiss::index_factory(d, description, metric);
#endif
}

} // namespace

faiss::Index* index_factory(int d, const char* asked, faiss::MetricType metric, bool own_invlists) {
    if (!asked) {
        fail("index_factory: expected a description, got null");
    }
    check_codes(asked);
    const bool for_ivfpq = stands_in_for_ivfpq() && own_invlists &&
                           (metric == faiss::METRIC_L2 || metric == faiss::METRIC_INNER_PRODUCT);
    const std::string meant = for_ivfpq ? vlc_for_ivfpq(asked) : asked;
    const char* description = meant.c_str();
    std::vector<Token> tokens;
    const std::string built = with_stand_ins(meant, tokens);
    if (tokens.empty()) {
        return stock_factory(d, description, metric, own_invlists);
    }
    if (!own_invlists) {
        fail("index_factory: own_invlists = false for '%s': expected true, as an IndexVLC takes no "
             "lists but its own",
             description);
    }
    if (d < 1) {
        fail("index_factory: expected at least 1 dimension, got %d", d);
    }
    faiss::Index* tree;
    try {
        tree = faiss::index_factory(d, built.c_str(), metric);
    } catch (const faiss::FaissException& error) {
        fail("index_factory: '%s', with %s for VLC: %s", description, built.c_str(), error.what());
    }
    try {
        place(tree, tokens);
        for (const Token& token : tokens) {
            if (!token.placed) {
                fail("index_factory: VLC cannot stand where it does in '%s'", description);
            }
        }
    } catch (...) {
        delete tree;
        throw;
    }
    mark_id_maps(*tree);
    return tree;
}

} // namespace faiss_vlc
