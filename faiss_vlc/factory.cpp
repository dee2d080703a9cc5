#include <faiss_vlc/factory.h>

#include <cstdlib>
#include <memory>
#include <regex>
#include <string>

#include <faiss/IndexPQ.h>
#include <faiss/index_factory.h>

#include <faiss_vlc/IndexVLC.h>
#include <faiss_vlc/error.h>
#include <faiss_vlc/tree.h>

namespace faiss_vlc {

namespace {

// FAISS builds the tree around a stand-in that nobody asks for: one code of one bit.
constexpr char kStandIn[] = "PQ1x1";

bool is_stand_in(const faiss::Index* node) {
    const auto* pq = dynamic_cast<const faiss::IndexPQ*>(node);
    return pq && pq->pq.M == 1 && pq->pq.nbits == 1;
}

[[noreturn]] void bad_token(const std::string& token) {
    fail("index_factory: expected VLC[<m>][x<bits>|b<bytes>] with 1 to 1048576 anchors, 0.125 to 8 "
         "bits per dimension or at least 3 bytes, got '%s'",
         token.c_str());
}

VLCParameters parse_token(const std::string& token) {
    static const std::regex grammar("VLC([0-9]{1,7})?(?:x([0-9]{1,2}(?:\\.[0-9]{1,6})?)|b([0-9]{1,5}))?");
    std::smatch match;
    if (!std::regex_match(token, match, grammar)) {
        bad_token(token);
    }
    VLCParameters params;
    if (match[1].matched) {
        params.m = std::atoi(match[1].str().c_str());
        if (params.m < 1 || params.m > 1 << 20) {
            bad_token(token);
        }
    }
    if (match[2].matched) {
        // digits and a point: the same in every locale
        const std::string text = match[2].str();
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
        params.bits_per_dim = float(value / unit);
        if (params.bits_per_dim < 0.125f || params.bits_per_dim > 8) {
            bad_token(token);
        }
    }
    if (match[3].matched) {
        params.bytes = std::atoi(match[3].str().c_str());
        if (params.bytes <= kFactorBytes) {
            bad_token(token);
        }
    }
    return params;
}

} // namespace

faiss::Index* index_factory(int d, const char* description, faiss::MetricType metric) {
    const std::string text = description;
    static const std::regex token_start("(^|[,(])(VLC[^,()]*)");
    std::smatch match;
    if (!std::regex_search(text, match, token_start)) {
        return faiss::index_factory(d, description, metric);
    }
    const std::string token = match[2].str();
    const size_t at = size_t(match.position(2));
    const VLCParameters params = parse_token(token);
    const std::string rest = text.substr(at + token.size());
    if (std::regex_search(rest, token_start)) {
        fail("index_factory: expected one VLC token, got '%s'", description);
    }
    const std::string stand_in = text.substr(0, at) + kStandIn + rest;
    if (rest.find(kStandIn) != std::string::npos || text.substr(0, at).find(kStandIn) != std::string::npos) {
        fail("index_factory: %s cannot stand beside VLC", kStandIn);
    }
    bool placed = false;
    std::unique_ptr<faiss::Index> tree(replace_nodes(
            faiss::index_factory(d, stand_in.c_str(), metric), [&](faiss::Index* node) {
                if (placed || !is_stand_in(node)) {
                    return node;
                }
                auto index = std::make_unique<IndexVLC>(node->d, params, node->metric_type);
                delete node;
                placed = true;
                return static_cast<faiss::Index*>(index.release());
            }));
    if (!placed) {
        fail("index_factory: no place for an IndexVLC in '%s'", description);
    }
    return tree.release();
}

} // namespace faiss_vlc
