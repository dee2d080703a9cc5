#include <faiss_vlc/storage/head.h>

#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/lib/limits.h>

namespace faiss_vlc {

std::vector<uint8_t> IndexHead::write() const {
    ByteWriter w;
    w.u32(d);
    w.u32(m);
    w.u32(metric);
    w.u32(trained);
    w.u64(ntotal);
    w.u64(nprobe);
    w.u64(max_codes);
    w.u32(code_size);
    w.u32(direct_map);
    return w.take();
}

IndexHead IndexHead::read(ByteReader r) {
    IndexHead head;
    head.d = r.u32();
    head.m = r.u32();
    head.metric = r.u32();
    head.trained = r.u32();
    head.ntotal = r.u64();
    head.nprobe = r.u64();
    head.max_codes = r.u64();
    head.code_size = r.u32();
    head.direct_map = r.u32();
    r.expect_end();
    const auto expect = [&](bool ok, const char* name, double met, const char* expected) {
        if (!ok) {
            fail("%s: %s: expected %s, got %g", r.what().c_str(), name, expected, met);
        }
    };
    expect(head.d >= 1 && head.d <= kMaxDim, "d", head.d, "1 to 16384");
    expect(head.metric <= 1, "metric", head.metric, "0 (inner product) or 1 (L2)");
    expect(head.trained <= 1, "trained", head.trained, "0 or 1");
    expect(head.trained ? head.m >= 1 && head.m <= 1u << 20 : head.m == 0, "m", head.m,
           "1 to 1048576 if trained, else 0");
    expect(head.ntotal <= uint64_t(1) << 62 && (head.trained || head.ntotal == 0), "ntotal",
           double(head.ntotal), "0 for an untrained index");
    expect(head.direct_map <= 2, "direct map", head.direct_map, "0, 1 or 2");
    return head;
}

} // namespace faiss_vlc
