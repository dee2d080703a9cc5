#include <faiss_vlc/lib/interrupt.h>

#include <string>

#include <faiss/impl/AuxIndexStructures.h>

namespace faiss_vlc {

namespace {

constexpr char kText[] = "computation interrupted"; // FAISS's

} // namespace

Interrupted::Interrupted() : FaissException(kText) {}

Interrupted::~Interrupted() = default;

void check_interrupt() {
    if (faiss::InterruptCallback::is_interrupted()) {
        throw Interrupted();
    }
}

bool is_interruption(const faiss::FaissException& error) {
    return dynamic_cast<const Interrupted*>(&error) || error.msg.find(kText) != std::string::npos;
}

} // namespace faiss_vlc
