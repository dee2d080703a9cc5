// Requests of a mapped file's pages, and when they stop.

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <faiss_vlc/lib/paging.h>

using namespace faiss_vlc;

namespace {

constexpr size_t kPages = 4096;

/// A file of 4096 pages, mapped.
class Paging : public testing::Test {
protected:
    void SetUp() override {
        page_ = size_t(sysconf(_SC_PAGESIZE));
        std::string name = (std::filesystem::temp_directory_path() / "vlc-paging-XXXXXX").string();
        fd_ = mkstemp(name.data());
        ASSERT_GE(fd_, 0);
        unlink(name.c_str());
        const std::vector<char> bytes(page_, 'x');
        for (size_t i = 0; i < kPages; i++) {
            ASSERT_EQ(write(fd_, bytes.data(), page_), ssize_t(page_));
        }
        ASSERT_EQ(fsync(fd_), 0);
        void* data = mmap(nullptr, kPages * page_, PROT_READ, MAP_SHARED, fd_, 0);
        ASSERT_NE(data, MAP_FAILED);
        data_ = static_cast<const char*>(data);
        read_at_random(data_, kPages * page_);
    }
    void TearDown() override {
        munmap(const_cast<char*>(data_), kPages * page_);
        close(fd_);
    }
    /// Whether all pages could be sent out of memory: on some file systems they stay.
    bool drop() {
        leave_pages(data_, kPages * page_);
        posix_fadvise(fd_, 0, 0, POSIX_FADV_DONTNEED);
        return count_resident() == 0;
    }
    bool is_resident(size_t page) const {
        unsigned char there = 0;
        EXPECT_EQ(mincore(const_cast<char*>(data_) + page * page_, page_, &there), 0);
        return there & 1;
    }
    size_t count_resident() const {
        std::vector<unsigned char> there(kPages);
        EXPECT_EQ(mincore(const_cast<char*>(data_), kPages * page_, there.data()), 0);
        return size_t(std::count_if(there.begin(), there.end(), [](auto v) { return v & 1; }));
    }
    const char* at(size_t page) const { return data_ + page * page_; }
    char touch(size_t page) const { return *const_cast<volatile const char*>(at(page) + 100); }

    size_t page_ = 0;
    int fd_ = -1;
    const char* data_ = nullptr;
};

} // namespace

TEST_F(Paging, RequestedPagesComeAndOthersDont) {
    if (!drop()) {
        GTEST_SKIP() << "pages of this file system stay in memory";
    }
    Residence residence;
    PageRequests requests(&residence);
    ASSERT_TRUE(requests.are_wanted());
    for (size_t i = 100; i > 0; i--) {
        requests.add(at(i * 40) + 100, 50);
        requests.add(at(i * 40) + 300, 50);   // the same page
        requests.add(at(i * 40 + 20) - 1, 2); // two pages
    }
    requests.send();
    for (size_t i = 1; i <= 100; i++) {
        bool there = false;
        for (int tries = 0; tries < 5000 && !there; tries++) {
            there = is_resident(i * 40) && is_resident(i * 40 + 20) && is_resident(i * 40 + 19);
            if (!there) {
                usleep(1000);
            }
        }
        EXPECT_TRUE(there) << i;
    }
    EXPECT_EQ(count_resident(), 300u); // not their neighbours
    touch(5);
    EXPECT_EQ(count_resident(), 301u);
}

TEST_F(Paging, LargePiecesAreReadWhole) {
    if (!drop()) {
        GTEST_SKIP() << "pages of this file system stay in memory";
    }
    will_need(at(10) + 5, 2000 * page_);
    size_t resident = 0;
    for (int tries = 0; tries < 5000 && resident < 2001; tries++) {
        usleep(1000);
        resident = count_resident();
    }
    EXPECT_EQ(resident, 2001u);
}

TEST_F(Paging, RequestsEndWhereNothingIsMissed) {
    for (size_t i = 0; i < kPages; i++) {
        touch(i);
    }
    Residence residence;
    int visits = 0;
    for (; visits < 1000 && PageRequests(&residence).are_wanted(); visits++) {
        PageRequests requests(&residence);
        requests.add(at(size_t(visits)), 10);
        requests.send();
    }
    EXPECT_GE(visits, 2);
    EXPECT_LE(visits, 64);
    EXPECT_TRUE(PageRequests(nullptr).are_wanted() == false);
    const Residence copy(residence);
    EXPECT_TRUE(copy.is_missing()); // it learns by itself

    // Pages that have gone are noticed by visits that wait for them.
    if (!drop()) {
        GTEST_SKIP() << "pages of this file system stay in memory";
    }
    for (visits = 0; visits < 100 && !residence.is_missing(); visits++) {
        PageRequests requests(&residence);
        for (size_t i = 0; i < 8; i++) {
            touch(size_t(visits) * 16 + i * 2 + 1000);
        }
    }
    EXPECT_LE(visits, 8);
}

TEST_F(Paging, OddRangesAreHarmless) {
    will_need(at(3), 0);
    read_at_random(at(3) + 1, 5);
    leave_pages(at(3) + 1, 5);
    will_need(nullptr, 0);
    Residence residence;
    PageRequests requests(&residence);
    requests.add(at(7), 0);
    requests.send();
    requests.add(reinterpret_cast<const char*>(uintptr_t(1) << 46), 100); // nothing is there
    requests.send();
    EXPECT_EQ(touch(3), 'x');
}
