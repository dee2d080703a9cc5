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
/// the old one's permission bits, or those of the umask if there was none. Targets that the caller
/// may not write are refused.
///
/// A file that may be written but not replaced (its folder takes no new file, or it is a mount
/// point) is written in place, with a note on stderr, as that is not atomic. The temporary then
/// lies beside it or, failing that, in the folder for temporary files (TMPDIR, else /tmp). It is
/// whole before the old contents are touched, and room for all of it is reserved first. If copying
/// fails half way all the same, the temporary stays and the error names it. Writing in place is
/// refused while this process has the file mapped.
///
/// Pipes, character devices and the descriptors /dev/stdout, /dev/stderr, /dev/fd/<n> and
/// /proc/self/fd/<n> take the bytes as they come. There is nothing to lose, and no way back.
///
/// Every error is a faiss::FaissException that names the target; after one in write() or commit()
/// the object accepts nothing more and the target keeps its old contents (a message that says
/// otherwise is the exception: the folder's fsync can fail after the rename).
/// One thread at a time; different objects are independent, also on the same target (the last
/// commit wins).
class AtomicFile {
public:
    /// Creates the temporary, so a missing folder fails here. Pipes and devices are opened by the
    /// first bytes that go out.
    explicit AtomicFile(const std::string& path);
    ~AtomicFile();
    AtomicFile(const AtomicFile&) = delete;
    AtomicFile& operator=(const AtomicFile&) = delete;

    /// Appends `size` bytes. Small pieces are gathered, so many short calls are fine.
    void write(const void* data, size_t size);

    /// fsync, rename (or copying in place), fsync of the folder. Nothing can be written afterwards.
    void commit();

    /// The path as given.
    const std::string& path() const { return path_; }

    /// Bytes written so far, i.e. the offset of the next one.
    uint64_t size() const { return size_; }

private:
    enum class State { open, failed, committed };
    /// temporary: to be renamed; in_place: to be copied; stream: no temporary, bytes go straight
    /// out
    enum class Way { temporary, in_place, stream };

    bool open_stream();
    void find_target();
    bool create_temporary(const std::string& folder, bool exists);
    void create_temporary(bool exists);
    void commit_in_place(const std::string& why);
    void copy_temporary(int from, int to, uint64_t old_size);
    void sync_folder() const;
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
    Way way_ = Way::temporary;
};

/// n if the path is one of the names of the descriptor n (/dev/stdout, /dev/stderr, /dev/fd/<n>,
/// /proc/self/fd/<n>), else -1.
int descriptor_of(const std::string& path);

} // namespace faiss_vlc
