// Saving while the system fails: interrupted and short writes, full disks, folders that cannot be
// written. The old file stays and nothing else does.

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <faiss/index_io.h>

#include <tests/support/index_test.h>

namespace {

/// What the calls below do to descriptors of regular files.
struct Faults {
    bool interrupt = false; ///< every second call says EINTR first
    bool shorten = false;   ///< a write takes at most 1000 bytes
    int write_at = 0;       ///< countdown to a failing write, fsync, rename
    int fsync_at = 0;
    int rename_at = 0;
    int error = EIO;
    long calls = 0, interrupted = 0, shortened = 0;
} faults;

bool is_file(int fd) {
    struct stat info {};
    return fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
}

bool interrupted() {
    if (faults.interrupt && faults.calls++ % 2 == 0) {
        faults.interrupted++;
        errno = EINTR;
        return true;
    }
    return false;
}

bool fails(int& countdown) {
    if (countdown > 0 && --countdown == 0) {
        errno = faults.error;
        return true;
    }
    return false;
}

} // namespace

// These stand in for libc's in this executable.
extern "C" {
ssize_t write(int fd, const void* data, size_t size) {
    if (is_file(fd)) {
        if (interrupted() || fails(faults.write_at)) {
            return -1;
        }
        if (faults.shorten && size > 1000) {
            faults.shortened++;
            size = 1000;
        }
    }
    return syscall(SYS_write, fd, data, size);
}
int fsync(int fd) {
    if (is_file(fd) && (interrupted() || fails(faults.fsync_at))) {
        return -1;
    }
    return int(syscall(SYS_fsync, fd));
}
int rename(const char* from, const char* to) noexcept {
    return fails(faults.rename_at) ? -1 : int(syscall(SYS_rename, from, to));
}
}

