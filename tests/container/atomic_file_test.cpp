#include <csignal>
#include <cstdio>
#include <functional>
#include <memory>
#include <thread>

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <faiss_vlc/container/atomic_file.h>

#include <tests/vectors/vector_file_test.h>

namespace {

using faiss_vlc::AtomicFile;
using Names = std::vector<std::string>;

class AtomicFileTest : public FileTest {
protected:
    mode_t mode_of(const std::string& name) const {
        struct stat status = {};
        EXPECT_EQ(stat(path(name).c_str(), &status), 0);
        return status.st_mode & 07777;
    }

    static void make_socket(const std::string& name) {
        struct sockaddr_un address = {};
        address.sun_family = AF_UNIX;
        ASSERT_LT(name.size(), sizeof address.sun_path);
        name.copy(address.sun_path, name.size());
        const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        ASSERT_EQ(bind(fd, reinterpret_cast<struct sockaddr*>(&address), sizeof address), 0);
        close(fd);
    }

    /// Runs in a process of its own, which may mount and give up rights; its exit status.
    static int in_child(const std::function<int()>& body) {
        const pid_t child = fork();
        if (child == 0) {
            int status = 99;
            try {
                status = body();
            } catch (const std::exception& error) {
                fprintf(stderr, "%s\n", error.what());
            }
            _exit(status);
        }
        int status = 0;
        EXPECT_EQ(waitpid(child, &status, 0), child);
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    }

