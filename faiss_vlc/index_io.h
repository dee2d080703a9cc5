#pragma once

#include <faiss/Index.h>

namespace faiss {
struct IOReader;
struct IOWriter;
} // namespace faiss

namespace faiss_vlc {

/// For read_index, beside FAISS's flags, none of which has this bit: of a file of our own format
/// only the second tier of codes stays in the file.
constexpr int IO_FLAG_MMAP_SECOND = 1 << 28;

/// faiss::write_index and read_index that know IndexVLC.
///
/// An IndexVLC by itself is written in its own format (docs/FORMAT.md). Any other index, also one
/// that has an IndexVLC inside (IndexPreTransform, IndexIDMap, IndexRefine, ...), goes into FAISS's
/// container, where the IndexVLC is an IndexIVFFlat with inverted lists `ilVC` that carry the same
/// bytes. Files are replaced atomically. Reading tells the formats apart by their first bytes.
/// The caller owns what read_index returns.
///
/// With faiss::IO_FLAG_MMAP a file of our own format is mapped: ids and codes are read when they
/// are needed, straight from the page cache that all processes share, and opening takes the same
/// time for any number of vectors (save one with a direct map, which is made anew). A list that is
/// added to, removed from or updated is copied into memory first; the file never changes.
/// Everything but ids and codes has its checksum compared; `vlc verify` and a plain read_index
/// compare all. While an index is mapped its file may be replaced or removed, but not be changed or
/// cut in place (SIGBUS). FAISS's own containers are mapped as FAISS maps them, and streams are
/// read.
///
/// With IO_FLAG_MMAP_SECOND all but the second tier of codes is read into memory and compared: for
/// sets larger than memory. A search reads the second codes of the vectors that it refines, and
/// requests all of a query's or a group's at once; what is said above of mapped lists holds for
/// them. A file without a second tier is just read. With both flags everything is mapped.
///
/// Lengths that FAISS would believe are checked first, so that a damaged container does not make it
/// allocate much more than the file's size (bounded_reader.h), where the reader is a file or a
/// VectorIOReader; of pipes and other readers the size is unknown. What else is wrong in parts that
/// are not ours is FAISS's to find.
///
/// Flags mean what they do to FAISS. Those of writing are for the other indexes of a tree; before
/// FAISS 1.9, which has none, they are an error.
void write_index(const faiss::Index* index, const char* path, int io_flags = 0);
void write_index(const faiss::Index* index, faiss::IOWriter* writer, int io_flags = 0);
faiss::Index* read_index(const char* path, int io_flags = 0);
faiss::Index* read_index(faiss::IOReader* reader, int io_flags = 0);

/// Turns what faiss::read_index made of an IndexVLC (an IndexIVFFlat over decoded lists), anywhere
/// in a tree, into the IndexVLC that was saved. Takes ownership of `index` and returns its
/// replacement (the same pointer where the root stays). Members that the tree does not own are left
/// to their owner. Throws if the container contradicts the payload, or if a tree's parts don't fit
/// together (an id that an IndexIDMap has no entry for); then `index` is deleted.
faiss::Index* upgrade(faiss::Index* index);

/// Lets faiss::write_index and faiss::read_index handle IndexVLC's lists; what these read is
/// searched by plain decoding until upgrade(). Called by everything here and by IndexVLC; a program
/// that only reads through FAISS calls it once. Thread-safe, but FAISS's own reading is not while
/// it registers.
void register_hooks();

} // namespace faiss_vlc
