#include "quaff/run/metrics/likelihood.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "llmc/core/error.h"
#include "quaff/model/devices.h"

namespace quaff {
namespace {

// The window that scores x[first] .. x[end-1], each of them behind x[begin] and all others before it.
Batch window_batch(std::span<const int32_t> x, size_t begin, size_t first, size_t end) {
    Batch batch;
    batch.input_ids.assign(x.begin() + static_cast<std::ptrdiff_t>(begin),
                           x.begin() + static_cast<std::ptrdiff_t>(end) - 1);
    batch.positions.resize(batch.input_ids.size());
    std::iota(batch.positions.begin(), batch.positions.end(), 0);
    batch.cu_seqlens = {0, static_cast<int32_t>(batch.input_ids.size())};
    batch.examples = {0};
    for (size_t i = first; i < end; ++i) {
        batch.label_rows.push_back(static_cast<int32_t>(i - 1 - begin));
        batch.label_ids.push_back(x[i]);
    }
    return batch;
}

}  // namespace

OptionExamples option_examples(std::span<const int32_t> prompt, const Choices& choices, const TextEncoding& encoding,
                               int64_t batch_size) {
    OptionExamples made;
    for (size_t option = 0; option < choices.options.size(); ++option) {
        const std::vector<int32_t> ids = encoding.encode(choices.options[option]);
        if (ids.empty()) continue;
        Example& example = made.examples.emplace_back();
        example.input_ids.assign(prompt.begin(), prompt.end());
        example.labels.assign(prompt.size(), kIgnoreLabel);
        example.input_ids.insert(example.input_ids.end(), ids.begin(), ids.end());
        example.labels.insert(example.labels.end(), ids.begin(), ids.end());
        made.option.push_back(option);
    }
    made.batches = sequential_batches(made.examples, batch_size, kEvaluationTokens);
    return made;
}

template <class Device>
std::vector<double> option_likelihoods(Model<Device>& model, std::span<const int32_t> prompt, const Choices& choices,
                                       const TextEncoding& encoding, int64_t batch_size) {
    const OptionExamples options = option_examples(prompt, choices, encoding, batch_size);
    std::vector<double> likelihoods(choices.options.size(), -std::numeric_limits<double>::infinity());
    for (const std::vector<int64_t>& positions : options.batches) {
        const Batch batch = pack(options.examples, positions);
        const LossSums sums = model.evaluate(batch);
        size_t row = 0;
        for (size_t s = 0; s < positions.size(); ++s) {
            double loss = 0;
            for (; row < batch.label_rows.size() && batch.label_rows[row] < batch.cu_seqlens[s + 1]; ++row)
                loss += sums.losses[row];
            const size_t option = options.option[static_cast<size_t>(positions[s])];
            likelihoods[option] = -loss / static_cast<double>(choices.options[option].size());
        }
    }
    return likelihoods;
}

void for_each_window(std::span<const int32_t> ids, int32_t prefix, const TextWindow& window,
                     const std::function<void(const Batch& batch)>& take) {
    require(window.length >= 1 && window.stride >= 1 && window.stride <= window.length,
            "a window's stride must be from 1 to its length of ", window.length, ", not ", window.stride);
    std::vector<int32_t> x;
    if (prefix >= 0) x.push_back(prefix);
    x.insert(x.end(), ids.begin(), ids.end());
    const auto length = static_cast<size_t>(window.length), stride = static_cast<size_t>(window.stride);
    for (size_t first = 1; first < x.size();) {
        const size_t end = std::min(first + (first == 1 ? length : stride), x.size());
        take(window_batch(x, end - 1 > length ? end - 1 - length : 0, first, end));
        first = end;
    }
}

int32_t prefix_of(const TextEncoding& encoding) {
    return encoding.bos_id >= 0 ? encoding.bos_id : encoding.eos_id;
}

template <class Device>
double text_log_probability(Model<Device>& model, std::string_view text, const TextEncoding& encoding,
                            const TextWindow& window, const std::function<void()>& before_pass) {
    double log_probability = 0;
    for_each_window(encoding.encode(text), prefix_of(encoding), window, [&](const Batch& batch) {
        before_pass();
        log_probability -= model.evaluate(batch).loss;
    });
    return log_probability;
}

#define INSTANTIATE(Device)                                                                                        \
    template std::vector<double> option_likelihoods(Model<Device>&, std::span<const int32_t>, const Choices&,      \
                                                    const TextEncoding&, int64_t);                                 \
    template double text_log_probability(Model<Device>&, std::string_view, const TextEncoding&, const TextWindow&, \
                                         const std::function<void()>&);
QUAFF_FOR_EACH_DEVICE(INSTANTIATE)

}  // namespace quaff
