// calibrate(), included where it is instantiated.
#pragma once

#include <algorithm>

#include "llmc/cpu/embedding.h"
#include "llmc/system/memory_limits.h"
#include "quaff/model/block_setup.h"
#include "quaff/model/calibrate.h"
#include "quaff/model/rope_table.h"

namespace quaff {

// One full-precision layer and the scratch to run it, reused for every layer.
template <class Device>
struct CalibrationLayer {
    using T = typename Device::compute_t;

    Device device;
    Arena<Device> arena;
    RopeTable rope;
    Block<Device> block;
    BlockActivations<Device> activations;
    BlockWorkspace<Device> workspace;
    Matrix<T> stream;  // the block's input, then its output [max_tokens, C]
    Matrix<float> cos, sin;
    std::span<int32_t> cu_seqlens, rope_rows;
    std::vector<float> staging;  // of what is copied to the host

    CalibrationLayer(const Device& device, const ModelFiles& checkpoint, int64_t max_tokens,
                     int64_t max_sequence_length)
        : device(device), arena(device), rope(checkpoint.config(), max_sequence_length) {
        const ModelConfig& config = checkpoint.config();
        block.configure(config, 0, Method::fp, std::vector<std::vector<int32_t>>(kLayersPerBlock),
                        stored_types(checkpoint));
        LinearWorkspaceSizes sizes;
        for (const QuantizedLinear<Device>& linear : block.linears)
            linear.size_workspace(device, sizes, max_tokens, false, 0, 8);
        const auto layout = [&] {
            const MemoryKind kind = MemoryKind::activations;
            block.layout_weights(arena, device);
            block.layout_activations(arena, activations, "calibration", max_tokens);
            block.layout_input(arena, activations, "calibration", max_tokens);
            block.layout_workspace(arena, device, workspace, max_tokens, false);
            workspace.linear.layout(arena, sizes);
            stream = arena.template matrix<T>(kind, "calibration.stream", max_tokens, config.hidden_size);
            cu_seqlens = arena.template vector<int32_t>(kind, "cu_seqlens", max_tokens + 1);
            rope_rows = arena.template vector<int32_t>(kind, "rope rows", max_tokens);
            cos = arena.template matrix<float>(MemoryKind::weights, "rope.cos", rope.rows(), rope.columns());
            sin = arena.template matrix<float>(MemoryKind::weights, "rope.sin", rope.rows(), rope.columns());
        };
        layout();
        require_memory("the device", arena.plan().total(), device.available_memory());
        arena.commit();
        layout();
        fill_from_host(device, cos, [&](Matrix<float> host_cos) {
            fill_from_host(device, sin, [&](Matrix<float> host_sin) { rope.fill(host_cos, host_sin); });
        });
    }

    static void require_memory(const char* where, int64_t needed, int64_t available) {
        require(needed <= available, "calibration needs ", format_bytes(needed), " of memory on ", where, " and ",
                format_bytes(available), " are available; lower --batch-size, --source-max-len or --target-max-len, ",
                "or calibrate on a larger machine and give the file with --outliers");
    }

