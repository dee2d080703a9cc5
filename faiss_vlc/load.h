#pragma once

#include <memory>

#include <faiss_vlc/IndexVLC.h>
#include <faiss_vlc/format.h>

namespace faiss_vlc {

/// An index from its sections; all checksums are compared and all contents validated, so that a
/// damaged or hostile payload throws, naming section and fault. It copies what it keeps.
std::unique_ptr<IndexVLC> load_index(Payload payload);

} // namespace faiss_vlc
