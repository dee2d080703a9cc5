#pragma once

#include <memory>

#include <faiss_vlc/IndexVLC.h>
#include <faiss_vlc/container/format.h>

namespace faiss_vlc {

/// An index from its sections; all checksums are compared and all contents validated, so that a
/// damaged or hostile payload throws, naming section and fault. It copies what it keeps. Reading a
/// payload and making an index of it never has more than 256 KiB and 16 times the payload's size
/// allocated, whatever the payload says (tests/storage/load_memory_test.cpp).
std::unique_ptr<IndexVLC> load_index(Payload payload);

/// The same, but ids and codes stay where they are, unread, kept by the payload's owner: a mapped
/// file. Their checksums are not compared (SectionReader::verify_all does), so ids may be any; the
/// time does not depend on them unless the index was saved with a direct map.
std::unique_ptr<IndexVLC> borrow_index(Payload payload);

/// The same of second codes alone; all else is copied and compared. Without a second tier this is
/// load_index().
std::unique_ptr<IndexVLC> borrow_seconds(Payload payload);

} // namespace faiss_vlc
