#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace faiss_vlc {

/// Writes a file that appears under its name whole or not at all. Bytes go to a temporary file in
/// the same folder; commit() makes them durable and renames the temporary over the target, whose
/// old contents stay untouched until then. Destruction without commit() removes the temporary.
///
/// A symbolic link is followed: the file it names is replaced, not the link. The new file takes
/// the old one's permission bits, or those of the umask if there was none. Targets that are not
/// regular files, or that the caller may not write, are refused.
///
/// Every error is a faiss::FaissException that names the target; after one in write() or commit()
/// the object accepts nothing more and the target keeps its old contents (a message that says
/// otherwise is the exception: the folder's fsync can fail after the rename).
/// One thread at a time; different objects are independent, also on the same target (the last
/// commit wins).
class AtomicFile {
public:
    /// Creates the temporary, so a missing or read-only folder fails here.
    explicit AtomicFile(const std::string& path);
    ~AtomicFile();
    AtomicFile(const AtomicFile&) = delete;
    AtomicFile& operator=(const AtomicFile&) = delete;

    /// Appends `size` bytes. Small pieces are gathered, so many short calls are fine.
    void write(const void* data, size_t size);

    /// fsync, rename, fsync of the folder. Nothing can be written afterwards.
    void commit();

    /// The path as given.
    const std::string& path() const { return path_; }

    /// Bytes written so far, i.e. the offset of the next one.
    uint64_t size() const { return size_; }

private:
    enum class State { open, failed, committed };

    void require_open(const char* action) const;
    void flush();
    void write_out(const char* data, size_t size);
    [[noreturn]] void fail_with_errno(const char* action, int error);
    void discard() noexcept;

    std::string path_;
    std::string target_; // absolute, links resolved: a later chdir does not matter
    std::string temporary_;
    std::vector<char> buffer_;
    uint64_t size_ = 0;
    int fd_ = -1;
    State state_ = State::open;
};

} // namespace faiss_vlc
