#include <faiss_vlc/container/atomic_file.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <system_error>

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <faiss_vlc/lib/error.h>

namespace faiss_vlc {

namespace {

constexpr size_t kBufferSize = 1 << 18;
constexpr int kNameAttempts = 100;

std::string error_text(int error) {
    return std::system_category().message(error);
}

/// realpath, or an empty string with errno set.
std::string resolve(const std::string& path) {
    const std::unique_ptr<char, decltype(&free)> resolved(realpath(path.c_str(), nullptr), free);
    return resolved ? std::string(resolved.get()) : std::string();
}

std::string folder_of(const std::string& path) {
    const size_t slash = path.rfind('/');
    return slash == std::string::npos ? "." : path.substr(0, slash + 1);
}

std::string name_of(const std::string& path) {
    const size_t slash = path.rfind('/');
    return slash == std::string::npos ? path : path.substr(slash + 1);
}

uint64_t unpredictable_number() {
    uint64_t number;
    while (getrandom(&number, sizeof number, 0) != ssize_t(sizeof number)) {
        if (errno != EINTR) {
            fail("cannot draw a random file name: %s", error_text(errno).c_str());
        }
    }
    return number;
}

} // namespace

AtomicFile::AtomicFile(const std::string& path) : path_(path) {
    const std::string name = name_of(path);
    if (name.empty() || name == "." || name == "..") {
        fail("cannot write '%s': expected the name of a file", path.c_str());
    }
    struct stat old = {};
    const bool exists = stat(path.c_str(), &old) == 0;
    if (exists) {
        if (S_ISDIR(old.st_mode)) {
            fail("cannot write '%s': expected the name of a file, it is a folder", path.c_str());
        }
        if (!S_ISREG(old.st_mode)) {
            fail("cannot write '%s': it exists and is not a regular file", path.c_str());
        }
        // A rename needs no permission on the file it replaces, but a read-only file is meant so.
        if (access(path.c_str(), W_OK) != 0) {
            fail("cannot write '%s': %s", path.c_str(), error_text(errno).c_str());
        }
        target_ = resolve(path);
        if (target_.empty()) {
            fail("cannot write '%s': %s", path.c_str(), error_text(errno).c_str());
        }
    } else {
        if (errno != ENOENT) {
            fail("cannot write '%s': %s", path.c_str(), error_text(errno).c_str());
        }
        struct stat link = {};
        if (lstat(path.c_str(), &link) == 0) {
            fail("cannot write '%s': it is a symbolic link to a file that does not exist",
                 path.c_str());
        }
        const std::string folder = resolve(folder_of(path));
        if (folder.empty()) {
            fail("cannot write '%s': its folder: %s", path.c_str(), error_text(errno).c_str());
        }
        target_ = (folder == "/" ? "" : folder) + "/" + name;
    }
    buffer_.reserve(kBufferSize);

    // Not mkstemp: its mode is always 0600, and the umask cannot be read without changing it for
    // the whole process. open() applies the umask (and default ACLs) itself.
    const mode_t mode = exists ? 0600 : 0666;
    for (int attempt = 0; fd_ < 0; attempt++) {
        char suffix[32];
        snprintf(suffix, sizeof suffix, ".%016llx.tmp",
                 static_cast<unsigned long long>(unpredictable_number()));
        // Cut, so that a long target name leaves room for the suffix.
        temporary_ = folder_of(target_) + "." + name_of(target_).substr(0, 200) + suffix;
        fd_ = open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
        if (fd_ < 0 && errno != EINTR && (errno != EEXIST || attempt >= kNameAttempts)) {
            fail("cannot write '%s': cannot create a temporary file beside it: %s", path.c_str(),
                 error_text(errno).c_str());
        }
    }
    if (exists && fchmod(fd_, old.st_mode & 0777) != 0) {
        const int error = errno;
        discard(); // the destructor does not run after a throwing constructor
        fail("cannot write '%s': permissions: %s", path.c_str(), error_text(error).c_str());
    }
}

AtomicFile::~AtomicFile() {
    discard();
}

void AtomicFile::discard() noexcept {
    if (fd_ >= 0) {
        close(fd_);
        fd_ = -1;
    }
    if (!temporary_.empty()) {
        unlink(temporary_.c_str());
        temporary_.clear();
    }
}

void AtomicFile::require_open(const char* action) const {
    if (state_ != State::open) {
        fail("cannot %s '%s': %s", action, path_.c_str(),
             state_ == State::committed ? "it is already complete" : "an earlier write failed");
    }
}

void AtomicFile::fail_with_errno(const char* action, int error) {
    state_ = State::failed;
    discard(); // gives the space back at once: a full disk is the likely reason
    fail("cannot write '%s': %s: %s", path_.c_str(), action, error_text(error).c_str());
}

void AtomicFile::write(const void* data, size_t size) {
    require_open("write");
    const char* bytes = static_cast<const char*>(data);
    if (size > kBufferSize - buffer_.size()) {
        flush();
    }
    if (size >= kBufferSize) {
        write_out(bytes, size);
    } else if (size > 0) {
        buffer_.insert(buffer_.end(), bytes, bytes + size);
    }
    size_ += size;
}

void AtomicFile::flush() {
    write_out(buffer_.data(), buffer_.size());
    buffer_.clear();
}

void AtomicFile::write_out(const char* data, size_t size) {
    while (size > 0) {
        const ssize_t written = ::write(fd_, data, std::min(size, size_t(1) << 30));
        if (written < 0) {
            if (errno != EINTR) {
                fail_with_errno("write", errno);
            }
        } else if (written == 0) {
            fail_with_errno("write", EIO); // not defined for regular files; would loop for ever
        } else {
            data += written;
            size -= size_t(written);
        }
    }
}

void AtomicFile::commit() {
    require_open("complete");
    flush();
    while (fsync(fd_) != 0) {
        if (errno != EINTR) {
            fail_with_errno("fsync", errno);
        }
    }
    // close() can report a late write error (NFS, quotas); the descriptor is gone either way.
    const int fd = fd_;
    fd_ = -1;
    if (close(fd) != 0 && errno != EINTR) {
        fail_with_errno("close", errno);
    }
    if (rename(temporary_.c_str(), target_.c_str()) != 0) {
        fail_with_errno("rename", errno);
    }
    temporary_.clear();
    state_ = State::committed;

    // Without this the rename itself may be lost in a power cut.
    const int folder = open(folder_of(target_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) {
        return; // a folder may be writable and not readable; then there is nothing to sync through
    }
    int error = 0;
    while (fsync(folder) != 0) {
        if (errno != EINTR) {
            error = errno;
            break;
        }
    }
    close(folder);
    // EINVAL and the like: this file system does not sync folders.
    if (error == EIO || error == ENOSPC || error == EDQUOT) {
        fail("'%s' is written, but its folder's fsync failed (it may not survive a power cut): %s",
             path_.c_str(), error_text(error).c_str());
    }
}

} // namespace faiss_vlc
