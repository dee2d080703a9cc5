#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <vector>

namespace faiss_vlc {

/// The processes that train one index together, each with vectors of its own. MPI calls them ranks;
/// here only this struct does, as lists have ranks, too. All make the same calls in the same order.
/// One that fails outside of together() leaves the others waiting, and whoever started them is to
/// end them, as mpiexec does.
struct Ranks {
    int rank = 0;
    int count = 1;
    /// Adds up the n values of all processes, in place, as MPI_Allreduce does. Not needed by one.
    std::function<void(int64_t* values, int64_t n)> all_reduce;

    void check() const;

    void sum(int64_t* values, int64_t n) const;
    /// Each byte is 0 but in one process: then all have it.
    void gather(void* bytes, size_t size) const;
    /// What each process gives, in order.
    std::vector<int64_t> each(int64_t own) const;
    /// Throws everywhere unless all give the same.
    void require_same(uint64_t value, const char* what) const;
    /// Runs something that may fail here: then it fails everywhere.
    template <class Body>
    void together(Body body) const {
        std::exception_ptr error;
        try {
            body();
        } catch (...) {
            error = std::current_exception();
        }
        settle(error);
    }

private:
    void settle(const std::exception_ptr& error) const;
};

} // namespace faiss_vlc
