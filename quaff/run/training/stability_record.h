// A line of out/ossh.jsonl: how the outlier channels of one joint linear held in one step. P are the channels that were
// chosen before training, F those that the step's batch has of its own (quaff/model/outlier_tracker.h).
//
//   step, module, tokens            what was looked at: the step's first micro-batch, with several ranks the first
//                                   one's; on a GPU OutlierTracker::kMostCopied tokens of it at most
//   channels, found                 |P| and |F|
//   hit_rate                        |P and F| / |F|
//   overlap_previous, _first        |F and F'| / |F or F'|, F' being F of the step before and of the file's first step
//   energy_outside                  share of the sum of x^2 outside P
//   row_maxima_outside              share of the tokens whose largest |x| is outside P
//   snr_x_db                        signal to noise of the quantised input
//   scale_mean, scale_min, _max     of s, as this micro-batch was computed
//   entered, left                   what F has that F' of the step before had not, and the reverse: so F can be had
//                                   from the file
//
// A figure that does not exist (no channel, no step before, no scales) is null, and not a number here. Figures have six
// digits.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "quaff/model/outlier_tracker.h"

namespace quaff {

struct StabilityRecord {
    int64_t step = 0;
    std::string module;  // "model.layers.0.self_attn.qkv_proj"
    int64_t tokens = 0, channels = 0, found = 0;
    double hit_rate = 0, overlap_previous = 0, overlap_first = 0;
    double energy_outside = 0, row_maxima_outside = 0, snr_x_db = 0;
    double scale_mean = 0, scale_min = 0, scale_max = 0;
    std::vector<int32_t> entered, left;  // ascending
};

// The record's figures by the names they have in the file.
struct NamedFigure {
    const char* name;
    double StabilityRecord::*value;
};
inline constexpr NamedFigure kStabilityFigures[] = {{"hit_rate", &StabilityRecord::hit_rate},
                                                    {"overlap_previous", &StabilityRecord::overlap_previous},
                                                    {"overlap_first", &StabilityRecord::overlap_first},
                                                    {"energy_outside", &StabilityRecord::energy_outside},
                                                    {"row_maxima_outside", &StabilityRecord::row_maxima_outside},
                                                    {"snr_x_db", &StabilityRecord::snr_x_db},
                                                    {"scale_mean", &StabilityRecord::scale_mean},
                                                    {"scale_min", &StabilityRecord::scale_min},
                                                    {"scale_max", &StabilityRecord::scale_max}};

// F of the steps before.
struct FoundBefore {
    std::vector<int32_t> previous, first;
    int64_t steps = 0;  // 0: neither exists
};

// What `tracker` has seen in `step`.
StabilityRecord record_of(int64_t step, const std::string& module, const OutlierTracker& tracker,
                          const FoundBefore& before);
// Carries `before` over the step that `record` is of.
void advance(FoundBefore& before, const StabilityRecord& record);

nlohmann::ordered_json to_json(const StabilityRecord& record);
// Nothing if the line is none that to_json() made.
std::optional<StabilityRecord> stability_record(const nlohmann::json& line);

}  // namespace quaff