    void write_whole(const std::string& target, const std::string& bytes) {
        AtomicFile file(target);
        file.write(bytes.data(), bytes.size());
        file.commit();
    }
};

TEST_F(AtomicFileTest, appears_only_on_commit) {
    AtomicFile file(path("a"));
    EXPECT_EQ(file.path(), path("a"));
    file.write("abc", 3);
    file.write("", 0);
    file.write("de", 2);
    EXPECT_EQ(file.size(), 5u);
    ASSERT_EQ(names().size(), 1u) << "the temporary lies beside the target";
    EXPECT_NE(names()[0], "a");
    file.commit();
    EXPECT_EQ(names(), Names{"a"});
    EXPECT_EQ(bytes_of("a"), "abcde");
    EXPECT_FAULT(file.write("x", 1), "already complete");
    EXPECT_FAULT(file.commit(), "already complete");
}

TEST_F(AtomicFileTest, empty_file) {
    write_whole(path("a"), "");
    EXPECT_EQ(names(), Names{"a"});
    EXPECT_EQ(bytes_of("a"), "");
}

TEST_F(AtomicFileTest, pieces_of_every_size_keep_their_order) {
    std::string all;
    AtomicFile file(path("a"));
    for (size_t size : {1, 7, 262143, 262144, 1, 262145, 100000, 200000, 3, 1000000, 262140, 5}) {
        std::string piece(size, '\0');
        for (char& c : piece) {
            c = char(all.size() * 31 + size_t(&c - piece.data()) % 251);
        }
        file.write(piece.data(), piece.size());
        all += piece;
        EXPECT_EQ(file.size(), all.size());
    }
    file.commit();
    EXPECT_TRUE(bytes_of("a") == all);
}

TEST_F(AtomicFileTest, without_commit_nothing_is_left_and_the_old_file_stays) {
    make("a", "old");
    {
        AtomicFile replaced(path("a"));
        AtomicFile fresh(path("b"));
        const std::string bytes(1 << 20, 'x');
        replaced.write(bytes.data(), bytes.size());
        fresh.write(bytes.data(), bytes.size());
    }
    EXPECT_EQ(names(), Names{"a"});
    EXPECT_EQ(bytes_of("a"), "old");
}

TEST_F(AtomicFileTest, new_files_follow_the_umask_and_old_ones_keep_their_mode) {
    const mode_t before = umask(027);
    write_whole(path("new"), "1");
    make("old", "0");
    chmod(path("old").c_str(), 0604);
    write_whole(path("old"), "1");
    umask(before);
    EXPECT_EQ(mode_of("new"), mode_t(0640));
    EXPECT_EQ(mode_of("old"), mode_t(0604));
    EXPECT_EQ(bytes_of("old"), "1");
}

TEST_F(AtomicFileTest, a_symbolic_link_stays_one) {
    std::filesystem::create_directory(path("elsewhere"));
    make("elsewhere/target", "old");
    std::filesystem::create_symlink("elsewhere/target", path("link"));
    write_whole(path("link"), "new");
    EXPECT_TRUE(std::filesystem::is_symlink(path("link")));
    EXPECT_EQ(bytes_of("elsewhere/target"), "new");
    std::filesystem::create_symlink("nowhere", path("dangling"));
    EXPECT_FAULT(AtomicFile(path("dangling")), "dangling", "symbolic link");
}

TEST_F(AtomicFileTest, relative_path_survives_chdir) {
    const std::filesystem::path before = std::filesystem::current_path();
    std::filesystem::current_path(folder_);
    {
        AtomicFile file("a");
        file.write("x", 1);
        std::filesystem::current_path("/");
        file.commit();
        AtomicFile abandoned(path("b"));
    }
    std::filesystem::current_path(before);
    EXPECT_EQ(names(), Names{"a"});
}

TEST_F(AtomicFileTest, longest_name_the_file_system_takes) {
    const std::string name(255, 'n');
    write_whole(path(name), "x");
    EXPECT_EQ(names(), Names{name});
    EXPECT_FAULT(AtomicFile(path(name + "n")), "cannot write");
}

TEST_F(AtomicFileTest, targets_that_cannot_be) {
    std::filesystem::create_directory(path("folder"));
    ASSERT_EQ(mkfifo(path("pipe").c_str(), 0600), 0);
    make("file", "x");
    const Names before = names();
    EXPECT_FAULT(AtomicFile(""), "expected the name of a file");
    EXPECT_FAULT(AtomicFile(path("folder")), path("folder"), "folder");
    EXPECT_FAULT(AtomicFile(path("folder/")), "expected the name of a file");
    EXPECT_FAULT(AtomicFile(path("folder/..")), "expected the name of a file");
    EXPECT_FAULT(AtomicFile(path("missing/a")), path("missing/a"), "No such file");
    EXPECT_FAULT(AtomicFile(path("file/a")), path("file/a"), "Not a directory");
    EXPECT_FAULT(AtomicFile("/dev/fd/9999"), "not open for writing");
    make_socket(path("socket"));
    EXPECT_FAULT(AtomicFile(path("socket")), "block device or a socket");
    std::filesystem::remove(path("socket"));
    EXPECT_EQ(names(), before);
    if (geteuid() != 0) { // root may write anything
        chmod(path("file").c_str(), 0400);
        EXPECT_FAULT(AtomicFile(path("file")), "Permission denied");
    }
}

TEST_F(AtomicFileTest, pipes_take_the_bytes_as_they_come) {
    ASSERT_EQ(mkfifo(path("pipe").c_str(), 0600), 0);
    { const AtomicFile probe(path("pipe")); } // opens nothing: would wait for a reader
    const std::string all(1 << 20, 'x');
    for (const std::string& bytes : {all, std::string()}) {
        std::string met;
        std::thread reader([&] {
            std::ifstream pipe(path("pipe"), std::ios::binary);
            met.assign(std::istreambuf_iterator<char>(pipe), {});
        });
        write_whole(path("pipe"), bytes);
        reader.join();
        EXPECT_TRUE(met == bytes);
        EXPECT_EQ(names(), Names{"pipe"}) << "no temporary, and still a pipe";
    }
}

TEST_F(AtomicFileTest, devices_take_the_bytes) {
    testing::internal::CaptureStderr();
    write_whole("/dev/null", std::string(1 << 20, 'x'));
    std::filesystem::create_symlink("/dev/null", path("link"));
    write_whole(path("link"), "x");
    EXPECT_EQ(testing::internal::GetCapturedStderr(), "") << "there is nothing to say";
    AtomicFile full("/dev/full");
    full.write("x", 1);
    EXPECT_FAULT(full.commit(), "/dev/full", "No space left");
    EXPECT_FAULT(full.write("x", 1), "an earlier write failed");
}

TEST_F(AtomicFileTest, descriptors_are_written_where_they_stand) {
    const int fd = open(path("a").c_str(), O_RDWR | O_CREAT, 0600);
    ASSERT_EQ(write(fd, "head ", 5), 5);
    for (const char* folder : {"/dev/fd/", "/proc/self/fd/"}) {
        write_whole(folder + std::to_string(fd), "body ");
    }
    ASSERT_EQ(write(fd, "tail", 4), 4) << "the descriptor is still open";
    close(fd);
    EXPECT_EQ(bytes_of("a"), "head body body tail");
    EXPECT_EQ(names(), Names{"a"});
    const int only_read = open(path("a").c_str(), O_RDONLY);
    EXPECT_FAULT(AtomicFile("/dev/fd/" + std::to_string(only_read)), "not open for writing");
    close(only_read);
    EXPECT_EQ(faiss_vlc::descriptor_of("/dev/stdout"), 1);
    EXPECT_EQ(faiss_vlc::descriptor_of("/dev/stderr"), 2);
    for (const char* name : {"/dev/fd/", "/dev/fd/x", "/dev/fd/1x", "stdout", "/dev/null", ""}) {
        EXPECT_EQ(faiss_vlc::descriptor_of(name), -1) << name;
    }
}

// A writable file in a folder that takes no new ones, by a user who may not do everything.
TEST_F(AtomicFileTest, a_file_in_a_locked_folder_is_written_in_place) {
    std::filesystem::create_directory(path("locked"));
    make("locked/a", std::string(500000, 'o'));
    chmod(folder_.c_str(), 0755);
    chmod(path("locked/a").c_str(), 0666);
    chmod(path("locked").c_str(), 0555);
    const std::string longer(1 << 20, 'n'), shorter(1000, 's');
    const auto write_them = [&](const std::string& bytes, bool commit) {
        return in_child([&] {
            if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) {
                return 77;
            }
            AtomicFile file(path("locked/a"));
            file.write(bytes.data(), bytes.size());
            if (commit) {
                file.commit();
            }
            return 0;
        });
    };
    struct stat before = {}, after = {};
    ASSERT_EQ(stat(path("locked/a").c_str(), &before), 0);
    testing::internal::CaptureStderr();
    const int status = write_them(longer, false);
    EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
    if (status == 77) {
        GTEST_SKIP() << "cannot become another user";
    }
    EXPECT_EQ(status, 0);
    EXPECT_TRUE(bytes_of("locked/a") == std::string(500000, 'o')) << "nothing is touched before";
    for (const std::string& bytes : {longer, shorter}) {
        testing::internal::CaptureStderr();
        EXPECT_EQ(write_them(bytes, true), 0);
        const std::string said = testing::internal::GetCapturedStderr();
        EXPECT_NE(said.find("in place, which is not atomic"), std::string::npos) << said;
        EXPECT_TRUE(bytes_of("locked/a") == bytes);
    }
    ASSERT_EQ(stat(path("locked/a").c_str(), &after), 0);
    EXPECT_EQ(before.st_ino, after.st_ino);
    chmod(path("locked").c_str(), 0755);
}

