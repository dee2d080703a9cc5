// The table of parameters: with one more entry, all that goes through the table knows it.

#include <faiss_vlc/model/parameter_table.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include <faiss/impl/io.h>

#include <faiss_vlc/cli/options.h>
#include <faiss_vlc/lib/limits.h>
#include <faiss_vlc/storage/parameters.h>
#include <faiss_vlc/train/checkpoint.h>
#include <python_bindings/parameter_stub.h>

#include <tests/train/train_test.h>

namespace more {

enum class Mood : int32_t { calm = 0, wild = 1 };

const faiss_vlc::Enumeration& enumeration_of(Mood) {
    static const faiss_vlc::Enumeration all{"Mood", {{0, "calm"}, {1, "wild"}}};
    return all;
}

/// A line each in the struct ...
struct Parameters : faiss_vlc::VLCParameters {
    float dummy = 0.5f;
    Mood mood = Mood::calm;
    std::string note;
};

/// ... and in the table.
const faiss_vlc::ParameterTable& table() {
    using namespace faiss_vlc::table;
    using P = Parameters;
    static const faiss_vlc::ParameterTable all = [] {
        faiss_vlc::ParameterTable entries = faiss_vlc::parameter_table();
        const int next = last_section(entries) + 1;
        entries.push_back(parameter("dummy", &P::dummy, file(next, 0), loop(17), "Shows the way")
                                  .within(between(0, 1))
                                  .as_option("--dummy", "X", "Training"));
        entries.push_back(parameter("mood", &P::mood, file(next, 2), kResult, "Of the test")
                                  .as_option("--mood", "", "Training"));
        entries.push_back(parameter("note", &P::note, file(next, 1), kNothing, "Of \"people\"")
                                  .as_option("--note", "TEXT", "Training"));
        return entries;
    }();
    return all;
}

} // namespace more

