#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <faiss_vlc/parameters.h>

/// The one table of parameters. All that goes through them goes through it: check, save, load,
/// what a checkpoint and processes that train together compare, the options of the command,
/// ParameterSpace and the Python stub. What Python's VLCParameters has comes from parameters.h.
///
/// To add a parameter:
/// 1. Write it, with its default and a comment, into VLCParameters (parameters.h).
/// 2. Write its entry into parameter_table.cpp, in the same place. It won't compile without one.
/// Where it goes in files: a section that was ever released keeps its layout, so a new parameter
/// opens the next one, file(<last number + 1>, 0), or goes on in one that no release has. A section
/// beyond the first is written only where one of its parameters is not its default. FORMAT.md lists
/// them. An entry that is loop(<next number>) changes the identity of every run: no checkpoint of
/// an earlier version goes on.
/// A new enumeration also needs an enumeration_of(), as those below.
namespace faiss_vlc {

class ByteReader;
class ByteWriter;

/// What a parameter holds; of an enumeration the number.
using Value = std::variant<int32_t, uint32_t, float, std::string>;

struct Choice {
    int32_t value = 0;
    const char* name = nullptr;   ///< as in C++ and Python
    const char* option = nullptr; ///< what the command calls it, if not that
};

struct Enumeration {
    const char* name;
    std::vector<Choice> choices;

    /// Null if there is none.
    const Choice* find(int32_t value) const;
    /// "0 (int8), 1 (float16) or 2 (automatic)"
    std::string words() const;
    /// As the command calls it; an unknown value's number.
    std::string text(int32_t value) const;
};

const Enumeration& enumeration_of(AnchorGrid);
const Enumeration& enumeration_of(Codec);
const Enumeration& enumeration_of(FrameKind);
const Enumeration& enumeration_of(Robust);

/// The numbers that a parameter takes, and these in words for messages. All, if there are no words.
struct Range {
    double low = -std::numeric_limits<double>::infinity();
    double high = std::numeric_limits<double>::infinity();
    bool open = false;             ///< low itself is out
    std::vector<double> only = {}; ///< if not empty: these and no others
    std::vector<double> also = {}; ///< out of low to high, with a meaning of their own
    std::string most = {};         ///< the parameter whose value is the most, if there is one
    std::string words = {};

    /// Between low and high, or one of `only`.
    bool holds(const Value& value) const;
    /// Or one of `also`. NaN is not allowed, unless all is.
    bool allows(const Value& value) const;
};

/// Where a parameter stands in a file: in section number `section`, whose parameters follow one
/// another by position, from 0.
struct Place {
    int section = 0; ///< from 1; 0: it is not stored
    int position = 0;
};

/// What depends on a parameter.
struct Decides {
    bool result = false; ///< what training comes to: the same in all processes that train together
    int loop = -1;       ///< the course of anneal(): its place, from 0, in the identity of a run
};

/// An option of the command.
struct Option {
    std::string name;  ///< "--m"; empty: there is none
    std::string type;  ///< how the help calls the value; of enumerations the names
    std::string group; ///< of the help
    std::string usual; ///< what the help calls the default, if not the value
    bool also = false; ///< takes Range::also, too
    std::string then;  ///< the parameter that a second value sets, after a +; empty: there is none
};

struct Parameter {
    std::string name;
    std::string help; ///< one line, for the command's help, the manual page and the Python stub
    Place place;
    Decides decides;
    Value usual; ///< the default
    const Enumeration* enumeration = nullptr;
    Range range = {};
    Option option = {};
    std::function<Value(const VLCParameters&)> get = {};
    std::function<void(VLCParameters&, const Value&)> set = {};

    Parameter& within(Range taken);
    Parameter& as_option(const char* name, const char* type, const char* group,
                         const char* usual = "", bool also = false);
    /// The option takes one value more, after a +, for the parameter of this name.
    Parameter& then(const char* name_in);
    /// As the command writes it.
    std::string text(const Value& value) const;
};

using ParameterTable = std::vector<Parameter>;

/// What entries are made of.
namespace table {

constexpr Place kNotStored{};
constexpr Place file(int section, int position) {
    return {section, position};
}

constexpr Decides kNothing{};
constexpr Decides kResult{true, -1};
constexpr Decides loop(int position) {
    return {true, position};
}

/// "low to high" and what follows in words; `also` are further values, which the words explain.
Range between(double low, double high, const std::string& more = "", std::vector<double> also = {});
Range above(double low, double high);
Range above(double low, const char* most);
Range at_least(double low, const std::string& words = "", std::vector<double> also = {});
Range at_most(double high);
Range one_of(std::vector<double> values);

/// An entry. P is VLCParameters or, in a test, derived from it: then get and set take only such.
template <class P, class T>
Parameter parameter(const char* name, T P::*member, Place place, Decides decides,
                    const char* help) {
    using Held = std::conditional_t<std::is_enum<T>::value, int32_t, T>;
    Parameter one{name, help, place, decides, Held(P().*member)};
    if constexpr (std::is_enum<T>::value) {
        one.enumeration = &enumeration_of(T());
        one.range.words = one.enumeration->words();
        for (const Choice& choice : one.enumeration->choices) {
            one.range.only.push_back(choice.value);
        }
    }
    one.get = [member](const VLCParameters& from) {
        return Value(Held(static_cast<const P&>(from).*member));
    };
    one.set = [member](VLCParameters& to, const Value& value) {
        static_cast<P&>(to).*member = T(std::get<Held>(value));
    };
    return one;
}

} // namespace table

/// All parameters, as VLCParameters has them.
const ParameterTable& parameter_table();

/// Null if there is none.
const Parameter* find_parameter(const std::string& name,
                                const ParameterTable& table = parameter_table());
/// The number of the last section.
int last_section(const ParameterTable& table);
/// In the order of the file.
std::vector<const Parameter*> of_section(const ParameterTable& table, int section);
/// In the order of a run's identity.
std::vector<const Parameter*> of_loop(const ParameterTable& table);
/// NaN of a text.
double as_number(const Value& value);
/// "12", "0.1"
std::string number_text(double value);

// In parameters.cpp, as these throw:

/// VLCParameters::check.
void check_parameters(const VLCParameters& params, int d, const ParameterTable& table);

/// Sets a number by name; fractions of whole numbers are cut off. Throws if there is no such
/// parameter, if it is a text, or if its type cannot hold the value. Ranges are check()'s affair.
void set_parameter(VLCParameters& params, const std::string& name, double value,
                   const ParameterTable& table = parameter_table());

void write_value(ByteWriter& writer, const Value& value);
/// Throws unless it is finite and, of an enumeration, known.
Value read_value(ByteReader& reader, const Parameter& parameter);

} // namespace faiss_vlc
