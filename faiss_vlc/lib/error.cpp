#include <faiss_vlc/lib/error.h>

#include <cstdarg>
#include <cstdio>
#include <string>

#include <faiss/impl/FaissException.h>

namespace faiss_vlc {

void fail(const char* format, ...) {
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    const int size = vsnprintf(nullptr, 0, format, args);
    va_end(args);
    std::string message(size < 0 ? 0 : size + 1, '\0');
    vsnprintf(message.data(), message.size(), format, again);
    va_end(again);
    if (!message.empty()) {
        message.pop_back();
    }
    throw faiss::FaissException(message);
}

uint64_t checked_mul(uint64_t a, uint64_t b, const char* what) {
    uint64_t result;
    if (__builtin_mul_overflow(a, b, &result)) {
        fail("%s: %llu * %llu does not fit in 64 bits", what, (unsigned long long)a,
             (unsigned long long)b);
    }
    return result;
}

uint64_t checked_add(uint64_t a, uint64_t b, const char* what) {
    uint64_t result;
    if (__builtin_add_overflow(a, b, &result)) {
        fail("%s: %llu + %llu does not fit in 64 bits", what, (unsigned long long)a,
             (unsigned long long)b);
    }
    return result;
}

uint64_t checked_count(int64_t n, uint64_t width, uint64_t bytes, const char* what) {
    if (n < 0) {
        fail("%s: expected a number of at least 0, got %lld", what, (long long)n);
    }
    const uint64_t count = checked_mul(uint64_t(n), width, what);
    if (checked_mul(count, bytes, what) > uint64_t(PTRDIFF_MAX)) {
        fail("%s: %lld x %llu values of %llu bytes are more than memory can hold", what,
             (long long)n, (unsigned long long)width, (unsigned long long)bytes);
    }
    return count;
}

} // namespace faiss_vlc
