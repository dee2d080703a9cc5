#pragma once

#include <set>
#include <string>

#include <faiss_vlc/model/parameter_table.h>

/// What the table of parameters writes into the Python stub.
namespace faiss_vlc::stub {

inline std::string type(const Parameter& parameter) {
    return std::holds_alternative<std::string>(parameter.usual) ? "str"
           : std::holds_alternative<float>(parameter.usual)     ? "float"
                                                                : "int";
}

inline std::string quoted(const std::string& text) {
    std::string out = "\"";
    for (const char c : text) {
        out += c == '"' || c == '\\' ? std::string("\\") + c : std::string(1, c);
    }
    return out + "\"";
}

/// The default in Python.
inline std::string literal(const Parameter& parameter) {
    if (const auto* text = std::get_if<std::string>(&parameter.usual)) {
        return quoted(*text);
    }
    if (parameter.enumeration) {
        const Choice* usual = parameter.enumeration->find(std::get<int32_t>(parameter.usual));
        return parameter.enumeration->name + ("." + std::string(usual->name));
    }
    const std::string number = number_text(as_number(parameter.usual));
    const bool whole = number.find_first_of(".e") == std::string::npos;
    return number + (type(parameter) == "float" && whole ? ".0" : "");
}

/// A class for each enumeration that a parameter has.
inline std::string enumerations(const ParameterTable& table) {
    std::string lines;
    std::set<const Enumeration*> seen;
    for (const Parameter& one : table) {
        if (one.enumeration && seen.insert(one.enumeration).second) {
            lines += (lines.empty() ? "class " : "\nclass ") + std::string(one.enumeration->name) +
                     "(enum.IntEnum):\n";
            for (const Choice& choice : one.enumeration->choices) {
                lines += "    " + std::string(choice.name) + " = " + std::to_string(choice.value) +
                         "\n";
            }
        }
    }
    return lines;
}

/// The attributes of VLCParameters.
inline std::string attributes(const ParameterTable& table) {
    std::string lines;
    for (const Parameter& one : table) {
        lines += "    " + one.name + ": " + type(one) + "\n    " + "\"\"" + quoted(one.help) +
                 "\"\"\n";
    }
    return lines;
}

/// The keywords of its constructor.
inline std::string keywords(const ParameterTable& table) {
    std::string lines;
    for (const Parameter& one : table) {
        lines += "            " + one.name + ": " + type(one) + " = " + literal(one) + ",\n";
    }
    return lines;
}

/// A stub in which lines that are @ENUMERATIONS@, @PARAMETERS@ or @KEYWORDS@ stand for these.
inline std::string filled(std::string text, const ParameterTable& table = parameter_table()) {
    const std::pair<const char*, std::string> parts[] = {{"@ENUMERATIONS@\n", enumerations(table)},
                                                         {"@PARAMETERS@\n", attributes(table)},
                                                         {"@KEYWORDS@\n", keywords(table)}};
    for (const auto& [mark, lines] : parts) {
        const size_t at = text.find(mark);
        if (at != std::string::npos) {
            text.replace(at, std::string(mark).size(), lines);
        }
    }
    return text;
}

} // namespace faiss_vlc::stub
