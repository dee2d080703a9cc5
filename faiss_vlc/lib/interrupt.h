#pragma once

#include <faiss/impl/FaissException.h>

namespace faiss_vlc {

/// Thrown where the caller's faiss::InterruptCallback wants a computation to end: no fault of a
/// device's or a file's.
class Interrupted : public faiss::FaissException {
public:
    Interrupted();
    ~Interrupted() override;
};

/// Throws Interrupted if the callback wants it. It may report an interrupt only once (Python's
/// does), so whoever catches Interrupted must not ask again. Not for several threads at a time.
void check_interrupt();

/// Whether this error is such a wish: an Interrupted, or what FAISS's own functions throw then,
/// which only its text tells from other errors.
bool is_interruption(const faiss::FaissException& error);

} // namespace faiss_vlc
