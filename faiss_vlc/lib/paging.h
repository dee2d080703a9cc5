#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>
#include <vector>

/// Pages of memory and of mapped files: hints to the system, which may be refused without harm.
namespace faiss_vlc {

/// Starts to read what is not in memory, and does not wait for it.
void will_need(const void* data, size_t bytes);

/// Pages that lie wholly in here are read here and there: a touch reads one, not its neighbours.
void read_at_random(const void* data, size_t bytes);

/// Pages that lie wholly in here leave this process until they are touched again. Only for what a
/// file backs.
void leave_pages(const void* data, size_t bytes);

/// Memory in one piece, not initialised, for much that is read here and there. It lies in large
/// pages where the system has them: then fewer addresses have to be looked up. No more memory is
/// taken for them, so what is smaller than a large page lies in small ones.
class OnePiece {
public:
    explicit OnePiece(size_t bytes);
    uint8_t* data() const { return data_.get(); }
    size_t size() const { return size_; }

private:
    struct Free {
        std::align_val_t alignment;
        void operator()(uint8_t* data) const;
    };
    std::unique_ptr<uint8_t[], Free> data_;
    size_t size_;
};

/// Whether what is read of a part of a file has to be waited for, as far as the last visits tell.
/// For all threads.
class Residence {
public:
    Residence() = default;
    Residence(const Residence&) {} ///< a copy learns by itself
    Residence& operator=(const Residence&) { return *this; }

    /// At first, and until many visits in a row have missed nothing.
    bool is_missing() const { return __atomic_load_n(&calm_, __ATOMIC_RELAXED) < kCalm; }
    void note(bool missed);

private:
    static constexpr int kCalm = 16; ///< visits
    int calm_ = 0;
};

/// What a search is going to read of a mapped file, requested before it touches the first byte: the
/// device then reads many pages at once, where every touch would wait for one. Where the last
/// visits missed nothing there are no requests, since each is a system call; then a visit's faults
/// are counted now and then. A visit lasts as long as this object, and stays in its thread.
class PageRequests {
public:
    /// Null: nothing lies in a file.
    explicit PageRequests(Residence* residence) : residence_(residence) {
        if (residence) {
            begin();
        }
    }
    ~PageRequests() {
        if (counts_) {
            end();
        }
    }
    PageRequests(const PageRequests&) = delete;
    PageRequests& operator=(const PageRequests&) = delete;

    /// Whether it is worth to add any.
    bool are_wanted() const { return wanted_; }
    void add(const void* data, size_t bytes);
    /// Requests what was added, by address, each page once.
    void send();

private:
    Residence* residence_;
    bool wanted_ = false;
    bool counts_ = false; ///< the thread's faults
    long faults_ = 0;
    std::vector<std::pair<uintptr_t, uintptr_t>> ranges_; ///< of pages' addresses, end beyond

    void begin();
    void end();
    bool misses_some() const;
};

} // namespace faiss_vlc
