#include "quaff/run/training/outlier_watch.h"

#include <algorithm>

#include "llmc/core/error.h"
#include "llmc/core/hadamard.h"
#include "quaff/model/devices.h"

namespace quaff {
namespace {

const char* option_of(const Options& options) {
    return options.training.track_outliers ? "track-outliers" : "refresh-outliers";
}

// The channels of highest rank, as many as there were before, ascending; if fewer have a rank, the first of the old
// ones that have none.
std::vector<int32_t> as_many(const ChannelStatistics& ranks, const std::vector<int32_t>& before) {
    std::vector<int32_t> after = ranks.outliers(std::ssize(before));
    const std::vector<int32_t> found = after;
    for (const int32_t channel : before)
        if (after.size() < before.size() && !std::ranges::binary_search(found, channel)) after.push_back(channel);
    std::ranges::sort(after);
    return after;
}

std::vector<OutlierTracker> make_trackers(const Options& options, const StartingPoint& start, const ModelConfig& config,
                                          const LinearMethod& method, Terminal& terminal) {
    const OutlierChannels& outliers = start.outliers;
    const OutlierOptions& asked = options.outliers;
    require(method.has_chosen_channels(), "--", option_of(options), ": the method ", name_of(start.method),
            " has no outlier channels");
    const std::optional<OutlierStrategy> own = value_in(kOutlierStrategyNames, outliers.strategy);
    if (!own)
        terminal.warn(concat("--", option_of(options),
                             ": nothing says how the outlier channels were found; those of the batches ",
                             "are found by ", name_of(asked.strategy)));
    if (count_channels(outliers) == 0)
        terminal.warn(concat("--", option_of(options),
                             ": no layer has an outlier channel, so that none is looked for in the batches"));
    std::vector<OutlierTracker> trackers;
    for (const JointLinear& joint : all_joint_linears(config)) {
        const auto chosen = outliers.channels.find(joint.name);
        trackers.emplace_back(joint.in_features,
                              chosen == outliers.channels.end() ? std::vector<int32_t>() : chosen->second,
                              own.value_or(asked.strategy), own ? outliers.threshold : asked.threshold,
                              method.rotation ? hadamard_block(joint.in_features) : 0);
    }
    return trackers;
}

}  // namespace

template <class Device>
OutlierWatch<Device>::OutlierWatch(const Options& options, StartingPoint& start, const ModelFiles& files,
                                   Model<Device>& model, Terminal& terminal, int64_t step)
    : options_(options.training), outliers_(start.outliers), files_(files), model_(model), terminal_(terminal) {
    const bool tracks = options_.track_outliers && model.comm().is_first();
    if (!tracks && options_.refresh_outliers == 0) return;
    trackers_ = make_trackers(options, start, model.config(), model.options().linear(), terminal);
    if (tracks) stability_.emplace(options.out, outliers_.model, model.config(), trackers_, terminal, step);
    model.track(trackers_);
}

template <class Device>
bool OutlierWatch<Device>::refreshes(int64_t step) const {
    return options_.refresh_outliers > 0 && step % options_.refresh_outliers == 0;
}

template <class Device>
void OutlierWatch<Device>::begin_step(int64_t step) {
    if (!stability_ && !refreshes(step)) return;
    for (OutlierTracker& tracker : trackers_) tracker.begin_step(refreshes(step));
}

template <class Device>
int64_t OutlierWatch<Device>::end_step(int64_t step) {
    if (stability_) stability_->end_step(step);
    return refreshes(step) ? refresh() : 0;
}

template <class Device>
int64_t OutlierWatch<Device>::refresh() {
    int64_t changed = 0, layers = 0;
    const std::vector<JointLinear> joints = all_joint_linears(model_.config());
    for (size_t i = 0; i < trackers_.size(); ++i) {
        OutlierTracker& tracker = trackers_[i];
        ChannelStatistics ranks = tracker.take_ranks();
        ranks.merge(model_.comm());
        const std::vector<int32_t>&before = tracker.channels(), after = as_many(ranks, before);
        if (after == before) continue;
        std::vector<float> maxima;
        for (const int32_t channel : after) maxima.push_back(ranks.max_abs(channel));
        model_.set_channels(i, after, maxima, files_);
        layers++;
        changed += std::ranges::count_if(after, [&](int32_t c) { return !std::ranges::binary_search(before, c); });
        if (!outliers_.max_abs.empty()) outliers_.max_abs[joints[i].name] = maxima;
        outliers_.channels[joints[i].name] = after;
        tracker.set_channels(after);
    }
    if (changed > 0)
        terminal_.line(concat(counted(changed, "outlier channel"), " of ", format_count(count_channels(outliers_)),
                              " replaced, in ", counted(layers, "layer")));
    return changed;
}

template <class Device>
void OutlierWatch<Device>::finish() {
    if (stability_) stability_->finish();
}

#define INSTANTIATE(Device) template class OutlierWatch<Device>;
QUAFF_FOR_EACH_DEVICE(INSTANTIATE)

}  // namespace quaff
