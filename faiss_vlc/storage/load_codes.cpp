#include <algorithm>
#include <cmath>

#include <faiss/impl/FaissException.h>

#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/lib/limits.h>
#include <faiss_vlc/storage/load_sections.h>
#include <faiss_vlc/storage/sections.h>

namespace faiss_vlc {

namespace {

/// The rows of a frame, int8 each.
void read_rows(ByteReader& r, Frame& frame) {
    frame.rows = r.array<int8_t>(uint64_t(frame.kept) * frame.d);
    for (int8_t v : frame.rows) {
        expect(v != -128, r, "axis component", v, "-127 to 127");
    }
    for (int i = 0; i < frame.kept; i++) {
        expect(frame.inverse_norm(i) > 0, r, "axis", i, "one that is not zero");
    }
}

} // namespace

void read_layout(ByteReader r, uint32_t code_size, Model& model) {
    const auto d = uint32_t(model.d);
    const uint32_t code_bytes = r.u32();
    expect(code_bytes >= 1 && code_bytes <= d, r, "code bytes", code_bytes,
           "1 to d, 8 bits for each dimension");
    expect(code_bytes + kFactorBytes == code_size, r, "code bytes", code_bytes,
           "the code size less the factors'");
    const uint32_t count = r.u32();
    expect(count <= code_bytes * 8, r, "fields", count, "at most 8 for each byte");
    std::vector<Field> fields(count);
    for (Field& f : fields) {
        f.first = r.u16();
        f.row = r.u16();
        f.lanes = r.u8();
        f.width = r.u8();
        f.shift = r.u8();
        const int zero = r.u8();
        expect(zero == 0, r, "filler", zero, "0");
    }
    r.expect_end();
    const Layout layout = Layout::from_fields(int(code_bytes), fields);
    expect(layout.axes <= int(d) + 3, r, "axes with bits", layout.axes,
           "d, and up to 3 of padding");
    for (uint32_t i = 0; i < count; i++) {
        expect(layout.fields[i].first == fields[i].first, r, "first axis of a field",
               fields[i].first, "fields by shift, then by row");
    }
    model.layout = layout;
}

void read_words(ByteReader r, uint32_t code_size, Model& model) {
    const uint32_t code_bytes = r.u32();
    const uint32_t factors = r.u32();
    expect(factors <= kWholeWords, r, "factor bytes", factors,
           "0, 1 or 2, or 3: none, and words of whole vectors");
    model.whole_words = factors == kWholeWords;
    const uint32_t factor_bytes = model.whole_words ? 0 : factors;
    const uint32_t most = uint32_t(model.d) + kFactorBytes;
    expect(code_bytes >= 1 && code_bytes <= most, r, "code bytes", code_bytes, "1 to d + 2");
    expect(code_bytes + factor_bytes == code_size, r, "code bytes", code_bytes,
           "the code size less the factors'");
    const uint32_t axes = r.u32();
    expect(axes >= 1 && axes <= uint32_t(model.d), r, "axes", axes, "1 to d");
    model.layout = Layout::of_blocks(int(code_bytes), int(factor_bytes), int(axes));
    model.codebook.unit = r.f32();
    expect(model.codebook.unit >= 1e-15f && model.codebook.unit <= 1e15f, r, "unit",
           model.codebook.unit, "1e-15 to 1e15");
    const int limit = Codebook::limit(model.layout);
    const std::vector<int> axis = model.layout.slot_axis();
    model.codebook.words.assign(size_t(model.layout.slots()) * kWords, 0);
    for (int s = 0; s < model.layout.slots(); s++) {
        for (int word = 0; word < kWords && axis[s] >= 0; word++) {
            const auto v = int16_t(r.u16());
            expect(v >= -limit && v <= limit, r, "component of a word", v, "within the limit");
            model.codebook.at(s, word) = v;
        }
    }
    r.expect_end();
}

void read_frame(ByteReader r, Model& model) {
    const uint32_t kept = r.u32();
    expect(kept == uint32_t(std::min(model.layout.axes, model.d)), r, "axes", kept,
           "as many as the layout codes");
    const uint32_t frames = r.u32();
    const bool words = model.layout.has_words();
    expect(frames <= kMaxGroups && (frames >= 1 || words), r, "frames", frames,
           words ? "1 to 64, or 0: the vectors' own axes" : "1 to 64");
    if (frames == 0) {
        expect(int(kept) == model.d, r, "axes", kept, "d, for the vectors' own axes");
        const std::vector<uint8_t> none = r.array<uint8_t>(model.m);
        r.expect_end();
        model.group.assign(model.m, 0);
        expect(none == model.group, r, "frame of an anchor", 1, "0");
        model.frames = {Frame::own_axes(model.d)};
        return;
    }
    model.group = r.array<uint8_t>(model.m);
    for (uint8_t g : model.group) {
        expect(g < frames, r, "frame of an anchor", g, "less than the number of frames");
    }
    for (uint32_t g = 0; g < frames; g++) {
        Frame frame;
        frame.d = model.d;
        frame.kept = int(kept);
        read_rows(r, frame);
        model.frames.push_back(std::move(frame));
    }
    r.expect_end();
}

std::shared_ptr<const SecondTier> read_second(ByteReader r, const IndexHead& head) {
    auto tier = std::make_shared<SecondTier>();
    const uint32_t code_bytes = r.u32();
    const uint32_t factor_bytes = r.u32();
    const bool product = head.metric == faiss::METRIC_INNER_PRODUCT;
    expect(factor_bytes == 1 ||
                   (product ? factor_bytes == 2 : factor_bytes == 3 || factor_bytes == 4),
           r, "factor bytes", factor_bytes, product ? "1 or 2 for inner products" : "1, 3 or 4");
    tier->factor_bytes = int(factor_bytes);
    expect(code_bytes >= 1 && code_bytes <= head.d, r, "code bytes", code_bytes, "1 to d");
    expect(code_bytes + uint32_t(tier->factor_bytes) < head.code_size, r, "code bytes", code_bytes,
           "fewer than both tiers have");
    const uint32_t axes = r.u32();
    expect(axes >= 1 && axes <= head.d, r, "axes", axes, "1 to d");
    const uint32_t refined = r.u32();
    expect(refined >= 1 && refined <= 1u << 24, r, "vectors refined", refined, "1 to 2^24");
    tier->refined = int(refined);
    const uint32_t usual = r.u32();
    expect(usual >= 1 && usual <= refined, r, "vectors usually refined", usual,
           "1 to those refined");
    tier->refined_usual = int(usual);
    tier->refined_base = r.i64();
    expect(tier->refined_base >= 1, r, "base", double(tier->refined_base), "1 or above");
    tier->growth = finite(r, "growth");
    expect(tier->growth >= 0 && tier->growth <= 1, r, "growth", tier->growth, "0 to 1");
    tier->range_slack = finite(r, "range slack");
    expect(tier->range_slack >= 0, r, "range slack", tier->range_slack, "0 or above");
    tier->unit = finite(r, "unit");
    expect(tier->unit >= 0 && tier->unit <= 1e15f, r, "unit", tier->unit, "0 to 1e15");
    tier->low = finite(r, "low");
    tier->high = finite(r, "high");
    expect(tier->low > -1 && tier->high > tier->low && tier->high <= 100, r, "alpha", tier->low,
           "above -1, rising to 100 at most");
    std::vector<uint8_t> width = r.array<uint8_t>(axes);
    expect(width.back() > 0 || axes == 1, r, "width of the last axis", width.back(), "above 0");
    try {
        tier->layout = BitLayout::of_widths(int(code_bytes), std::move(width));
    } catch (const faiss::FaissException& error) {
        fail("%s: %s", r.what().c_str(), error.what());
    }
    tier->sigma = r.array<float>(axes);
    for (float s : tier->sigma) {
        expect(std::isfinite(s) && s >= 0 && s < 1e6f, r, "sigma", s, "0 to 1e6");
    }
    tier->frame.d = int(head.d);
    tier->frame.kept = int(axes);
    read_rows(r, tier->frame);
    r.expect_end();
    tier->finish();
    return tier;
}

void read_sigma(ByteReader sigma, Model& model) {
    model.sigma = sigma.array<float>(model.frames.size() * model.frames[0].kept);
    sigma.expect_end();
    for (float s : model.sigma) {
        expect(std::isfinite(s) && s >= 0 && s < 1e6f, sigma, "sigma", s, "0 to 1e6");
    }
}

} // namespace faiss_vlc
