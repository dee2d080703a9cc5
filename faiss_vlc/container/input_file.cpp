#include <faiss_vlc/container/input_file.h>

#include <cerrno>
#include <cinttypes>
#include <cstring>
#include <mutex>
#include <new>
#include <set>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace faiss_vlc {

InputFile::InputFile(const std::string& path) : path_(path) {
    // O_NONBLOCK: opening a named pipe must fail below, not wait for its writer.
    do {
        fd_ = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    } while (fd_ < 0 && errno == EINTR);
    if (fd_ < 0) {
        fail("%s: cannot open: %s", path.c_str(), strerror(errno));
    }
    struct stat info {};
    std::string fault;
    if (fstat(fd_, &info) != 0) {
        fault = strerror(errno);
    } else if (S_ISDIR(info.st_mode)) {
        fault = "it is a folder";
    } else if (!S_ISREG(info.st_mode)) {
        fault = "it is not a regular file but a pipe or a device";
    } else if (info.st_size == 0) {
        fault = "it is empty";
    }
    if (!fault.empty()) {
        close(fd_);
        fail("%s: cannot read: %s", path.c_str(), fault.c_str());
    }
    size_ = info.st_size;
}

InputFile::~InputFile() {
    close(fd_);
}

void InputFile::read_at(uint64_t offset, void* out, uint64_t size) const {
    uint8_t* data = static_cast<uint8_t*>(out);
    while (size > 0) {
        const ssize_t got = pread(fd_, data, size, off_t(offset));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            fail("%s: cannot read at byte %" PRIu64 ": %s", path_.c_str(), offset, strerror(errno));
        }
        if (got == 0) {
            fail("%s: truncated while it was read: expected %" PRIu64 " bytes more at byte %" PRIu64
                 ", the file ends there",
                 path_.c_str(), size, offset);
        }
        data += got;
        offset += uint64_t(got);
        size -= uint64_t(got);
    }
}

void AlignedBuffer::Free::operator()(uint8_t* data) const {
    operator delete[](data, std::align_val_t(kBufferAlignment));
}

AlignedBuffer::AlignedBuffer(uint64_t size)
    : data_(static_cast<uint8_t*>(operator new[](size, std::align_val_t(kBufferAlignment)))),
      size_(size) {}

namespace {

/// Device and inode of what is mapped. Never destroyed: mappings may outlive other static objects.
std::multiset<std::pair<uint64_t, uint64_t>>& mappings() {
    static auto* files = new std::multiset<std::pair<uint64_t, uint64_t>>;
    return *files;
}

std::mutex& mappings_lock() {
    static auto* lock = new std::mutex;
    return *lock;
}

void forget(const std::pair<uint64_t, uint64_t>& key) {
    const std::lock_guard<std::mutex> lock(mappings_lock());
    mappings().erase(mappings().find(key));
}

} // namespace

MappedFile::MappedFile(const std::string& path) {
    const InputFile file(path);
    // Zeros first, the file over them: a page of zeros is left behind it.
    const uint64_t page = uint64_t(sysconf(_SC_PAGESIZE));
    const uint64_t size = checked_add(file.size(), page - 1, "size of a mapping") / page * page;
    const uint64_t whole = checked_add(size, page, "size of a mapping");
    struct stat info {};
    if (fstat(file.fd(), &info) == 0) {
        key_ = {uint64_t(info.st_dev), uint64_t(info.st_ino)};
    }
    {
        const std::lock_guard<std::mutex> lock(mappings_lock());
        mappings().insert(key_);
    }
    void* data = mmap(nullptr, whole, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data != MAP_FAILED &&
        mmap(data, file.size(), PROT_READ, MAP_SHARED | MAP_FIXED, file.fd(), 0) == MAP_FAILED) {
        const int error = errno;
        munmap(data, whole);
        errno = error;
        data = MAP_FAILED;
    }
    if (data == MAP_FAILED) {
        const int error = errno;
        forget(key_);
        errno = error;
        fail("%s: cannot map %" PRIu64 " bytes: %s", path.c_str(), file.size(), strerror(errno));
    }
    bytes_ = {static_cast<const uint8_t*>(data), file.size()};
    mapped_ = whole;
}

bool is_mapped(uint64_t device, uint64_t inode) {
    const std::lock_guard<std::mutex> lock(mappings_lock());
    return mappings().count({device, inode}) > 0;
}

MappedFile::~MappedFile() {
    forget(key_);
    munmap(const_cast<uint8_t*>(bytes_.data), mapped_);
}

} // namespace faiss_vlc
