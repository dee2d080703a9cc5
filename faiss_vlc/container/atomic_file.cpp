#include <faiss_vlc/container/atomic_file.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <system_error>

#include <fcntl.h>
#include <poll.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <faiss_vlc/container/input_file.h>
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

/// Errors by which a folder says that it takes no new file, or that one stays as it is.
bool forbids(int error) {
    return error == EACCES || error == EPERM || error == EROFS;
}

/// Returns 0 or the error.
int write_all(int fd, const char* data, size_t size) {
    while (size > 0) {
        const ssize_t written = ::write(fd, data, std::min(size, size_t(1) << 30));
        if (written < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) { // somebody's own pipe
            struct pollfd wait = {fd, POLLOUT, 0};
            poll(&wait, 1, -1);
        } else if (written < 0) {
            if (errno != EINTR) {
                return errno;
            }
        } else if (written == 0) {
            return EIO; // not defined for regular files; would loop for ever
        } else {
            data += written;
            size -= size_t(written);
        }
    }
    return 0;
}

} // namespace

AtomicFile::AtomicFile(const std::string& path) : path_(path) {
    buffer_.reserve(kBufferSize);
    if (open_stream()) {
        way_ = Way::stream;
        return;
    }
    find_target();
    struct stat old = {};
    const bool exists = stat(target_.c_str(), &old) == 0;
    create_temporary(exists);
    // A temporary in a folder for all stays the caller's own.
    if (exists && way_ == Way::temporary && fchmod(fd_, old.st_mode & 0777) != 0) {
        const int error = errno;
        discard(); // the destructor does not run after a throwing constructor
        fail("cannot write '%s': permissions: %s", path.c_str(), error_text(error).c_str());
    }
}

/// Is the target a stream? Only descriptors are opened yet: a pipe's reader must not see a writer
/// that never writes.
bool AtomicFile::open_stream() {
    const int descriptor = descriptor_of(path_);
    if (descriptor >= 0) {
        const int flags = fcntl(descriptor, F_GETFL);
        if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY) {
            fail("cannot write '%s': it is not open for writing", path_.c_str());
        }
        // Not opened anew: that would begin at the start of a file, and fails for sockets.
        fd_ = fcntl(descriptor, F_DUPFD_CLOEXEC, 3);
        if (fd_ < 0) {
            fail("cannot write '%s': %s", path_.c_str(), error_text(errno).c_str());
        }
        return true;
    }
    struct stat status = {};
    if (stat(path_.c_str(), &status) != 0 ||
        !(S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode))) {
        return false;
    }
    if (access(path_.c_str(), W_OK) != 0) {
        fail("cannot write '%s': %s", path_.c_str(), error_text(errno).c_str());
    }
    return true;
}

void AtomicFile::find_target() {
    const std::string name = name_of(path_);
    const char* path = path_.c_str();
    if (name.empty() || name == "." || name == "..") {
        fail("cannot write '%s': expected the name of a file", path);
    }
    struct stat old = {};
    if (stat(path, &old) == 0) {
        if (S_ISDIR(old.st_mode)) {
            fail("cannot write '%s': expected the name of a file, it is a folder", path);
        }
        if (!S_ISREG(old.st_mode)) {
            fail("cannot write '%s': it exists and is a block device or a socket", path);
        }
        // A rename needs no permission on the file it replaces, but a read-only file is meant so.
        if (access(path, W_OK) != 0) {
            fail("cannot write '%s': %s", path, error_text(errno).c_str());
        }
        target_ = resolve(path_);
        if (target_.empty()) {
            fail("cannot write '%s': %s", path, error_text(errno).c_str());
        }
        return;
    }
    if (errno != ENOENT) {
        fail("cannot write '%s': %s", path, error_text(errno).c_str());
    }
    struct stat link = {};
    if (lstat(path, &link) == 0) {
        fail("cannot write '%s': it is a symbolic link to a file that does not exist", path);
    }
    const std::string folder = resolve(folder_of(path_));
    if (folder.empty()) {
        fail("cannot write '%s': its folder: %s", path, error_text(errno).c_str());
    }
    target_ = (folder == "/" ? "" : folder) + "/" + name;
}

/// False with errno set if the folder takes no file.
bool AtomicFile::create_temporary(const std::string& folder, bool exists) {
    // Not mkstemp: its mode is always 0600, and the umask cannot be read without changing it for
    // the whole process. open() applies the umask (and default ACLs) itself.
    const mode_t mode = exists ? 0600 : 0666;
    for (int attempt = 0;; attempt++) {
        char suffix[32];
        snprintf(suffix, sizeof suffix, ".%016llx.tmp",
                 static_cast<unsigned long long>(unpredictable_number()));
        // Cut, so that a long target name leaves room for the suffix.
        temporary_ = folder + "." + name_of(target_).substr(0, 200) + suffix;
        fd_ = open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
        if (fd_ >= 0) {
            return true;
        }
        if (errno != EINTR && (errno != EEXIST || attempt >= kNameAttempts)) {
            temporary_.clear();
            return false;
        }
    }
}

