#include <faiss_vlc/codec/packed_levels.h>

#include <algorithm>

namespace faiss_vlc {

PackedLevels::PackedLevels(const Layout& layout) {
    for (size_t i = 0; i < layout.fields.size(); i++) { // by shift, then by row
        const Field& f = layout.fields[i];
        for (int lane = 0; lane < f.lanes; lane++) {
            add(f.offset + lane, f.shift, f.width, 4 * int(i) + lane, 0);
        }
    }
}

void PackedLevels::add(int byte, int shift, int width, int s, int up_by) {
    const auto holds = [&](const LevelChunk& chunk) {
        return chunk.shift == shift && byte >= chunk.offset && byte < chunk.offset + kChunk &&
               chunk.mask[byte - chunk.offset] == 0;
    };
    const auto found = std::find_if(chunks.rbegin(), chunks.rend(), holds);
    size_t at = size_t(chunks.rend() - found) - 1;
    if (found == chunks.rend()) {
        at = chunks.size();
        chunks.push_back({byte, shift, {}});
        slot.resize(slot.size() + kChunk, -1);
        up.resize(slot.size(), 0);
    }
    const auto place = size_t(byte - chunks[at].offset);
    chunks[at].mask[place] = uint8_t((1 << width) - 1);
    slot[at * kChunk + place] = s;
    up[at * kChunk + place] = uint8_t(up_by);
}

} // namespace faiss_vlc
