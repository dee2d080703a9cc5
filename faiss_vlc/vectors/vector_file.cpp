#include <faiss_vlc/vectors/vector_file.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/vectors/vector_file_internal.h>

namespace faiss_vlc {

namespace {

struct DTypeInfo {
    DType dtype;
    const char* name;
    const char* short_name;
    size_t size;
};

constexpr DTypeInfo kDTypes[] = {
        {DType::f32, "float32", "f32", 4}, {DType::f16, "float16", "f16", 2},
        {DType::u8, "uint8", "u8", 1},     {DType::i8, "int8", "i8", 1},
        {DType::i32, "int32", "i32", 4},   {DType::i64, "int64", "i64", 8},
        {DType::f64, "float64", "f64", 8}, {DType::boolean, "bool", "b1", 1},
        {DType::i16, "int16", "i16", 2},   {DType::u16, "uint16", "u16", 2},
        {DType::u32, "uint32", "u32", 4},  {DType::u64, "uint64", "u64", 8},
};

const DTypeInfo& info_of(DType dtype) {
    for (const DTypeInfo& info : kDTypes) {
        if (info.dtype == dtype) {
            return info;
        }
    }
    fail("DType %d does not exist", static_cast<int>(dtype));
}

} // namespace

const char* dtype_name(DType dtype) {
    return info_of(dtype).name;
}

size_t dtype_size(DType dtype) {
    return info_of(dtype).size;
}

DType dtype_from_name(const std::string& name) {
    for (const DTypeInfo& info : kDTypes) {
        if (name == info.name || name == info.short_name) {
            return info.dtype;
        }
    }
    fail("unknown dtype '%s': expected float32, float16, float64, bool, or int or uint with 8, 16, "
         "32 or 64",
         name.c_str());
}

template <class T>
int64_t VectorReader::read_next(int64_t count, T* out) {
    if (count < 0) {
        fail("%s: expected a number of rows to read of at least 0, got %lld", path_.c_str(),
             static_cast<long long>(count));
    }
    const int64_t rows = std::min(count, n_ - next_);
    if (rows > 0) {
        read_rows(next_, rows, out);
        next_ += rows;
    }
    return rows;
}

int64_t VectorReader::read(int64_t count, float* out) {
    return read_next(count, out);
}

int64_t VectorReader::read(int64_t count, int64_t* out) {
    if (!vector_file::holds_integers(dtype_)) {
        fail("%s: expected integers, the file holds %s", path_.c_str(), dtype_name(dtype_));
    }
    return read_next(count, out);
}

void VectorReader::seek(int64_t row) {
    if (row < 0 || row > n_) {
        fail("%s: expected a row between 0 and %lld, got %lld", path_.c_str(),
             static_cast<long long>(n_), static_cast<long long>(row));
    }
    next_ = row;
}

namespace vector_file {

bool holds_integers(DType dtype) {
    return dtype != DType::f32 && dtype != DType::f16 && dtype != DType::f64 &&
           dtype != DType::boolean;
}

bool is_label_only(DType dtype) {
    return holds_integers(dtype) && dtype_size(dtype) > 2;
}

std::string extension_of(const std::string& path) {
    const size_t slash = path.rfind('/');
    const size_t start = slash == std::string::npos ? 0 : slash + 1;
    const size_t dot = path.rfind('.');
    if (dot == std::string::npos || dot < start) {
        return "";
    }
    std::string extension = path.substr(dot);
    for (char& c : extension) {
        if (c >= 'A' && c <= 'Z') {
            c = char(c - 'A' + 'a');
        }
    }
    return extension;
}

} // namespace vector_file
} // namespace faiss_vlc
