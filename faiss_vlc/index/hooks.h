#pragma once

namespace faiss_vlc {

/// IndexVLC calls this before it makes an index, so that FAISS can write it. index_io.h declares it
/// for users. Its body is in interop, a room above, which knows how files are made: that one call
/// goes up, so that a program linked with the static library gets interop along with IndexVLC.
void register_hooks();

} // namespace faiss_vlc