// As in a container: a file that is mounted by itself cannot be renamed over.
TEST_F(AtomicFileTest, a_mounted_file_is_written_in_place) {
    make("outside", "old");
    make("inside", "");
    testing::internal::CaptureStderr();
    const int status = in_child([&] {
        if ((unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) ||
            mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
            mount(path("outside").c_str(), path("inside").c_str(), nullptr, MS_BIND, nullptr) !=
                    0) {
            return 77;
        }
        write_whole(path("inside"), "new");
        return bytes_of("inside") == "new" ? 0 : 1;
    });
    const std::string said = testing::internal::GetCapturedStderr();
    if (status == 77) {
        GTEST_SKIP() << "no right to mount a file";
    }
    EXPECT_EQ(status, 0) << said;
    EXPECT_NE(said.find("in place, which is not atomic"), std::string::npos) << said;
    EXPECT_EQ(bytes_of("outside"), "new");
    EXPECT_EQ(names(), (Names{"inside", "outside"}));
}

TEST_F(AtomicFileTest, a_full_disk_is_an_error_that_leaves_the_old_file) {
    make("a", "old");
    struct rlimit before = {};
    ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
    const auto handler = std::signal(SIGXFSZ, SIG_IGN); // write() then fails with EFBIG
    struct rlimit small = before;
    small.rlim_cur = 300000;
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
    std::string in_write, after, in_commit;
    Names left;
    {
        AtomicFile file(path("a"));
        const std::string bytes(1 << 20, 'x');
        in_write = error_of([&] { file.write(bytes.data(), bytes.size()); }); // a short write first
        left = names();
        after = error_of([&] { file.commit(); });
        AtomicFile buffered(path("b"));
        buffered.write(bytes.data(), 200000);
        buffered.write(bytes.data(), 200000);
        in_commit = error_of([&] { buffered.commit(); });
    }
    setrlimit(RLIMIT_FSIZE, &before);
    std::signal(SIGXFSZ, handler);
    EXPECT_NE(in_write.find("File too large"), std::string::npos) << in_write;
    EXPECT_EQ(left, Names{"a"}) << "the space is given back at once";
    EXPECT_NE(after.find("an earlier write failed"), std::string::npos) << after;
    EXPECT_NE(in_commit.find("File too large"), std::string::npos) << in_commit;
    EXPECT_EQ(names(), Names{"a"});
    EXPECT_EQ(bytes_of("a"), "old");
}

TEST_F(AtomicFileTest, writers_of_one_target_at_once_leave_one_whole_file) {
    std::vector<std::thread> threads;
    for (char letter : std::string("abcd")) {
        threads.emplace_back([this, letter] {
            for (int i = 0; i < 20; i++) {
                write_whole(path("a"), std::string(50000, letter));
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    EXPECT_EQ(names(), Names{"a"});
    const std::string bytes = bytes_of("a");
    ASSERT_EQ(bytes.size(), 50000u);
    EXPECT_EQ(bytes, std::string(50000, bytes[0]));
}

} // namespace
