// Stands in for FAISS's functions in a program that knows nothing of VLC. Compiled twice: for the
// linker, whose --wrap sends calls of a function here and __real_ to FAISS, and for LD_PRELOAD,
// where the dynamic linker finds these first and FAISS's behind them. auto.cmake lists the names.
//
// Our own functions call FAISS's, which may lead here again: then the call is for FAISS.

#include <dlfcn.h>

#include <cstdio>
#include <cstring>

#include <faiss/Index.h>
#include <faiss/clone_index.h>
#include <faiss/impl/io.h>
#include <faiss/index_factory.h>
#include <faiss/index_io.h>

#include <auto_symbols.h>
#include <faiss_vlc/clone.h>
#include <faiss_vlc/error.h>
#include <faiss_vlc/factory.h>
#include <faiss_vlc/faiss_version.h>
#include <faiss_vlc/index_io.h>
#include <faiss_vlc/tree.h>

#if FAISS_VLC_FAISS_VERSION >= 11200
#define FACTORY_REST , bool own_invlists
#define FACTORY_ARGUMENT , own_invlists
#else
#define FACTORY_REST
#define FACTORY_ARGUMENT
#endif
#if FAISS_VLC_FAISS_VERSION >= 10900
#define WRITE_REST , int io_flags
#define WRITE_ARGUMENT , io_flags
#else
#define WRITE_REST
#define WRITE_ARGUMENT
#endif

// PLUGGED(name, type, parameters) declares plug_name, which takes the place of FAISS's function,
// and real_name, which is that function.
#ifdef FAISS_VLC_PRELOAD
namespace {
template <class Function>
Function* next(const char* symbol) {
    void* found = dlsym(RTLD_NEXT, symbol);
    if (!found) {
        faiss_vlc::fail(
                "faiss_vlc_preload, made for FAISS %d.%d.%d, expected %s in the libfaiss that "
                "this program loads: another version, or none",
                FAISS_VERSION_MAJOR, FAISS_VERSION_MINOR, FAISS_VERSION_PATCH, symbol);
    }
    return reinterpret_cast<Function*>(found);
}
} // namespace
#define PLUGGED(name, type, ...)                                                        \
    type plug_##name(__VA_ARGS__) asm(FAISS_VLC_SYMBOL_##name);                         \
    template <class... Arguments>                                                       \
    type real_##name(Arguments... arguments) {                                          \
        static auto* const function = next<type(__VA_ARGS__)>(FAISS_VLC_SYMBOL_##name); \
        return function(arguments...);                                                  \
    }
#else
#define PLUGGED(name, type, ...)                                          \
    type plug_##name(__VA_ARGS__) asm("__wrap_" FAISS_VLC_SYMBOL_##name); \
    type real_##name(__VA_ARGS__) asm("__real_" FAISS_VLC_SYMBOL_##name);
#endif

namespace {

thread_local bool inside = false;

struct Inside {
    Inside() { inside = true; }
    ~Inside() { inside = false; }
};

bool is_ours(const faiss::Index* index) {
    return !inside && index && faiss_vlc::contains_vlc(*index);
}

} // namespace

PLUGGED(index_factory, faiss::Index*, int d, const char* description,
        faiss::MetricType metric FACTORY_REST)
PLUGGED(read_path, faiss::Index*, const char* path, int io_flags)
PLUGGED(read_file, faiss::Index*, FILE* file, int io_flags)
PLUGGED(read_reader, faiss::Index*, faiss::IOReader* reader, int io_flags)
PLUGGED(write_path, void, const faiss::Index* index, const char* path WRITE_REST)
PLUGGED(write_file, void, const faiss::Index* index, FILE* file WRITE_REST)
PLUGGED(write_writer, void, const faiss::Index* index, faiss::IOWriter* writer WRITE_REST)
PLUGGED(clone_index, faiss::Index*, const faiss::Index* index)

faiss::Index* plug_index_factory(int d, const char* description,
                                 faiss::MetricType metric FACTORY_REST) {
    if (inside || !description || !std::strstr(description, "VLC")) {
        return real_index_factory(d, description, metric FACTORY_ARGUMENT);
    }
    const Inside scope;
    return faiss_vlc::index_factory(d, description, metric);
}

faiss::Index* plug_read_path(const char* path, int io_flags) {
    if (inside) {
        return real_read_path(path, io_flags);
    }
    const Inside scope;
    return faiss_vlc::read_index(path, io_flags);
}

faiss::Index* plug_read_file(FILE* file, int io_flags) {
    if (inside) {
        return real_read_file(file, io_flags);
    }
    const Inside scope;
    faiss::FileIOReader reader(file);
    return faiss_vlc::read_index(&reader, io_flags);
}

faiss::Index* plug_read_reader(faiss::IOReader* reader, int io_flags) {
    if (inside) {
        return real_read_reader(reader, io_flags);
    }
    const Inside scope;
    return faiss_vlc::read_index(reader, io_flags);
}

void plug_write_path(const faiss::Index* index, const char* path WRITE_REST) {
    if (!is_ours(index)) {
        real_write_path(index, path WRITE_ARGUMENT);
        return;
    }
    const Inside scope;
    faiss_vlc::write_index(index, path);
}

void plug_write_file(const faiss::Index* index, FILE* file WRITE_REST) {
    if (!is_ours(index)) {
        real_write_file(index, file WRITE_ARGUMENT);
        return;
    }
    const Inside scope;
    faiss::FileIOWriter writer(file);
    faiss_vlc::write_index(index, &writer);
}

void plug_write_writer(const faiss::Index* index, faiss::IOWriter* writer WRITE_REST) {
    if (!is_ours(index)) {
        real_write_writer(index, writer WRITE_ARGUMENT);
        return;
    }
    const Inside scope;
    faiss_vlc::write_index(index, writer);
}

faiss::Index* plug_clone_index(const faiss::Index* index) {
    if (!is_ours(index)) {
        return real_clone_index(index);
    }
    const Inside scope;
    return faiss_vlc::clone_index(index);
}
