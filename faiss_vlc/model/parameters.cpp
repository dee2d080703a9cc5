#include <faiss_vlc/parameters.h>

#include <algorithm>
#include <cmath>

#include <faiss_vlc/codec/codec.h>
#include <faiss_vlc/container/byte_io.h>
#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/lib/limits.h>
#include <faiss_vlc/model/parameter_table.h>
#include <faiss_vlc/second/second_tier.h>

namespace faiss_vlc {

namespace {

constexpr int kSecondFactors = SecondTier::kUsualFactors;
constexpr uint32_t kMaxText = 1 << 16; ///< characters of a parameter in a file

void expect(bool ok, const char* name, double met, const char* expected) {
    if (!ok) {
        fail("%s: expected %s, got %g", name, expected, met);
    }
}

/// The value as a T, cut off; throws if T has none such.
template <class T>
T held(const std::string& name, double value) {
    if constexpr (std::is_integral_v<T>) {
        using Limits = std::numeric_limits<T>;
        const double whole = std::trunc(value);
        if (!(whole >= double(Limits::min()) && whole <= double(Limits::max()))) {
            fail("%s: expected %s to %s, got %g", name.c_str(),
                 std::to_string(Limits::min()).c_str(), std::to_string(Limits::max()).c_str(),
                 value);
        }
        return T(whole);
    } else if constexpr (std::is_arithmetic_v<T>) {
        return T(value);
    } else {
        fail("%s: expected a text, got the number %g", name.c_str(), value);
    }
}

} // namespace

void check_parameters(const VLCParameters& params, int d, const ParameterTable& table) {
    expect(d >= 1 && d <= kMaxDim, "d", d,
           ("1 to " + std::to_string(kMaxDim) + " dimensions").c_str());
    for (const Parameter& one : table) {
        const Value value = one.get(params);
        bool ok = one.range.allows(value);
        if (const Parameter* most = find_parameter(one.range.most, table)) {
            ok = ok && as_number(value) <= as_number(most->get(params));
        }
        expect(ok, one.name.c_str(), as_number(value), one.range.words.c_str());
    }
    if (params.codec == Codec::lattice && params.bytes > 0 && params.bytes <= kFactorBytes) {
        fail("bytes: expected more than the %d of the factors for codec lattice, got %d",
             kFactorBytes, params.bytes);
    }
    if (params.checkpoint_every > 0 && params.checkpoint.empty()) {
        fail("checkpoint_every is %d, but checkpoint names no file", params.checkpoint_every);
    }
}

void VLCParameters::check(int d) const {
    check_parameters(*this, d, parameter_table());
}

int VLCParameters::second_size(int d) const {
    const int most = d + kSecondFactors + 1; // 8 bits a dimension
    const int asked = second_bytes > 0 ? second_bytes
                      : second_bits > 0
                              ? int(std::ceil(double(d) * second_bits / 8)) + kSecondFactors
                              : 0;
    return std::min(most, asked);
}

int VLCParameters::first_size(int d) const {
    // more than 8 bits a dimension would stay unused
    const int most = d + kFactorBytes;
    return std::min(most, bytes > 0 ? bytes
                                    : int(std::ceil(double(d) * bits_per_dim / 8)) + kFactorBytes);
}

void set_parameter(VLCParameters& params, const std::string& name, double value,
                   const ParameterTable& table) {
    const Parameter* found = find_parameter(name, table);
    if (!found) {
        std::string names;
        for (const Parameter& one : table) {
            names += (names.empty() ? "" : ", ") + one.name;
        }
        fail("parameter '%s': expected one of %s", name.c_str(), names.c_str());
    }
    found->set(params, std::visit(
                               [&](const auto& usual) {
                                   return Value(held<std::decay_t<decltype(usual)>>(name, value));
                               },
                               found->usual));
}

void write_value(ByteWriter& writer, const Value& value) {
    if (const auto* text = std::get_if<std::string>(&value)) {
        writer.string(*text);
    } else if (const auto* real = std::get_if<float>(&value)) {
        writer.f32(*real);
    } else if (const auto* natural = std::get_if<uint32_t>(&value)) {
        writer.u32(*natural);
    } else {
        writer.i32(std::get<int32_t>(value));
    }
}

Value read_value(ByteReader& reader, const Parameter& parameter) {
    if (std::holds_alternative<std::string>(parameter.usual)) {
        return reader.string(kMaxText);
    }
    if (std::holds_alternative<uint32_t>(parameter.usual)) {
        return reader.u32();
    }
    if (std::holds_alternative<float>(parameter.usual)) {
        const float value = reader.f32();
        if (!std::isfinite(value)) {
            fail("%s: %s: expected a finite number, got %g", reader.what().c_str(),
                 parameter.name.c_str(), double(value));
        }
        return value;
    }
    const int32_t value = reader.i32();
    if (parameter.enumeration && !parameter.enumeration->find(value)) {
        fail("%s: %s: expected %s, got %d", reader.what().c_str(), parameter.name.c_str(),
             parameter.range.words.c_str(), value);
    }
    return value;
}

} // namespace faiss_vlc
