// calibrate(), included where it is instantiated, after the device's operators: calibrate.cpp and cuda/model.cuh.
#pragma once

#include <algorithm>
#include <cmath>

#include "llmc/cpu/embedding.h"
#include "llmc/cpu/scale.h"
#include "llmc/system/memory_limits.h"
#include "quaff/model/block.h"
#include "quaff/model/calibrate.h"
#include "quaff/model/micro_batch.h"
#include "quaff/model/outlier_budget.h"

namespace quaff {

inline void require_memory_to_calibrate(const char* where, int64_t needed, int64_t available) {
    require(needed <= available, "calibration needs ", format_bytes(needed), " of memory on ", where, " and ",
            format_bytes(available), " are available; lower --batch-size, --source-max-len or --target-max-len, ",
            "or calibrate on a larger machine and give the file with --outliers");
}

// One full-precision layer and the scratch to run it, reused for every layer.
template <class Device>
class CalibrationLayer {
  public:
    using T = typename Device::compute_t;

    CalibrationLayer(const Device& device, const ModelFiles& checkpoint, const MicroBatchLimits& limits)
        : device_(device), arena_(device, kMemoryKinds), batch_(checkpoint.config(), limits) {
        block_.configure(checkpoint.config(), 0, linear_method(Method::fp), std::vector<LayerOutliers>(kLayersPerBlock),
                         stored_types(checkpoint));
        const auto everything = [&](Arena<Device>& arena) { layout(arena, limits.max_tokens); };
        require_memory_to_calibrate("the device", arena_.dry_run(everything).total(), device.available_memory());
        arena_.build(everything);
        batch_.load(device);
    }

    // Becomes layer `index`. What its linears read is added to `statistics`, one for each of them.
    void load(const ModelFiles& checkpoint, int64_t index, std::span<ChannelStatistics> statistics) {
        block_.load(device_, checkpoint, index, weight_staging_);
        for (int k = 0; k < kLayersPerBlock; k++) {
            block_.linears[k].statistics = &statistics[static_cast<size_t>(k)];
            block_.linears[k].observed = &staging_;
        }
    }

    // `hidden` [N,C], in host memory, becomes the block's output.
    void run(const Batch& batch, Matrix<float> hidden) {
        batch_.send(device_, batch);
        const cpu::Device host = host_of(device_);
        const Matrix<T> x = stream_.first_rows(hidden.rows);
        fill_from_host(device_, x, [&](Matrix<float> input) { cpu::copy<float>(host, input, hidden); });
        const Stream<Device> out =
            block_.forward(device_, {x, {}}, batch_.sequences(), activations_, PassInfo{}, workspace_);
        copy<T>(device_, x, out.x);
        add<T>(device_, x, out.delta);
        cpu::copy<float>(host, hidden, host_view(device_, x, staging_));
    }

  private:
    void layout(Arena<Device>& arena, int64_t max_tokens) {
        block_.layout_weights(arena, device_);
        {
            const ArenaScope scope(arena, "calibration");
            block_.layout_activations(arena, activations_, max_tokens, block_.ranks());
            block_.layout_input(arena, activations_, max_tokens);
            arena.place(stream_, MemoryKind::activations, "stream", max_tokens, block_.hidden_size);
        }
        block_.layout_workspace(arena, device_, workspace_, max_tokens, /*training=*/false);
        LinearWorkspaceSizes sizes;
        for (const QuantizedLinear<Device>& linear : block_.linears)
            linear.size_workspace(device_, sizes, max_tokens, /*training=*/false, 0, 8);
        workspace_.linear.layout(arena, sizes);
        batch_.layout(arena);
    }