namespace faiss_vlc {
namespace {

using Bytes = std::vector<uint8_t>;

Bytes saved(const VLCParameters& params, const ParameterTable& table) {
    SectionWriter sections;
    add_parameters(sections, params, table);
    faiss::VectorIOWriter out;
    IOWriterSink sink(out);
    sections.write(sink);
    return out.data;
}

void load(const Bytes& bytes, VLCParameters& params, const ParameterTable& table) {
    const SectionReader sections(Payload{{bytes.data(), bytes.size()}, "x.vlc", nullptr},
                                 parameter_sections(table));
    read_parameters(sections, 8, params, table);
}

template <class Run>
std::string message_of(Run run) {
    try {
        run();
    } catch (const faiss::FaissException& error) {
        return error.msg;
    }
    return "nothing was thrown";
}

Bytes deciding(const VLCParameters& params, const ParameterTable& table) {
    ByteWriter writer;
    write_deciding(writer, params, table);
    return writer.take();
}

/// Some value within the range that is not the default.
Value another(const Parameter& one) {
    if (std::holds_alternative<std::string>(one.usual)) {
        return std::string("other");
    }
    if (one.enumeration) {
        const std::vector<Choice>& choices = one.enumeration->choices;
        return choices.front().value == std::get<int32_t>(one.usual) ? choices.back().value
                                                                     : choices.front().value;
    }
    for (const double number : {0.05, 3.0, 1.0, 128.0}) {
        const Value value = std::holds_alternative<float>(one.usual)      ? Value(float(number))
                            : std::holds_alternative<uint32_t>(one.usual) ? Value(uint32_t(number))
                                                                          : Value(int32_t(number));
        if (one.range.allows(value) && value != one.usual) {
            return value;
        }
    }
    ADD_FAILURE() << one.name << ": no other value";
    return one.usual;
}

// --- one more parameter ---

TEST(MoreParameters, AreChecked) {
    more::Parameters params;
    check_parameters(params, 8, more::table());
    params.dummy = 2;
    EXPECT_NE(message_of([&] {
                  check_parameters(params, 8, more::table());
              }).find("dummy: expected 0 to 1, got 2"),
              std::string::npos);
    params.dummy = 1;
    params.mood = more::Mood(7);
    EXPECT_NE(message_of([&] {
                  check_parameters(params, 8, more::table());
              }).find("mood: expected 0 (calm) or 1 (wild), got 7"),
              std::string::npos);
}

TEST(MoreParameters, AreSavedAndLoaded) {
    more::Parameters params;
    EXPECT_EQ(saved(params, more::table()), saved(params, parameter_table()))
            << "defaults take no section";
    params.dummy = 0.75f;
    params.mood = more::Mood::wild;
    params.note = "a note";
    params.iterations = 7;
    const Bytes bytes = saved(params, more::table());
    more::Parameters loaded;
    load(bytes, loaded, more::table());
    EXPECT_EQ(loaded.dummy, 0.75f);
    EXPECT_EQ(loaded.mood, more::Mood::wild);
    EXPECT_EQ(loaded.note, "a note");
    EXPECT_EQ(loaded.iterations, 7);
    EXPECT_EQ(saved(loaded, more::table()), bytes);
    VLCParameters old; // a reader that does not know them
    load(bytes, old, parameter_table());
    EXPECT_EQ(old.iterations, 7);

    params.dummy = 3;
    EXPECT_NE(message_of([&] {
                  load(saved(params, more::table()), loaded, more::table());
              }).find("x.vlc"),
              std::string::npos);
    EXPECT_NE(message_of([&] {
                  load(saved(params, more::table()), loaded, more::table());
              }).find("dummy: expected 0 to 1, got 3"),
              std::string::npos);
    params.dummy = std::numeric_limits<float>::quiet_NaN();
    EXPECT_NE(message_of([&] {
                  load(saved(params, more::table()), loaded, more::table());
              }).find("dummy: expected a finite number"),
              std::string::npos);
}

TEST(MoreParameters, IdentifyARunAndItsCheckpoints) {
    more::Parameters params;
    params.m = 4;
    const Sample sample = draw({1, 2, 3, 4, 5, 6, 7, 8}, 1, params);
    const uint64_t run = run_identity(sample, params, more::table());
    more::Parameters other = params;
    other.dummy = 0.75f;
    EXPECT_NE(run_identity(sample, other, more::table()), run);
    other = params;
    other.mood = more::Mood::wild; // not of the loop
    EXPECT_EQ(run_identity(sample, other, more::table()), run);

    Folder folder;
    const std::string path = folder.file("state");
    Checkpoint state;
    state.run = run;
    state.iteration = state.temperature = 1;
    state.anchor.resize(size_t(sample.shape.m) * sample.shape.dp);
    state.bias.resize(sample.shape.m);
    state.label.resize(sample.shape.n);
    state.energy = {1};
    write_checkpoint(path, state);
    EXPECT_EQ(read_checkpoint(path, sample, params, more::table()).iteration, 1);
    other.dummy = 0.75f;
    EXPECT_NE(message_of([&] {
                  read_checkpoint(path, sample, other, more::table());
              }).find("the checkpoint of another run"),
              std::string::npos);
}

TEST(MoreParameters, AreComparedByProcesses) {
    const more::Parameters params;
    more::Parameters other;
    other.dummy = 0.75f;
    EXPECT_NE(deciding(other, more::table()), deciding(params, more::table()));
    other = params;
    other.mood = more::Mood::wild;
    EXPECT_NE(deciding(other, more::table()), deciding(params, more::table()));
    other = params;
    other.note = "decides nothing";
    EXPECT_EQ(deciding(other, more::table()), deciding(params, more::table()));
}

TEST(MoreParameters, AreOptionsOfTheCommand) {
    const auto parse = [](more::Parameters& params, std::vector<std::string> arguments) {
        CLI::App app;
        cli::add_parameter_options(app, params, more::table());
        std::reverse(arguments.begin(), arguments.end()); // as CLI11 wants them
        app.parse(arguments);
    };
    more::Parameters params;
    parse(params, {"--dummy", "0.75", "--mood", "wild", "--note", "n", "--iterations", "3"});
    EXPECT_EQ(params.dummy, 0.75f);
    EXPECT_EQ(params.mood, more::Mood::wild);
    EXPECT_EQ(params.note, "n");
    EXPECT_EQ(params.iterations, 3);
    EXPECT_THROW(parse(params, {"--dummy", "2"}), CLI::ValidationError);
    EXPECT_THROW(parse(params, {"--mood", "2"}), CLI::ValidationError);
    EXPECT_EQ(params.dummy, 0.75f);

    CLI::App app;
    cli::add_parameter_options(app, params, more::table());
    const std::string help = app.help();
    EXPECT_NE(help.find("--dummy X:FLOAT in [0 - 1]"), std::string::npos) << help;
    EXPECT_NE(help.find("Shows the way (default: 0.5)"), std::string::npos) << help;
    EXPECT_NE(help.find("--mood calm|wild"), std::string::npos) << help;
}

TEST(MoreParameters, AreSetByName) { // as ParameterSpace does
    more::Parameters params;
    set_parameter(params, "dummy", 0.25, more::table());
    set_parameter(params, "mood", 1, more::table());
    EXPECT_EQ(params.dummy, 0.25f);
    EXPECT_EQ(params.mood, more::Mood::wild);
    EXPECT_NE(message_of([&] {
                  set_parameter(params, "none", 1, more::table());
              }).find("coverage, checkpoint, checkpoint_every, resume, dump, dummy, mood"),
              std::string::npos);
    EXPECT_NE(message_of([&] { set_parameter(params, "note", 1, more::table()); }).find("a text"),
              std::string::npos);
}

TEST(MoreParameters, AreInThePythonStub) {
    const std::string stub =
            stub::filled("A\n@ENUMERATIONS@\nB\n@PARAMETERS@\nC\n@KEYWORDS@\nD", more::table());
    for (const char* part :
         {"\nclass Mood(enum.IntEnum):\n    calm = 0\n    wild = 1\nB\n",
          "    dummy: float\n    \"\"\"Shows the way\"\"\"\n", "    mood: int\n",
          "    note: str\n    \"\"\"Of \\\"people\\\"\"\"\"\n", "            dummy: float = 0.5,\n",
          "            mood: int = Mood.calm,\n            note: str = \"\",\nD"}) {
        EXPECT_NE(stub.find(part), std::string::npos) << part << stub;
    }
}

// --- those that there are ---

TEST(ParameterTable, NamesEachOnce) {
    std::set<std::string> names, options;
    for (const Parameter& one : parameter_table()) {
        EXPECT_TRUE(names.insert(one.name).second) << one.name;
        EXPECT_TRUE(one.option.name.empty() || options.insert(one.option.name).second) << one.name;
        EXPECT_FALSE(one.help.empty()) << one.name;
        EXPECT_EQ(one.get(VLCParameters()), one.usual) << one.name;
        EXPECT_TRUE(one.range.most.empty() || find_parameter(one.range.most)) << one.name;
    }
    EXPECT_NO_THROW(VLCParameters().check(8));
}

TEST(ParameterTable, LeavesNoGaps) {
    for (int section = 1; section <= last_section(parameter_table()); section++) {
        const std::vector<const Parameter*> those = of_section(parameter_table(), section);
        ASSERT_FALSE(those.empty());
        for (size_t i = 0; i < those.size(); i++) {
            EXPECT_EQ(those[i]->place.position, int(i)) << those[i]->name;
        }
    }
    const std::vector<const Parameter*> loop = of_loop(parameter_table());
    for (size_t i = 0; i < loop.size(); i++) {
        EXPECT_EQ(loop[i]->decides.loop, int(i)) << loop[i]->name;
    }
}

// What decides the result is kept with it, and compared.
TEST(ParameterTable, KeepsAndComparesWhatDecides) {
    const Bytes usual = deciding(VLCParameters(), parameter_table());
    for (const Parameter& one : parameter_table()) {
        VLCParameters params;
        one.set(params, another(one));
        EXPECT_EQ(deciding(params, parameter_table()) != usual, one.decides.result) << one.name;
        EXPECT_EQ(one.place.section > 0, one.decides.result) << one.name;
        if (one.place.section > 0) {
            VLCParameters loaded;
            load(saved(params, parameter_table()), loaded, parameter_table());
            for (const Parameter& each : parameter_table()) {
                EXPECT_EQ(each.get(loaded), each.get(params)) << one.name << ": " << each.name;
            }
        }
    }
}

TEST(ParameterTable, SetsNumbersThatFit) {
    VLCParameters params;
    set_parameter(params, "iterations", 7.9);
    set_parameter(params, "kappa", 2.5);
    set_parameter(params, "grid", 1);
    set_parameter(params, "seed", 4294967295.0);
    EXPECT_EQ(params.iterations, 7);
    EXPECT_EQ(params.kappa, 2.5f);
    EXPECT_EQ(params.grid, AnchorGrid::float16);
    EXPECT_EQ(params.seed, 4294967295u);
    for (const double value : {-1.0, 4294967296.0, std::nan(""), HUGE_VAL}) {
        EXPECT_NE(message_of([&] {
                      set_parameter(params, "seed", value);
                  }).find("seed: expected 0 to 4294967295"),
                  std::string::npos);
    }
    EXPECT_NE(message_of([&] { set_parameter(params, "device", 1); }).find("device: expected"),
              std::string::npos);
    EXPECT_EQ(params.seed, 4294967295u);
}

TEST(ParameterTable, RangesAreThoseOfTheirType) {
    VLCParameters params;
    params.kappa = 0.1f; // above the double 0.1
    params.step = 1.9f;  // below 1.9
    params.m = 0;
    params.candidates = -1;
    params.tilt = -5;
    EXPECT_NO_THROW(params.check(kMaxDim));
    EXPECT_THROW(params.check(kMaxDim + 1), faiss::FaissException);
    params.end_temperature = params.start_temperature = 0.5f;
    EXPECT_NO_THROW(params.check(8));
    params.end_temperature = 0.75f;
    EXPECT_NE(message_of([&] {
                  params.check(8);
              }).find("end_temperature: expected above 0, at most start_temperature"),
              std::string::npos);
    params = VLCParameters();
    params.candidates = -2;
    EXPECT_THROW(params.check(8), faiss::FaissException);
    params = VLCParameters();
    params.tilt = std::nanf("");
    EXPECT_THROW(params.check(8), faiss::FaissException);
    params = VLCParameters();
    params.checkpoint_every = -1;
    EXPECT_THROW(params.check(8), faiss::FaissException);
}

} // namespace
} // namespace faiss_vlc