    // `hidden` [N,C], in host memory, becomes the block's output.
    void run(const Batch& batch, Matrix<float> hidden) {
        std::vector<int32_t> rows(batch.input_ids.size());
        for (size_t s = 0; s + 1 < batch.cu_seqlens.size(); s++)
            for (int32_t n = batch.cu_seqlens[s]; n < batch.cu_seqlens[s + 1]; n++)
                rows[n] = rope.row(batch.positions[n], batch.cu_seqlens[s + 1] - batch.cu_seqlens[s]);
        upload(device, rope_rows, rows);
        upload(device, cu_seqlens, batch.cu_seqlens);
        const SequenceInfo<Device> sequences{cu_seqlens.first(batch.cu_seqlens.size()), batch.max_sequence_length(),
                                             rope_rows.first(rows.size()), cos, sin};
        const cpu::Device host = host_of(device);
        const Matrix<T> x = stream.first_rows(hidden.rows);
        fill_from_host(device, x, [&](Matrix<float> input) { cpu::copy<float>(host, input, hidden); });
        block.forward(device, x, {}, sequences, activations, PassInfo{}, workspace);
        copy<T>(device, x, activations.residual_mlp.first_rows(x.rows));
        add<T>(device, x, workspace.branch.first_rows(x.rows));
        cpu::copy<float>(host, hidden, host_view(device, x, staging));
    }
};

template <class Device>
OutlierChannels calibrate(const Device& device, const ModelFiles& checkpoint, std::span<const Batch> all_batches,
                          const CalibrationOptions& options) {
    const ModelConfig& config = checkpoint.config();
    const int64_t width = config.hidden_size;
    int64_t n_tokens = 0, max_tokens = 0, max_sequence_length = 0, samples = 0;
    std::vector<Batch> batches;  // of this rank
    for (const Batch& batch : all_batches) {
        if (is_mine(*device.comm, &batch - all_batches.data())) {
            batches.push_back(batch);
            n_tokens += batch.n_tokens();
        }
        max_tokens = std::max(max_tokens, batch.n_tokens());
        max_sequence_length = std::max(max_sequence_length, batch.max_sequence_length());
        samples += batch.n_sequences();
    }
    require(max_tokens > 0, "there is no example to calibrate on; give some with --cal-data or --data");

    const std::vector<LinearSpec> specs = linear_specs(config);
    const int64_t row_bytes = width * static_cast<int64_t>(sizeof(float));
    int64_t largest_weight = 0;
    for (const LinearSpec& spec : specs)
        for (const LinearPart& part : spec.parts)
            largest_weight = std::max(largest_weight, part.out_features * spec.in_features);
    const int64_t hidden_bytes =
        std::max(max_tokens * row_bytes, std::min(n_tokens * row_bytes, options.hidden_state_limit));
    CalibrationLayer<Device> layer(device, checkpoint, max_tokens, max_sequence_length);
    layer.require_memory("the host",
                         hidden_bytes + config.vocab_size * width * size_of(checkpoint.dtype(kEmbedding)) +
                             largest_weight * static_cast<int64_t>(sizeof(float)),
                         available_memory());
    std::vector<ChannelStatistics> statistics;
    for (int64_t i = 0; i < config.num_hidden_layers * kLayersPerBlock; i++)
        statistics.emplace_back(specs[i % kLayersPerBlock].in_features, options.strategy, options.threshold);

    std::vector<float> staging;
    for (size_t begin = 0; begin < batches.size();) {
        // A group: as many batches as the limit on hidden states allows, one at least.
        size_t end = begin;
        int64_t tokens = 0;
        const int64_t token_limit = options.hidden_state_limit / row_bytes;
        do tokens += batches[end++].n_tokens();
        while (end < batches.size() && tokens + batches[end].n_tokens() <= token_limit);

        std::vector<float> hidden(tokens * width);
        const Matrix<float> stream(hidden.data(), tokens, width);
        {
            Arena<cpu::Device> arena(host_of(device));
            FrozenMatrix<cpu::Device> table;
            const auto layout = [&] {
                table.layout(arena, MemoryKind::embeddings, "model.embed_tokens", config.vocab_size, width,
                             checkpoint.dtype(kEmbedding));
            };
            layout();
            arena.commit();
            layout();
            table.load(host_of(device), checkpoint, kEmbedding);
            int64_t row = 0;
            for (size_t i = begin; i < end; i++) {
                table.look_up(host_of(device), stream.rows_at(row, batches[i].n_tokens()), batches[i].input_ids);
                row += batches[i].n_tokens();
            }
        }
        for (int64_t index = 0; index < config.num_hidden_layers; index++) {
            layer.block.load(device, checkpoint, index, staging);
            for (int k = 0; k < kLayersPerBlock; k++) {
                layer.block.linears[k].statistics = &statistics[index * kLayersPerBlock + k];
                layer.block.linears[k].observed = &layer.staging;
            }
            int64_t row = 0;
            for (size_t i = begin; i < end; i++) {
                layer.run(batches[i], stream.rows_at(row, batches[i].n_tokens()));
                row += batches[i].n_tokens();
            }
            const double layers_done = static_cast<double>(index + 1) / static_cast<double>(config.num_hidden_layers);
            if (options.progress) options.progress((begin + layers_done * (end - begin)) / batches.size());
        }
        begin = end;
    }

    for (ChannelStatistics& layer : statistics) layer.merge(*device.comm);

    OutlierChannels result{checkpoint.name(),
                           name_of(options.strategy),
                           options.dataset,
                           options.threshold,
                           options.max_ratio.text(),
                           samples,
                           {},
                           {}};
    for (size_t i = 0; i < statistics.size(); i++) {
        const LinearSpec& spec = specs[i % kLayersPerBlock];
        const std::string module = concat("model.layers.", i / kLayersPerBlock, ".", spec.module);
        const std::vector<int32_t> channels =
            statistics[i].outliers(max_outliers(spec.in_features, options.max_ratio.of(module)));
        std::vector<float>& maxima = result.max_abs[module];
        for (int32_t channel : channels) maxima.push_back(statistics[i].max_abs(channel));
        result.channels[module] = channels;
    }
    return result;
}

}  // namespace quaff