    Device device_;
    Arena<Device> arena_;
    MicroBatch<Device> batch_;
    Block<Device> block_;
    BlockActivations<Device> activations_;
    BlockWorkspace<Device> workspace_;
    Matrix<T> stream_;                             // the block's input, then its output [max_tokens, C]
    std::vector<float> weight_staging_, staging_;  // of what comes from files, and of what is copied to the host
};

// hidden [N,C], in host memory, = the embeddings of the batches' tokens, one batch after the other.
inline void look_up_embeddings(const cpu::Device& host, const ModelFiles& checkpoint, std::span<const Batch> batches,
                               Matrix<float> hidden) {
    Arena<cpu::Device> arena(host, kMemoryKinds);
    FrozenMatrix<cpu::Device> table;
    arena.build([&](Arena<cpu::Device>& from) {
        table.layout(from, MemoryKind::embeddings, "model.embed_tokens", checkpoint.config().vocab_size, hidden.cols,
                     checkpoint.dtype(checkpoint.embedding()));
    });
    table.load(host, checkpoint, checkpoint.embedding());
    const auto factor = static_cast<float>(checkpoint.config().embedding_multiplier);
    int64_t row = 0;
    for (const Batch& batch : batches) {
        const Matrix<float> of_batch = hidden.rows_at(row, batch.n_tokens());
        table.look_up(host, of_batch, batch.input_ids);
        if (factor != 1) cpu::scale<float>(host, of_batch, of_batch, factor);
        row += batch.n_tokens();
    }
}

// Of every linear's input, for --outlier-budget: 64 rows of 8,192 channels are 2 MiB.
constexpr int64_t kRowsToMeasure = 64;

template <class Device>
OutlierChannels calibrate(const Device& device, const ModelFiles& checkpoint, std::span<const Batch> all_batches,
                          const CalibrationOptions& options) {
    const ModelConfig& config = checkpoint.config();
    const int64_t width = config.hidden_size;
    MicroBatchLimits limits;
    int64_t n_tokens = 0, samples = 0;
    std::vector<Batch> batches;  // of this rank
    for (const Batch& batch : all_batches) {
        if (is_mine(*device.comm, &batch - all_batches.data())) {
            batches.push_back(batch);
            n_tokens += batch.n_tokens();
        }
        limits.max_tokens = std::max(limits.max_tokens, batch.n_tokens());
        limits.max_sequence_length = std::max(limits.max_sequence_length, batch.max_sequence_length());
        limits.max_labelled = std::max(limits.max_labelled, batch.n_labelled());
        samples += batch.n_sequences();
    }
    require(limits.max_tokens > 0, "there is no example to calibrate on; give some with --cal-data or --data");

    const int64_t row_bytes = width * static_cast<int64_t>(sizeof(float));
    const std::vector<JointLinear> joints = all_joint_linears(config);
    const int64_t kept_rows = options.budget > 0 ? std::min(n_tokens, kRowsToMeasure) : 0;
    int64_t largest_weight = 0, kept_values = 0;
    for (const JointLinear& joint : joints) {
        kept_values += kept_rows * joint.in_features;
        for (const LinearPart& part : joint.parts)
            largest_weight = std::max(largest_weight, part.out_features * joint.in_features);
    }
    const int64_t hidden_bytes =
        std::max(limits.max_tokens * row_bytes, std::min(n_tokens * row_bytes, options.hidden_state_limit));
    CalibrationLayer<Device> layer(device, checkpoint, limits);
    require_memory_to_calibrate("the host",
                                hidden_bytes +
                                    config.vocab_size * width * size_of(checkpoint.dtype(checkpoint.embedding())) +
                                    (largest_weight + kept_values) * static_cast<int64_t>(sizeof(float)),
                                available_memory());
    std::vector<ChannelStatistics> statistics;
    for (const JointLinear& joint : joints) {
        statistics.emplace_back(joint.in_features, options.strategy, options.threshold);
        if (options.budget > 0) statistics.back().keep_rows(std::max(int64_t{1}, ceil_div(n_tokens, kRowsToMeasure)));
    }

    for (size_t begin = 0; begin < batches.size();) {
        // A group: as many batches as the limit on hidden states allows, one at least.
        size_t end = begin;
        int64_t tokens = 0;
        const int64_t token_limit = options.hidden_state_limit / row_bytes;
        do tokens += batches[end++].n_tokens();
        while (end < batches.size() && tokens + batches[end].n_tokens() <= token_limit);
        const auto group = std::span<const Batch>(batches).subspan(begin, end - begin);

        std::vector<float> values(static_cast<size_t>(tokens * width));
        const Matrix<float> hidden(values.data(), tokens, width);
        look_up_embeddings(host_of(device), checkpoint, group, hidden);
        for (int64_t index = 0; index < config.num_hidden_layers; index++) {
            layer.load(checkpoint, index,
                       std::span(statistics).subspan(static_cast<size_t>(index * kLayersPerBlock), kLayersPerBlock));
            int64_t row = 0;
            for (const Batch& batch : group) {
                layer.run(batch, hidden.rows_at(row, batch.n_tokens()));
                row += batch.n_tokens();
            }
            require(std::all_of(values.begin(), values.end(), [](float value) { return std::isfinite(value); }),
                    "calibration: the output of ", block_name(config, index),
                    " is not finite. Its weights are damaged, or too ",
                    "large for the compute type: fetch the model again, or use --dtype fp32");
            const double layers_done = static_cast<double>(index + 1) / static_cast<double>(config.num_hidden_layers);
            if (options.progress) options.progress((begin + layers_done * (end - begin)) / batches.size());
        }
        begin = end;
    }

    for (ChannelStatistics& of_linear : statistics) of_linear.merge(*device.comm);
    const MaxRatio max_ratio = options.budget > 0 ? ratios_within(options.budget, joints, statistics, options.rotation,
                                                                  *device.comm, host_of(device).threads)
                                                  : options.max_ratio;

    OutlierChannels result;
    result.model = checkpoint.name();
    result.strategy = name_of(options.strategy);
    result.dataset = options.dataset;
    result.threshold = options.threshold;
    result.max_ratio = max_ratio.text();
    result.samples = samples;
    for (size_t i = 0; i < joints.size(); i++) {
        const std::string& name = joints[i].name;
        const int64_t most = max_outliers(joints[i].in_features, max_ratio.of(name));
        result.channels[name] = statistics[i].outliers(most);
        std::vector<float>& maxima = result.max_abs[name];
        for (int32_t channel : result.channels[name]) maxima.push_back(statistics[i].max_abs(channel));
    }
    return result;
}

}  // namespace quaff
