#include <faiss_vlc/model/parameter_table.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include <faiss_vlc/codec/codec.h>
#include <faiss_vlc/lib/limits.h>

// Needs nothing but the standard library: the generator of the Python stub is made of this file.

namespace faiss_vlc {

namespace {

using namespace table;

const char kIndex[] = "Index";
const char kTraining[] = "Training";
constexpr int kMostRegions = 1 << 16; ///< each is compared with all others once

/// Converts to whatever a field may be: counts them.
struct Anything {
    template <class T>
    operator T() const;
};

template <class T, class = void, class... Fields>
struct FieldCount : std::integral_constant<size_t, sizeof...(Fields) - 1> {};
template <class T, class... Fields>
struct FieldCount<T, std::void_t<decltype(T{std::declval<Fields>()...})>, Fields...>
    : FieldCount<T, void, Fields..., Anything> {};

using P = VLCParameters;

// In groups, as VLCParameters has them.

auto index_entries() {
    return std::array{
            parameter("m", &P::m, file(1, 0), kResult, "Anchors, i.e. lists")
                    .within(between(1, kMaxLists, " anchors, or 0 to choose", {0}))
                    .as_option("--m", "M", kIndex, "about 4 sqrt(n)"),
            parameter("bits_per_dim", &P::bits_per_dim, file(1, 1), kResult,
                      "Code bits per dimension")
                    .within(between(0.125, 8))
                    .as_option("--bits", "b[+b]", kIndex)
                    .then("second_bits"),
            parameter("bytes", &P::bytes, file(1, 2), kResult,
                      "Bytes per vector, those of factors included, ids not")
                    .within(at_least(1, "at least 1", {0}))
                    .as_option("--bytes", "B[+B]", kIndex, "by --bits")
                    .then("second_bytes"),
            parameter("second_bits", &P::second_bits, file(4, 0), kResult,
                      "Bits per dimension of a second tier of codes, which orders the best by the "
                      "first anew")
                    .within(between(0.125, 8, ", or 0 for none", {0})),
            parameter("second_bytes", &P::second_bytes, file(4, 1), kResult,
                      "Bytes of the second tier, its factors included")
                    .within(at_least(4, "at least 4, or 0 for none", {0})),
            parameter("grid", &P::grid, file(1, 3), kResult, "How anchors are stored")
                    .as_option("--anchors", "", kIndex, "int8, float16 for coarse data"),
            parameter(
                    "codec", &P::codec, file(3, 0), kResult,
                    "Codes by levels on axes (lattice), by words of trained codebooks (block), or "
                    "by what finds more")
                    .as_option("--codec", "", kIndex, "chosen"),
            parameter("frame", &P::frame, file(1, 4), kResult, "Axes of the codes")
                    .as_option("--frame", "", kIndex),
            parameter("frames", &P::frames, file(1, 5), kResult,
                      "Groups of anchors with axes of their own, 1 to 64")
                    .within(between(1, kMaxGroups, ", or 0 to choose", {0}))
                    .as_option("--frames", "N", kIndex, "chosen", true),
            parameter("regions", &P::regions, file(5, 0), kResult,
                      "Regions of anchors, in which queries look for lists first; 0: none, all "
                      "anchors are ranked; -1: chosen")
                    .within(between(2, kMostRegions, " regions, 0 or -1", {0, -1}))
                    .as_option("--regions", "N", kIndex, "chosen", true),
    };
}

auto device_entries() {
    return std::array{
            parameter("device", &P::device, kNotStored, kNothing,
                      "auto, reference, opencl:<part of a name>, or opencl-all[:<part of a name>] "
                      "for all such devices; see vlc info --devices")
                    .as_option("--device", "NAME", kTraining, "$VLC_DEVICE, else auto"),
            parameter("work_group", &P::work_group, kNotStored, kNothing,
                      "64, 128 or 256 work-items")
                    .within(one_of({64, 128, 256}))
                    .as_option("--work-group", "W", kTraining),
    };
}

auto sample_entries() {
    return std::array{
            parameter("seed", &P::seed, file(1, 6), loop(0), "Seed of the sample")
                    .as_option("--seed", "S", kTraining),
            parameter("max_points_per_anchor", &P::max_points_per_anchor, file(1, 7), kResult,
                      "Training vectors beyond m times this are left out")
                    .within(at_least(1)),
            parameter("held_out", &P::held_out, file(1, 11), kResult,
                      "Share of the sample kept for stopping and tuning")
                    .within(between(0, 0.5)),
    };
}

auto loop_entries() {
    return std::array{
            parameter("iterations", &P::iterations, file(1, 8), loop(1), "Iterations at most")
                    .within(between(1, 10000))
                    .as_option("--iterations", "N", kTraining),
            parameter(
                    "candidates", &P::candidates, file(2, 0), loop(3),
                    "Anchors near its last one that a vector is compared with; 0: all, -1: chosen")
                    .within(between(1, 4096, ", 0 or -1", {0, -1})),
            parameter("first_share", &P::first_share, file(2, 1), loop(4),
                      "Share of the sample in the first iteration")
                    .within(above(0, 1)),
            parameter("neighbours", &P::neighbours, file(1, 9), loop(2),
                      "Anchors among which a vector's weight is spread")
                    .within(between(1, kMaxNeighbours)),
            parameter("start_temperature", &P::start_temperature, file(1, 12), loop(5),
                      "Of the annealing, in units of the first iteration's mean energy")
                    .within(above(0, 10)),
            parameter("end_temperature", &P::end_temperature, file(1, 13), loop(6),
                      "The last iteration's, in the same units")
                    .within(above(0, "start_temperature")),
            parameter("size_bias", &P::size_bias, file(1, 14), loop(7),
                      "Mean energies added per factor e in list size: evens out lists")
                    .within(between(0, 10)),
            parameter("random_bias", &P::random_bias, file(1, 15), loop(8),
                      "Amplitude of the random bias at the start, in mean energies")
                    .within(between(0, 10)),
            parameter("robust", &P::robust, file(1, 10), loop(16), "What outliers weigh")
                    .as_option("--robust", "", kTraining),
            parameter("kappa", &P::kappa, file(1, 16), loop(9),
                      "Outliers are kappa median distances away, or farther")
                    .within(between(0.1, 1000)),
            parameter("step", &P::step, file(2, 2), loop(10),
                      "Times the way to its mean that an anchor goes; -1: chosen")
                    .within(between(0.1, 1.9, " or -1", {-1})),
            parameter("max_step", &P::max_step, file(1, 17), loop(11),
                      "At most, of an anchor's component in one iteration, in lattice units")
                    .within(above(0, 127)),
            parameter("merge_fraction", &P::merge_fraction, file(1, 18), loop(12),
                      "Anchors nearer than this share of the mean distance between nearest ones "
                      "merge")
                    .within(between(0, 1)),
            parameter("split_factor", &P::split_factor, file(1, 19), loop(13),
                      "Anchors of more than this many mean list sizes or energies split")
                    .within(at_least(1)),
            parameter("maintain_until", &P::maintain_until, file(1, 20), loop(14),
                      "Share of the iterations in which anchors merge and split")
                    .within(between(0, 1)),
            parameter("stop_changes", &P::stop_changes, file(1, 21), loop(15),
                      "Stops when fewer vectors than this share change their anchor")
                    .within(between(0, 1)),
    };
}

auto choice_entries() {
    return std::array{
            parameter("tilt", &P::tilt, file(1, 22), kResult,
                      "Bits go by variance^(1 + tilt); negative: chosen")
                    .within(at_most(4)),
            parameter("t1", &P::t1, file(1, 23), kResult, "Of the estimate; negative: chosen"),
            parameter("t2", &P::t2, file(1, 24), kResult, "Of the estimate; negative: chosen"),
            parameter("c", &P::c, file(1, 25), kResult, "Of the estimate; negative: chosen"),
            parameter("rank_bias", &P::rank_bias, file(2, 3), kResult,
                      "How a list's spread counts in its rank; negative: chosen")
                    .within(at_most(4)),
            parameter("coverage", &P::coverage, file(1, 26), kResult,
                      "Share of true neighbours' lists that the default nprobe covers")
                    .within(above(0, 1)),
    };
}

auto run_entries() {
    return std::array{
            parameter("checkpoint", &P::checkpoint, kNotStored, kNothing,
                      "Where to keep the state of training")
                    .as_option("--checkpoint", "FILE", kTraining),
            parameter("checkpoint_every", &P::checkpoint_every, kNotStored, kNothing,
                      "Iterations between checkpoints")
                    .within(at_least(1, "0 or more iterations", {0}))
                    .as_option("--every", "N", kTraining, "1"),
            parameter("resume", &P::resume, kNotStored, kNothing,
                      "Checkpoint to go on from, with the same data and options")
                    .as_option("--resume", "FILE", kTraining),
            parameter("dump", &P::dump, kNotStored, kNothing,
                      "Folder for every intermediate of a small run, as .npy")
                    .as_option("--dump", "DIR", kTraining),
    };
}

template <class... Entries>
ParameterTable joined(const Entries&... groups) {
    static_assert((std::tuple_size_v<Entries> + ...) == FieldCount<P>::value,
                  "expected an entry for each field of VLCParameters");
    ParameterTable table;
    (table.insert(table.end(), groups.begin(), groups.end()), ...);
    return table;
}

template <class Key>
std::vector<const Parameter*> sorted(const ParameterTable& table, Key key) {
    std::vector<const Parameter*> found;
    for (const Parameter& one : table) {
        if (key(one) >= 0) {
            found.push_back(&one);
        }
    }
    std::stable_sort(found.begin(), found.end(),
                     [&key](const Parameter* a, const Parameter* b) { return key(*a) < key(*b); });
    return found;
}

} // namespace

const Enumeration& enumeration_of(AnchorGrid) {
    static const Enumeration all{"AnchorGrid",
                                 {{int32_t(AnchorGrid::int8), "int8"},
                                  {int32_t(AnchorGrid::float16), "float16"},
                                  {int32_t(AnchorGrid::automatic), "automatic", "auto"}}};
    return all;
}

const Enumeration& enumeration_of(Codec) {
    static const Enumeration all{"Codec",
                                 {{int32_t(Codec::automatic), "automatic", "auto"},
                                  {int32_t(Codec::lattice), "lattice"},
                                  {int32_t(Codec::block), "block"}}};
    return all;
}

const Enumeration& enumeration_of(FrameKind) {
    static const Enumeration all{"FrameKind",
                                 {{int32_t(FrameKind::principal), "principal"},
                                  {int32_t(FrameKind::identity), "identity"}}};
    return all;
}

const Enumeration& enumeration_of(Robust) {
    static const Enumeration all{"Robust",
                                 {{int32_t(Robust::none), "none"},
                                  {int32_t(Robust::huber), "huber"},
                                  {int32_t(Robust::trim), "trim"}}};
    return all;
}

const Choice* Enumeration::find(int32_t value) const {
    for (const Choice& choice : choices) {
        if (choice.value == value) {
            return &choice;
        }
    }
    return nullptr;
}

std::string Enumeration::words() const {
    std::string words;
    for (const Choice& choice : choices) {
        const bool first = &choice == &choices.front(), last = &choice == &choices.back();
        words += (first  ? ""
                  : last ? " or "
                         : ", ") +
                 std::to_string(choice.value) + " (" + choice.name + ")";
    }
    return words;
}

std::string Enumeration::text(int32_t value) const {
    const Choice* choice = find(value);
    return !choice ? std::to_string(value) : choice->option ? choice->option : choice->name;
}

bool Range::holds(const Value& value) const {
    const double v = as_number(value);
    // as the parameter can hold it: 1.9f is less than 1.9
    const auto limit = [&value](double x) {
        return std::holds_alternative<float>(value) ? double(float(x)) : x;
    };
    if (!only.empty()) {
        return std::find(only.begin(), only.end(), v) != only.end();
    }
    return (open ? v > limit(low) : v >= limit(low)) && v <= limit(high);
}

bool Range::allows(const Value& value) const {
    return words.empty() || holds(value) ||
           std::find(also.begin(), also.end(), as_number(value)) != also.end();
}

namespace table {

Range between(double low, double high, const std::string& more, std::vector<double> also) {
    Range range{low, high};
    range.also = std::move(also);
    range.words = number_text(low) + " to " + number_text(high) + more;
    return range;
}

Range above(double low, double high) {
    Range range{low, high, true};
    range.words = "above " + number_text(low) + ", at most " + number_text(high);
    return range;
}

Range above(double low, const char* most) {
    Range range;
    range.low = low;
    range.open = true;
    range.most = most;
    range.words = "above " + number_text(low) + ", at most " + most;
    return range;
}

Range at_least(double low, const std::string& words, std::vector<double> also) {
    Range range;
    range.low = low;
    range.also = std::move(also);
    range.words = words.empty() ? "at least " + number_text(low) : words;
    return range;
}

Range at_most(double high) {
    Range range;
    range.high = high;
    range.words = "at most " + number_text(high);
    return range;
}

Range one_of(std::vector<double> values) {
    Range range;
    for (size_t i = 0; i < values.size(); i++) {
        range.words += (i == 0                   ? ""
                        : i + 1 == values.size() ? " or "
                                                 : ", ") +
                       number_text(values[i]);
    }
    range.only = std::move(values);
    return range;
}

} // namespace table

Parameter& Parameter::within(Range taken) {
    range = std::move(taken);
    return *this;
}

Parameter& Parameter::as_option(const char* name_in, const char* type, const char* group,
                                const char* usual_in, bool also) {
    option = {name_in, type, group, usual_in, also};
    return *this;
}

Parameter& Parameter::then(const char* name_in) {
    option.then = name_in;
    return *this;
}

std::string Parameter::text(const Value& value) const {
    if (const auto* words = std::get_if<std::string>(&value)) {
        return *words;
    }
    return enumeration ? enumeration->text(std::get<int32_t>(value))
                       : number_text(as_number(value));
}

const ParameterTable& parameter_table() {
    static const ParameterTable table = joined(index_entries(), device_entries(), sample_entries(),
                                               loop_entries(), choice_entries(), run_entries());
    return table;
}

const Parameter* find_parameter(const std::string& name, const ParameterTable& table) {
    for (const Parameter& one : table) {
        if (one.name == name) {
            return &one;
        }
    }
    return nullptr;
}

int last_section(const ParameterTable& table) {
    int last = 0;
    for (const Parameter& one : table) {
        last = std::max(last, one.place.section);
    }
    return last;
}

std::vector<const Parameter*> of_section(const ParameterTable& table, int section) {
    return sorted(table, [section](const Parameter& one) {
        return one.place.section == section ? one.place.position : -1;
    });
}

std::vector<const Parameter*> of_loop(const ParameterTable& table) {
    return sorted(table, [](const Parameter& one) { return one.decides.loop; });
}

double as_number(const Value& value) {
    return std::visit(
            [](const auto& held) -> double {
                if constexpr (std::is_arithmetic_v<std::decay_t<decltype(held)>>) {
                    return double(held);
                } else {
                    return std::nan("");
                }
            },
            value);
}

std::string number_text(double value) {
    char text[64];
    const bool whole = std::abs(value) < 1e9 && value == std::floor(value);
    snprintf(text, sizeof text, whole ? "%.0f" : "%g", value);
    return text;
}

} // namespace faiss_vlc
