// LD_PRELOAD: the dynamic linker finds these functions before FAISS's of the same names. They need
// nothing of FAISS, so that they don't disturb what has none (a shell that the program starts) and
// can say what is wrong where it has another version. The first call that may be about a VLC loads
// libfaiss_vlc_plug.so, which lies beside this library.

#include <dlfcn.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#include <faiss_vlc/faiss_version.h>
#include <faiss_vlc/interop/auto/plugged.h>

extern "C" void* faiss_vlc_next(const char* symbol) {
    void* found = dlsym(RTLD_NEXT, symbol);
    if (!found) {
        throw std::runtime_error(
                "faiss_vlc_preload, made for FAISS " + faiss_vlc::compiled_faiss() + ", expected " +
                symbol + " in the libfaiss that this program loads: another version, or none");
    }
    return found;
}

namespace {

std::atomic<bool> is_loaded{false};

void* load() {
    const std::string mismatch = faiss_vlc::faiss_mismatch();
    if (!mismatch.empty()) {
        throw std::runtime_error(mismatch);
    }
    Dl_info self;
    if (!dladdr(reinterpret_cast<void*>(&faiss_vlc_next), &self)) {
        throw std::runtime_error("faiss_vlc_preload: expected to find out where it lies itself");
    }
    std::string path = self.dli_fname;
    path = path.substr(0, path.rfind('/') + 1) + "libfaiss_vlc_plug.so";
    void* plug = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!plug) {
        throw std::runtime_error(std::string("faiss_vlc_preload: ") + dlerror());
    }
    is_loaded = true;
    return plug;
}

/// Calls ours where an index may be a VLC, and FAISS's otherwise.
template <class Function, class... Arguments>
auto call(const char* ours, const char* symbol, bool may_be_vlc, Arguments... arguments) {
    if (!may_be_vlc && !is_loaded) {
        return reinterpret_cast<Function*>(faiss_vlc_next(symbol))(arguments...);
    }
    static void* const plug = load();
    return reinterpret_cast<Function*>(dlsym(plug, ours))(arguments...);
}

} // namespace

#define PLUGGED(name, type, ...) type preload_##name(__VA_ARGS__) asm(FAISS_VLC_SYMBOL_##name);
FAISS_VLC_EACH_PLUGGED(PLUGGED)
#define CALL(name, may_be_vlc, ...)                                                              \
    call<decltype(preload_##name)>("faiss_vlc_plug_" #name, FAISS_VLC_SYMBOL_##name, may_be_vlc, \
                                   __VA_ARGS__)

faiss::Index* preload_index_factory(int d, const char* description,
                                    faiss::MetricType metric FACTORY_REST) {
    const char* for_ivfpq = std::getenv("VLC_FOR_IVFPQ"); // whose value the plug checks
    const bool names_it =
            description && (std::strstr(description, "VLC") ||
                            (for_ivfpq && *for_ivfpq && std::strstr(description, "IVF")));
    return CALL(index_factory, names_it, d, description, metric FACTORY_ARGUMENT);
}

// What is read may be one, what is written or copied only if one was made before.

faiss::Index* preload_read_path(const char* path, int io_flags) {
    return CALL(read_path, true, path, io_flags);
}

faiss::Index* preload_read_file(FILE* file, int io_flags) {
    return CALL(read_file, true, file, io_flags);
}

faiss::Index* preload_read_reader(faiss::IOReader* reader, int io_flags) {
    return CALL(read_reader, true, reader, io_flags);
}

void preload_write_path(const faiss::Index* index, const char* path WRITE_REST) {
    CALL(write_path, false, index, path WRITE_ARGUMENT);
}

void preload_write_file(const faiss::Index* index, FILE* file WRITE_REST) {
    CALL(write_file, false, index, file WRITE_ARGUMENT);
}

void preload_write_writer(const faiss::Index* index, faiss::IOWriter* writer WRITE_REST) {
    CALL(write_writer, false, index, writer WRITE_ARGUMENT);
}

faiss::Index* preload_clone_index(const faiss::Index* index) {
    return CALL(clone_index, false, index);
}
