#pragma once

#include <cmath>
#include <functional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <CLI/CLI.hpp>

#include <faiss_vlc/model/parameter_table.h>

/// Options of one of several names, and those that the table of parameters makes.
namespace faiss_vlc::cli {

/// An option that takes one of these names.
template <class T>
CLI::Option* add_choice(CLI::App& command, const std::string& name,
                        const std::function<void(T)>& set, const std::string& help,
                        const std::vector<std::pair<std::string, T>>& choices) {
    std::string names;
    for (const auto& choice : choices) {
        names += (names.empty() ? "" : "|") + choice.first;
    }
    const auto find = [choices, names, name, set](const std::string& text) {
        for (const auto& choice : choices) {
            if (choice.first == text) {
                set(choice.second);
                return;
            }
        }
        throw CLI::ValidationError(name, "expected " + names + ", got " + text);
    };
    return command.add_option_function<std::string>(name, find, help)->type_name(names);
}

/// What the parameter itself says of its default, or the help's words for it. second: what a value
/// after a + is for, or null.
inline std::string option_help(const Parameter& parameter, const Parameter* second = nullptr) {
    const std::string usual = parameter.option.usual.empty() ? parameter.text(parameter.usual)
                                                             : parameter.option.usual;
    return parameter.help + (usual.empty() ? "" : " (default: " + usual + ")") +
           (second ? ". After a +: " + second->help + " (default: none)" : "");
}

/// "INT in [1 - 64]", "{64,128,256}"; empty if all numbers will do.
inline std::string range_in_help(const Parameter& parameter) {
    const Range& range = parameter.range;
    if (range.words.empty()) {
        return "";
    }
    std::string text;
    for (const double value : range.only) {
        text += (text.empty() ? "{" : ",") + number_text(value);
    }
    if (!text.empty()) {
        return text + "}";
    }
    const std::string low = number_text(range.low), high = number_text(range.high);
    text = std::holds_alternative<float>(parameter.usual) ? "FLOAT" : "INT";
    return std::isinf(range.high)  ? text + " from " + low
           : std::isinf(range.low) ? text + " to " + high
                                   : text + " in [" + low + " - " + high + "]";
}

/// "1 to 64", without values that have a meaning of their own.
inline std::string range_in_words(const Range& range) {
    return !range.only.empty()      ? range.words
           : std::isinf(range.high) ? table::at_least(range.low).words
           : std::isinf(range.low)  ? table::at_most(range.high).words
           : range.open             ? table::above(range.low, range.high).words
                                    : table::between(range.low, range.high).words;
}

/// of: the option, which may be another parameter's.
inline void set_checked(VLCParameters& params, const Parameter& parameter, const Option& of,
                        const Value& value) {
    const Range& taken = parameter.range;
    const bool all = taken.words.empty() || (of.also && taken.allows(value));
    if (!all && !taken.holds(value)) {
        throw CLI::ValidationError(of.name, "expected " + range_in_words(taken) +
                                                    (&of == &parameter.option ? "" : " after a +") +
                                                    ", got " + parameter.text(value));
    }
    parameter.set(params, value);
}

template <class T>
CLI::Option* add_value(CLI::App& command, VLCParameters& params, const Parameter& parameter) {
    const Option& option = parameter.option;
    const std::string range = range_in_help(parameter);
    const auto set = [&params, &parameter](const T& value) {
        set_checked(params, parameter, parameter.option, value);
    };
    return command.add_option_function<T>(option.name, set, option_help(parameter))
            ->type_name(option.type + (range.empty() ? "" : ":" + range));
}

/// The same of an option that takes one value, or two with a + between them.
template <class T>
CLI::Option* add_values(CLI::App& command, VLCParameters& params, const Parameter& parameter,
                        const Parameter& second) {
    const Option& option = parameter.option;
    const auto set = [&params, &parameter, &second](const std::string& text) {
        const Option& of = parameter.option;
        const size_t plus = text.find('+');
        const auto read = [&](const Parameter& part, const std::string& word) {
            T value{};
            if (word.empty() || word[0] == '+' || !CLI::detail::lexical_cast(word, value)) {
                throw CLI::ValidationError(of.name, "expected " + of.type + ", got " + text);
            }
            set_checked(params, part, of, value);
        };
        read(parameter, text.substr(0, plus));
        if (plus != std::string::npos) {
            read(second, text.substr(plus + 1));
        }
    };
    return command
            .add_option_function<std::string>(option.name, set, option_help(parameter, &second))
            ->type_name(option.type + ":" + range_in_help(parameter));
}

/// The options of the parameters that have one. Both references are kept until the command is
/// parsed.
inline void add_parameter_options(CLI::App& command, VLCParameters& params,
                                  const ParameterTable& table = parameter_table()) {
    for (const Parameter& one : table) {
        if (one.option.name.empty()) {
            continue;
        }
        CLI::Option* added = nullptr;
        if (one.enumeration) {
            std::vector<std::pair<std::string, int32_t>> choices;
            for (const Choice& choice : one.enumeration->choices) {
                choices.push_back({one.enumeration->text(choice.value), choice.value});
            }
            const auto set = [&params, &one](int32_t value) { one.set(params, value); };
            added = add_choice<int32_t>(command, one.option.name, set, option_help(one), choices);
        } else {
            added = std::visit(
                    [&](const auto& usual) {
                        using T = std::decay_t<decltype(usual)>;
                        const Parameter* second = find_parameter(one.option.then, table);
                        return second ? add_values<T>(command, params, one, *second)
                                      : add_value<T>(command, params, one);
                    },
                    one.usual);
        }
        added->group(one.option.group);
    }
}

} // namespace faiss_vlc::cli
