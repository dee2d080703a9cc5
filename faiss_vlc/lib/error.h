#pragma once

#include <cstddef>
#include <cstdint>

namespace faiss_vlc {

/// Throws faiss::FaissException with a printf-style message that names what was expected and what
/// was met. Every error of the library goes through here; Interrupted (interrupt.h) is none. Only
/// the preload library, which has to do without FAISS, throws std::runtime_error.
[[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 1, 2)));

/// a * b and a + b over sizes that came from input: throw instead of wrapping around.
/// `what` names the quantity in the message.
uint64_t checked_mul(uint64_t a, uint64_t b, const char* what);
uint64_t checked_add(uint64_t a, uint64_t b, const char* what);

/// n * width, the values of an array that a caller or a file announces: throws if n is negative or
/// their bytes are more than an address space holds. Every count that comes from outside passes
/// through here before it is multiplied.
uint64_t checked_count(int64_t n, uint64_t width, uint64_t bytes, const char* what);

} // namespace faiss_vlc
