// What sums of weighed levels are worth, as LevelWeights::dot of faiss_vlc/second/second_tier.h has
// it by doubles, which a device may not have. A test includes this file too, to compare the two.

// What a unit of weights is worth, 1 / (2 scale) with 1 / scale rounded as a double: in integers,
// as a device may have no doubles. scale: a float of the usual kind, or 0 for nothing.
inline Weighed unit_of(float scale, int middle) {
    Weighed what;
    what.mantissa = 0;
    what.exponent = 0;
    what.middle = middle;
    if (scale > 0) {
        const uint bits = as_uint(scale);
        const ulong by = (bits & 0x7fffffu) | 0x800000u; // scale = by 2^((bits >> 23) - 150)
        const int power = by == 0x800000u ? 75 : 76;     // 2^power / by has 53 bits
        const ulong high = ((ulong)1 << (power - 38)) / by;
        const ulong low = (((ulong)1 << (power - 38)) % by) << 38;
        const ulong rest = low % by;
        what.mantissa = (high << 38) + low / by;
        what.mantissa += 2 * rest > by || (2 * rest == by && (what.mantissa & 1)) ? 1 : 0;
        what.exponent = 150 - (int)(bits >> 23) - power - 1;
    }
    return what;
}

// value >> drop to the nearest, ties to even; drop from 1 to 63.
inline ulong drop_bits(ulong value, int drop) {
    const ulong rest = value & (((ulong)1 << drop) - 1);
    const ulong tie = (ulong)1 << (drop - 1);
    const ulong kept = value >> drop;
    return kept + (rest > tie || (rest == tie && (kept & 1)) ? 1 : 0);
}

// (float)((double)n * unit) in integers, of |n| < 2^34: rounded to a double's 53 bits first.
inline float worth_of(long n, Weighed what) {
    const ulong size = n < 0 ? (ulong)-n : (ulong)n;
    if (size == 0 || what.mantissa == 0) {
        return 0.0f;
    }
    const ulong high = mul_hi(size, what.mantissa); // below 2^23
    ulong value = size * what.mantissa;
    int exponent = what.exponent;
    const int more = high > 0 ? 75 - (int)clz(high) : max(0, 11 - (int)clz(value)); // than 53 bits
    if (more > 0) {
        // what is dropped last decides by whether it is 0, as bits above it are kept
        const int sink = high > 0 ? 64 - (int)clz(high) : 0;
        const ulong lost = sink > 0 ? value & (((ulong)1 << sink) - 1) : 0;
        if (sink > 0) {
            value = high << (64 - sink) | value >> sink;
        }
        value = drop_bits(value | (lost > 0 ? 1 : 0), more - sink);
        exponent += more;
    }
    // a float's 24 bits, or fewer where it is denormal
    const int drop = max(29, -149 - exponent);
    if (drop > 63) {
        return 0.0f;
    }
    const ulong kept = drop_bits(value, drop);
    const int field = exponent + drop + 149; // of a float's exponent, less what `kept` adds
    const uint bits =
            field > 254 ? 0x7f800000u : min(0x7f800000u, ((uint)field << 23) + (uint)kept);
    const float worth = as_float(bits);
    return n < 0 ? -worth : worth;
}
