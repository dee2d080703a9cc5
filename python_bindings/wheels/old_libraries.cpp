// A wheel that was compiled here is to run with older C and C++ libraries, from glibc 2.28 and GCC
// 8's libstdc++ on (x86-64). Headers and linker would bind some functions to versions that those
// lack; here they are for our extension alone, made of what those have. auditwheel checks that none
// is missing.

#include <new>

#if defined(__x86_64__) && defined(__GLIBC__)

#define OURS extern "C" __attribute__((visibility("hidden")))
#define OLD(name, version, function)                     \
    __asm__(".symver " #name "," #function "@" version); \
    extern "C"

// Since 2.34 they are in libc itself and have its version; before, Python had loaded their
// libraries.

OLD(old_dlopen, "GLIBC_2.2.5", dlopen) void* old_dlopen(const char* file, int mode);
OURS void* dlopen(const char* file, int mode) {
    return old_dlopen(file, mode);
}

OLD(old_dlsym, "GLIBC_2.2.5", dlsym) void* old_dlsym(void* library, const char* name);
OURS void* dlsym(void* library, const char* name) {
    return old_dlsym(library, name);
}

OLD(old_dladdr, "GLIBC_2.2.5", dladdr) int old_dladdr(const void* address, void* found);
OURS int dladdr(const void* address, void* found) {
    return old_dladdr(address, found);
}

OLD(old_once, "GLIBC_2.2.5", pthread_once) int old_once(int* control, void (*function)());
OURS int pthread_once(int* control, void (*function)()) {
    return old_once(control, function);
}

// Before 2.33 they were inline calls of these, whose first argument is the version of struct stat.

struct stat;
OLD(old_stat, "GLIBC_2.2.5", __xstat)
int old_stat(int version, const char* path, struct stat* found);
OURS int stat(const char* path, struct stat* found) {
    return old_stat(1, path, found);
}

OLD(old_lstat, "GLIBC_2.2.5", __lxstat)
int old_lstat(int version, const char* path, struct stat* found);
OURS int lstat(const char* path, struct stat* found) {
    return old_lstat(1, path, found);
}

OLD(old_fstat, "GLIBC_2.2.5", __fxstat) int old_fstat(int version, int file, struct stat* found);
OURS int fstat(int file, struct stat* found) {
    return old_fstat(1, file, found);
}

// Since 2.32 libstdc++'s headers ask whether there is one thread only. No is always right.
OURS char __libc_single_threaded;
char __libc_single_threaded = 0;

// Since GCC 11 parts of std::exception_ptr are inline, and call these for the rest. Its copy
// constructor and its destructor, which change the count of uses, have always been in the library;
// an exception_ptr is one pointer.

extern "C" void
copy_exception(void** to,
               void* const* from) __asm__("_ZNSt15__exception_ptr13exception_ptrC1ERKS0_");
extern "C" void
destroy_exception(void** pointer) __asm__("_ZNSt15__exception_ptr13exception_ptrD1Ev");

OURS void
add_use(void* const* pointer) __asm__("_ZNSt15__exception_ptr13exception_ptr9_M_addrefEv");
void add_use(void* const* pointer) {
    void* copy;
    copy_exception(&copy, pointer);
}

OURS void drop_use(void** pointer) __asm__("_ZNSt15__exception_ptr13exception_ptr10_M_releaseEv");
void drop_use(void** pointer) {
    void* last = *pointer;
    *pointer = nullptr;
    destroy_exception(&last);
}

OURS void throw_length() __asm__("_ZSt28__throw_bad_array_new_lengthv");
void throw_length() {
    throw std::bad_array_new_length();
}

#endif
