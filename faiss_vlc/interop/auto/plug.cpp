// Stands in for FAISS's functions in a program that knows nothing of VLC. Compiled twice: for the
// linker, whose --wrap sends calls of a function here and __real_ to FAISS, and for preload.cpp,
// which loads it when it is needed.
//
// Our own functions call FAISS's, which may lead here again: then the call is for FAISS.

#include <cstdio>

#include <faiss/Index.h>
#include <faiss/clone_index.h>
#include <faiss/impl/io.h>
#include <faiss/index_factory.h>
#include <faiss/index_io.h>

#include <faiss_vlc/clone.h>
#include <faiss_vlc/factory.h>
#include <faiss_vlc/index_io.h>
#include <faiss_vlc/interop/auto/plugged.h>
#include <faiss_vlc/interop/tree.h>

// Each is plug_name, which takes the place of FAISS's function, and real_name, which is that
// function.
#ifdef FAISS_VLC_PRELOAD
extern "C" void* faiss_vlc_next(const char* symbol); // preload.cpp
#define PLUGGED(name, type, ...)                                                                  \
    type plug_##name(__VA_ARGS__) asm("faiss_vlc_plug_" #name);                                   \
    template <class... Arguments>                                                                 \
    type real_##name(Arguments... arguments) {                                                    \
        static auto* const function =                                                             \
                reinterpret_cast<type (*)(__VA_ARGS__)>(faiss_vlc_next(FAISS_VLC_SYMBOL_##name)); \
        return function(arguments...);                                                            \
    }
#else
#define PLUGGED(name, type, ...)                                          \
    type plug_##name(__VA_ARGS__) asm("__wrap_" FAISS_VLC_SYMBOL_##name); \
    type real_##name(__VA_ARGS__) asm("__real_" FAISS_VLC_SYMBOL_##name);
#endif
FAISS_VLC_EACH_PLUGGED(PLUGGED)

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

faiss::Index* plug_index_factory(int d, const char* description,
                                 faiss::MetricType metric FACTORY_REST) {
    if (inside || !description || !faiss_vlc::names_vlc(description)) {
        return real_index_factory(d, description, metric FACTORY_ARGUMENT);
    }
    const Inside scope;
    return faiss_vlc::index_factory(d, description, metric, OWN_INVLISTS);
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
    faiss_vlc::write_index(index, path WRITE_ARGUMENT);
}

void plug_write_file(const faiss::Index* index, FILE* file WRITE_REST) {
    if (!is_ours(index)) {
        real_write_file(index, file WRITE_ARGUMENT);
        return;
    }
    const Inside scope;
    faiss::FileIOWriter writer(file);
    faiss_vlc::write_index(index, &writer WRITE_ARGUMENT);
}

void plug_write_writer(const faiss::Index* index, faiss::IOWriter* writer WRITE_REST) {
    if (!is_ours(index)) {
        real_write_writer(index, writer WRITE_ARGUMENT);
        return;
    }
    const Inside scope;
    faiss_vlc::write_index(index, writer WRITE_ARGUMENT);
}

faiss::Index* plug_clone_index(const faiss::Index* index) {
    if (!is_ours(index)) {
        return real_clone_index(index);
    }
    const Inside scope;
    return faiss_vlc::clone_index(index);
}
