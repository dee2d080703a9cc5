#include <faiss_vlc/storage/parameters.h>

#include <algorithm>

#include <faiss/impl/FaissException.h>

#include <faiss_vlc/container/byte_io.h>
#include <faiss_vlc/lib/error.h>
#include <faiss_vlc/storage/sections.h>

namespace faiss_vlc {

std::vector<std::string> parameter_sections(const ParameterTable& table) {
    std::vector<std::string> names{section::kParameters};
    for (int n = 2; n <= last_section(table); n++) {
        names.push_back(section::kParameters + ("." + std::to_string(n)));
    }
    return names;
}

void add_parameters(SectionWriter& sections, const VLCParameters& params,
                    const ParameterTable& table) {
    int n = 0;
    for (const std::string& name : parameter_sections(table)) {
        const std::vector<const Parameter*> those = of_section(table, ++n);
        const bool usual = std::all_of(those.begin(), those.end(), [&](const Parameter* one) {
            return one->get(params) == one->usual;
        });
        if (n > 1 && usual) {
            continue;
        }
        ByteWriter writer;
        for (const Parameter* one : those) {
            write_value(writer, one->get(params));
        }
        sections.add(name, n == 1 ? kRequired : kOptional, writer.take());
    }
}

void read_parameters(const SectionReader& sections, int d, VLCParameters& params,
                     const ParameterTable& table) {
    int n = 0;
    for (const std::string& name : parameter_sections(table)) {
        n++;
        if (n > 1 && !sections.has(name)) {
            continue;
        }
        ByteReader reader = sections.read(name);
        for (const Parameter* one : of_section(table, n)) {
            one->set(params, read_value(reader, *one));
        }
        reader.expect_end();
    }
    try {
        check_parameters(params, d, table);
    } catch (const faiss::FaissException& error) {
        fail("%s: %s", sections.read(section::kParameters).what().c_str(), error.what());
    }
}

} // namespace faiss_vlc
