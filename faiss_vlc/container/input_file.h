#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include <faiss_vlc/container/byte_io.h>

/// Files as bytes in memory, read or mapped.
namespace faiss_vlc {

constexpr uint64_t kBufferAlignment = 64;

/// Memory whose start is aligned to kBufferAlignment; contents are not initialised.
class AlignedBuffer {
public:
    explicit AlignedBuffer(uint64_t size);
    uint8_t* data() const { return data_.get(); }
    uint64_t size() const { return size_; }

private:
    struct Free {
        void operator()(uint8_t* data) const;
    };
    std::unique_ptr<uint8_t[], Free> data_;
    uint64_t size_;
};

/// A regular file mapped read-only and shared with other processes. Its size is taken at opening:
/// a file that is cut shorter *in place* while it is mapped kills the process with SIGBUS when the
/// lost pages are touched. Saving never does that, because it renames a new file over the old one.
/// At least 64 bytes behind the file are readable, too.
class MappedFile {
public:
    explicit MappedFile(const std::string& path);
    ~MappedFile();
    MappedFile(const MappedFile&) = delete;
    MappedFile& operator=(const MappedFile&) = delete;
    ByteSpan bytes() const { return bytes_; }

private:
    ByteSpan bytes_;
    uint64_t mapped_ = 0;
    std::pair<uint64_t, uint64_t> key_; ///< device and inode
};

/// Does a MappedFile of this process hold the file with this device and inode number?
bool is_mapped(uint64_t device, uint64_t inode);

/// A regular file open for reading. Folders, named pipes, devices and empty files are refused.
class InputFile {
public:
    explicit InputFile(const std::string& path);
    ~InputFile();
    InputFile(const InputFile&) = delete;
    InputFile& operator=(const InputFile&) = delete;

    /// All of them, or an error.
    void read_at(uint64_t offset, void* out, uint64_t size) const;

    /// At opening.
    uint64_t size() const { return size_; }
    int fd() const { return fd_; }
    const std::string& path() const { return path_; }

private:
    std::string path_;
    uint64_t size_ = 0;
    int fd_ = -1;
};

} // namespace faiss_vlc
