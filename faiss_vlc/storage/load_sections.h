#pragma once

#include <cstdint>
#include <memory>

#include <faiss_vlc/container/format.h>
#include <faiss_vlc/model/model.h>
#include <faiss_vlc/storage/head.h>

namespace faiss_vlc {

/// A model from its sections. Each function that takes a reader reads a whole section into what the
/// model has of it, and checks every value. They throw faiss::FaissException naming file, section,
/// what was expected and what was met.

void expect(bool ok, const ByteReader& reader, const char* name, double met, const char* expected);
float finite(ByteReader& reader, const char* name);

/// load_model.cpp: all of them, in the order that they need each other.
std::shared_ptr<Model> read_model(const SectionReader& sections, const IndexHead& head);

/// load_anchors.cpp: what lists are found by.
void read_lattice(ByteReader r, Model& model);
void read_anchors(ByteReader r, Model& model);
void read_routing(ByteReader r, Model& model);
void read_spread(ByteReader r, Model& model);
void read_rank_bias(ByteReader r, Model& model);
void read_regions(ByteReader r, Model& model);

/// load_codes.cpp: how vectors are coded. code_size: of the first tier.
void read_layout(ByteReader r, uint32_t code_size, Model& model);
void read_words(ByteReader r, uint32_t code_size, Model& model);
void read_frame(ByteReader r, Model& model);
void read_sigma(ByteReader r, Model& model);
std::shared_ptr<const SecondTier> read_second(ByteReader r, const IndexHead& head);

/// load_estimates.cpp: how distances are estimated, and what training met.
void read_estimator(ByteReader r, Model& model);
void read_query(ByteReader r, Model& model);
void read_rotation(ByteReader r, Model& model);
void read_recall(ByteReader r, Model& model);
void read_training(const SectionReader& sections, TrainingRecord& record);

} // namespace faiss_vlc