void AtomicFile::create_temporary(bool exists) {
    if (create_temporary(folder_of(target_), exists)) {
        return;
    }
    const int error = errno;
    if (exists && forbids(error)) {
        const char* named = std::getenv("TMPDIR");
        const std::string folder = named && *named ? named : "/tmp";
        if (create_temporary(folder + "/", exists)) {
            way_ = Way::in_place;
            return;
        }
    }
    fail("cannot write '%s': cannot create a temporary file beside it: %s", path_.c_str(),
         error_text(error).c_str());
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
    if (way_ == Way::stream && fd_ < 0) {
        do { // waits for a pipe's reader, as every program does
            fd_ = open(path_.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY);
        } while (fd_ < 0 && errno == EINTR);
        if (fd_ < 0) {
            fail_with_errno("open", errno);
        }
    }
    const int error = write_all(fd_, data, size);
    if (error != 0) {
        fail_with_errno("write", error);
    }
}

void AtomicFile::commit() {
    require_open("complete");
    flush();
    while (way_ != Way::stream && fsync(fd_) != 0) {
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
    if (way_ == Way::in_place) {
        commit_in_place("its folder takes no new file");
    } else if (way_ == Way::temporary && rename(temporary_.c_str(), target_.c_str()) != 0) {
        const int error = errno;
        struct stat old = {};
        if (!(error == EBUSY || forbids(error)) || stat(target_.c_str(), &old) != 0) {
            fail_with_errno("rename", error);
        }
        commit_in_place("it cannot be replaced: " + error_text(error));
    }
    temporary_.clear();
    state_ = State::committed;
    if (way_ == Way::temporary) {
        sync_folder();
    }
}

void AtomicFile::commit_in_place(const std::string& why) {
    way_ = Way::in_place;
    const int from = open(temporary_.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    const int to = from < 0 ? -1 : open(target_.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    int error = errno;
    struct stat old = {};
    const auto give_up = [&](const char* action) {
        if (from >= 0) {
            close(from);
        }
        if (to >= 0) {
            close(to);
        }
        fail_with_errno(action, error); // nothing has been touched
    };
    if (to < 0 || fstat(to, &old) != 0) {
        give_up("open");
    }
    if (is_mapped(uint64_t(old.st_dev), uint64_t(old.st_ino))) {
        error = EBUSY;
        give_up("it would be written in place, and an index of this process has it mapped");
    }
    fprintf(stderr, "faiss-vlc: writing '%s' in place, which is not atomic: %s\n", path_.c_str(),
            why.c_str());
    if (size_ > uint64_t(old.st_size)) { // a full disk is found before the old contents are lost
        error = posix_fallocate(to, 0, off_t(size_));
        if (error == ENOSPC || error == EDQUOT || error == EFBIG || error == EIO) {
            if (ftruncate(to, old.st_size) != 0) {
                error = errno;
            }
            give_up("reserving room");
        }
    }
    copy_temporary(from, to, uint64_t(old.st_size));
    unlink(temporary_.c_str());
}

/// Closes both.
void AtomicFile::copy_temporary(int from, int to, uint64_t old_size) {
    int error = 0;
    uint64_t copied = 0;
    while (error == 0 && copied < size_) {
        buffer_.resize(kBufferSize);
        const ssize_t got = read(from, buffer_.data(), buffer_.size());
        if (got < 0 && errno == EINTR) {
            continue;
        }
        error = got < 0 ? errno : got == 0 ? EIO : write_all(to, buffer_.data(), size_t(got));
        copied += uint64_t(std::max<ssize_t>(got, 0));
    }
    if (error == 0 && old_size > size_ && ftruncate(to, off_t(size_)) != 0) {
        error = errno;
    }
    while (error == 0 && fsync(to) != 0) {
        error = errno == EINTR ? 0 : errno;
    }
    close(from);
    if (close(to) != 0 && errno != EINTR && error == 0) {
        error = errno;
    }
    if (error != 0) {
        const std::string whole = temporary_;
        temporary_.clear(); // stays: it is all that there is
        state_ = State::failed;
        fail("cannot write '%s' in place: %s. It is damaged now; what it should hold is in '%s'",
             path_.c_str(), error_text(error).c_str(), whole.c_str());
    }
}

/// Without this the rename itself may be lost in a power cut.
void AtomicFile::sync_folder() const {
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

int descriptor_of(const std::string& path) {
    if (path == "/dev/stdout" || path == "/dev/stderr") {
        return path == "/dev/stdout" ? STDOUT_FILENO : STDERR_FILENO;
    }
    for (const std::string prefix : {"/dev/fd/", "/proc/self/fd/"}) {
        const std::string number = path.substr(std::min(path.size(), prefix.size()));
        if (path.compare(0, prefix.size(), prefix) == 0 && !number.empty() && number.size() < 8 &&
            number.find_first_not_of("0123456789") == std::string::npos) {
            return atoi(number.c_str());
        }
    }
    return -1;
}

} // namespace faiss_vlc
