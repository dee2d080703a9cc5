#pragma once

#include <string>
#include <vector>

#include <faiss_vlc/container/format.h>
#include <faiss_vlc/model/parameter_table.h>

namespace faiss_vlc {

/// "parameters", "parameters.2", ...: as many as the table has sections.
std::vector<std::string> parameter_sections(const ParameterTable& table = parameter_table());

/// Adds what the table says is stored: the first section always, a later one where one of its
/// parameters is not its default. Every writer of sections goes through here.
void add_parameters(SectionWriter& sections, const VLCParameters& params,
                    const ParameterTable& table = parameter_table());

/// Reads them into params, which hold the defaults, and checks them for d dimensions. Throws naming
/// file, section and parameter.
void read_parameters(const SectionReader& sections, int d, VLCParameters& params,
                     const ParameterTable& table = parameter_table());

} // namespace faiss_vlc
