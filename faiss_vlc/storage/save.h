#pragma once

#include <faiss_vlc/IndexVLC.h>
#include <faiss_vlc/container/format.h>

namespace faiss_vlc {

/// The sections of an index, see docs/FORMAT.md. The writer borrows from the index, which must not
/// change until its last write(). Memory: the small sections; codes and ids are written from the
/// lists. FAISS's container keeps the direct map itself.
SectionWriter index_sections(const IndexVLC& index, bool with_direct_map = true);
/// The same from trained lists alone, where stock FAISS writes and shows nothing else.
SectionWriter lists_sections(const VLCInvertedLists& lists);

/// Writes an index in its own format, atomically: whoever opens the path meanwhile, or after a
/// crash, finds the old file or the new one.
void save_index(const IndexVLC& index, const std::string& path);

} // namespace faiss_vlc
