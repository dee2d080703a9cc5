#pragma once

#include <cstdint>
#include <vector>

#include <faiss_vlc/parameters.h>
#include <faiss_vlc/train/checkpoint.h>
#include <faiss_vlc/train/engine.h>
#include <faiss_vlc/train/pace/pace.h>
#include <faiss_vlc/train/sample.h>
#include <faiss_vlc/train/schedule.h>
#include <faiss_vlc/train/settle.h>
#include <faiss_vlc/train/stages/maintain.h>
#include <faiss_vlc/train/stages/robust.h>

namespace faiss_vlc {

/// The annealing loop, a step at a time: iterate() until is_over() or should_stop(), then settle().
/// Engine and sample have to live on. Nothing allocates in proportion to n or m once it
/// has begun, but for save() and settle().
class Annealing {
public:
    /// Begins on the engine: at the first rows, or where the checkpoint of params.resume was left.
    /// First it chooses step and size bias where they are negative, see pace.h.
    Annealing(Engine& engine, const Sample& sample, const VLCParameters& params);

    /// Iterations done, those before a checkpoint included.
    int iterations() const { return state_.iteration; }
    /// Whether all iterations are done.
    bool is_over() const { return state_.iteration >= params_.iterations; }

    /// One iteration: assign, reduce, update, maintain; then it cools down.
    void iterate();
    /// Prints a line about the pace.
    void report_pace() const;
    /// Prints a line about the last iteration.
    void report() const;
    /// Whether the last iteration left it stable, or no better where it was not trained: only once
    /// it has cooled down.
    bool should_stop() const;
    /// Writes a checkpoint if one is due. Not once it should stop: a run resumed from there would
    /// go on.
    void save() const;

    /// Ends it: see settle.h.
    Anchors settle();

private:
    void start();
    void resume();
    AssignSummary assign(int64_t rows);
    void maintain();
    void watch_held_out();

    Engine& engine_;
    const Sample& sample_;
    const Shape shape_;
    VLCParameters params_; ///< with the pace that was chosen
    Schedule schedule_;
    PaceChoice chosen_; ///< of a run that is not resumed
    Checkpoint state_;  ///< before the next iteration; without anchors, biases and labels

    /// Of the last iteration.
    struct Last {
        AssignSummary assigned;
        int64_t n_train = 0;     ///< rows that trained
        int64_t temperature = 0; ///< see Schedule
        Typical typical;
    };
    Last last_;
    MovePlan moves_; ///< of the last iteration

    std::vector<int32_t> dist_, count_, near_label_, near_dist_; // scratch
    std::vector<int64_t> energy_;
};

/// The whole loop: assign, reduce, update, maintain while the temperature falls; then settle. The
/// same integers on every engine. verbose prints a line per iteration.
Anchors anneal(Engine& engine, const Sample& sample, const VLCParameters& params, bool verbose);

} // namespace faiss_vlc