namespace {

namespace fs = std::filesystem;
constexpr int kDim = 16;

class WriteFaults : public testing::Test {
protected:
    void SetUp() override {
        std::string name = (fs::temp_directory_path() / "vlc-faults-XXXXXX").string();
        ASSERT_NE(mkdtemp(name.data()), nullptr);
        folder_ = name;
        index_.train(2000, x_.data());
        index_.add(2000, x_.data());
        faults = Faults();
    }
    void TearDown() override {
        faults = Faults();
        fs::remove_all(folder_);
    }
    std::string path(const char* name = "x") const { return (folder_ / name).string(); }
    size_t files() const {
        return size_t(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
    }
    static Bytes bytes_of(const std::string& path) {
        std::ifstream file(path, std::ios::binary);
        return Bytes(std::istreambuf_iterator<char>(file), {});
    }
    /// Saves both kinds of file with the faults set; the old file must survive, alone.
    void expect_failures(const std::string& part) {
        const Faults wanted = faults;
        faults = Faults();
        const IndexPtr tree = filled_tree(kDim, "IDMap,VLC8x4", x_);
        for (const faiss::Index* index :
             std::initializer_list<const faiss::Index*>{&index_, tree.get()}) {
            faults = Faults();
            std::ofstream(path("old")) << "old";
            faults = wanted;
            EXPECT_TRUE(throws([&] { faiss_vlc::write_index(index, path("old").c_str()); }, part));
            faults = wanted;
            EXPECT_TRUE(throws([&] { faiss_vlc::write_index(index, path("new").c_str()); }, part));
            faults = Faults();
            EXPECT_EQ(files(), 1u);
            EXPECT_EQ(bytes_of(path("old")), (Bytes{'o', 'l', 'd'}));
        }
    }

    const std::vector<float> x_ = clustered(2000, kDim, 12, 1);
    faiss_vlc::IndexVLC index_{kDim, quick(9, 16)};
    fs::path folder_;
};

} // namespace

TEST_F(WriteFaults, InterruptedAndShortWritesGoOn) {
    const Bytes whole = written(index_);
    for (int kind = 1; kind < 4; kind++) {
        faults = Faults();
        faults.interrupt = kind & 1;
        faults.shorten = kind & 2;
        faiss_vlc::write_index(&index_, path().c_str());
        EXPECT_EQ(faults.interrupted > 0, faults.interrupt);
        EXPECT_EQ(faults.shortened > 10, faults.shorten);
        EXPECT_EQ(bytes_of(path()), whole);
        EXPECT_EQ(files(), 1u);
    }
}

TEST_F(WriteFaults, FailingCallsLeaveTheOldFile) {
    for (const int error : {EIO, ENOSPC, EDQUOT}) {
        const std::string text = std::strerror(error);
        faults.error = error;
        faults.write_at = 1;
        expect_failures(text);
        faults.error = error;
        faults.fsync_at = 1;
        expect_failures(text);
        faults.error = error;
        faults.rename_at = 1;
        expect_failures(text);
    }
    // half way through many small writes
    faults.error = ENOSPC;
    faults.shorten = true;
    faults.write_at = 20;
    expect_failures("No space left");
}

// A file that cannot be renamed over is written in place. What fails before its old contents are
// touched leaves them; what fails afterwards leaves the new ones in the temporary.
TEST_F(WriteFaults, WritingInPlace) {
    const Bytes whole = written(index_);
    std::ofstream(path("old")) << "old";
    faults.rename_at = 1;
    faults.error = EBUSY;
    testing::internal::CaptureStderr();
    faiss_vlc::write_index(&index_, path("old").c_str());
    EXPECT_NE(testing::internal::GetCapturedStderr().find("in place"), std::string::npos);
    EXPECT_EQ(bytes_of(path("old")), whole);
    EXPECT_EQ(files(), 1u);

    // an index that is mapped from the very file would lose its bytes
    std::unique_ptr<faiss::Index> mapped(
            faiss_vlc::read_index(path("old").c_str(), faiss::IO_FLAG_MMAP));
    faults.rename_at = 1;
    faults.error = EBUSY;
    EXPECT_TRUE(throws([&] { faiss_vlc::write_index(&index_, path("old").c_str()); }, "mapped"));
    EXPECT_EQ(bytes_of(path("old")), whole);
    EXPECT_EQ(files(), 1u);
    mapped.reset();
    std::ofstream(path("old")) << "old";

    faults = Faults();
    faults.rename_at = 1;
    faults.error = EBUSY;
    faults.shorten = true;
    long writes = long(whole.size()) / 1000 + 2; // of the temporary; then come those of the copy
    faults.write_at = int(writes);
    testing::internal::CaptureStderr();
    EXPECT_TRUE(throws([&] { faiss_vlc::write_index(&index_, path("old").c_str()); },
                       "what it should hold is in"));
    testing::internal::GetCapturedStderr();
    ASSERT_EQ(files(), 2u);
    for (const auto& entry : fs::directory_iterator(folder_)) {
        if (entry.path().extension() == ".tmp") {
            EXPECT_EQ(bytes_of(entry.path().string()), whole);
        }
    }
}

TEST_F(WriteFaults, AFullFileSystem) {
    // In a process and a mount namespace of its own, so that nobody else sees the small disk.
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        const bool mounted =
                (unshare(CLONE_NEWNS) == 0 || unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0) &&
                mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                mount("tmpfs", folder_.c_str(), "tmpfs", 0, "size=32k") == 0;
        if (!mounted) {
            _exit(77);
        }
        std::ofstream(path("old")) << "old";
        const bool thrown =
                bool(throws([&] { faiss_vlc::write_index(&index_, path("old").c_str()); },
                            "No space left")) &&
                bool(throws([&] { faiss_vlc::write_index(&index_, path("new").c_str()); },
                            "No space left"));
        _exit(thrown && files() == 1 && bytes_of(path("old")).size() == 3 ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) {
        GTEST_SKIP() << "no right to mount a file system";
    }
    EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(WriteFaults, FoldersAndFilesWithoutPermission) {
    fs::create_directory(path("locked"));
    std::ofstream(path("locked/old")) << "old";
    std::ofstream(path("read-only")) << "old";
    fs::permissions(path("read-only"), fs::perms::owner_read);
    fs::permissions(path("locked/old"), fs::perms::owner_read);
    fs::permissions(path("locked"), fs::perms::owner_read | fs::perms::owner_exec);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) { // root may write everywhere
        if (getuid() == 0 &&
            (chmod(folder_.c_str(), 0777) != 0 || chmod(path("locked").c_str(), 0555) != 0 ||
             setgid(65534) != 0 || setuid(65534) != 0)) {
            _exit(2);
        }
        const auto refused = [&](const char* name) {
            return bool(throws([&] { faiss_vlc::write_index(&index_, path(name).c_str()); },
                               "ermission"));
        };
        _exit(refused("locked/old") && refused("locked/new") && refused("read-only") ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
    fs::permissions(path("locked"), fs::perms::owner_all);
    EXPECT_EQ(bytes_of(path("locked/old")).size(), 3u);
    EXPECT_EQ(bytes_of(path("read-only")).size(), 3u);
    EXPECT_EQ(files(), 2u);
}
