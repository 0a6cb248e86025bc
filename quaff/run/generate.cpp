#include "quaff/run/generate.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "llmc/core/error.h"
#include "llmc/core/philox.h"
#include "quaff/model/devices.h"
#include "quaff/model/generator.h"

namespace quaff {
namespace {

// Uniform in [0, 1): 53 bits of two Philox words. The last counter word sets these numbers apart from dropout's.
double uniform(uint64_t seed, uint64_t sequence, uint64_t position) {
    const PhiloxWords words = philox4x32_10({static_cast<uint32_t>(position), static_cast<uint32_t>(position >> 32),
                                             static_cast<uint32_t>(sequence), 0x73616d70u},
                                            {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
    return static_cast<double>((uint64_t{words.x0} << 21) ^ (words.x1 >> 11)) * 0x1p-53;
}

}  // namespace

int32_t next_token(std::span<const float> logits, const SamplingOptions& sampling, uint64_t sequence,
                   uint64_t position) {
    require(!logits.empty(), "the model gave no logits to draw a token from");
    require(std::ranges::all_of(logits, [](float logit) { return std::isfinite(logit); }),
            "the model's logits are not finite: values in its weights, or in the adapter, are damaged or too large; "
            "train_quaff eval names the first layer");
    const auto best = std::max_element(logits.begin(), logits.end());  // the first of several
    if (sampling.temperature == 0) return static_cast<int32_t>(best - logits.begin());

    // Candidates by falling logit, equal ones by id.
    std::vector<int32_t> ids(logits.size());
    std::iota(ids.begin(), ids.end(), 0);
    const auto likelier = [&](int32_t a, int32_t b) { return logits[a] != logits[b] ? logits[a] > logits[b] : a < b; };
    const size_t kept = sampling.top_k > 0 ? std::min(ids.size(), static_cast<size_t>(sampling.top_k)) : ids.size();
    std::partial_sort(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(kept), ids.end(), likelier);
    ids.resize(kept);

    std::vector<double> weights(kept);
    for (size_t i = 0; i < kept; ++i)
        weights[i] =
            std::exp((static_cast<double>(logits[ids[i]]) - static_cast<double>(*best)) / sampling.temperature);
    double total = std::accumulate(weights.begin(), weights.end(), 0.0);
    if (sampling.top_p < 1) {
        double held = 0;
        size_t nucleus = 0;
        while (nucleus < kept && (nucleus == 0 || held < sampling.top_p * total)) held += weights[nucleus++];
        weights.resize(nucleus);
        total = held;
    }
    double left = uniform(sampling.seed, sequence, position) * total;
    for (size_t i = 0; i + 1 < weights.size(); ++i) {
        if (left < weights[i]) return ids[i];
        left -= weights[i];
    }
    return ids[weights.size() - 1];
}

template <class Device>
std::vector<int32_t> generate(Model<Device>& model, std::span<const int32_t> prompt, int64_t max_new_tokens,
                              std::span<const int32_t> end_tokens, const SamplingOptions& sampling, uint64_t sequence,
                              const std::function<bool(int32_t)>& on_token) {
    require(!prompt.empty(), "the prompt has no token to continue from, and the tokenizer puts none in front");
    const auto prompt_length = static_cast<int64_t>(prompt.size());
    const int64_t room = model.max_sequence_length() - prompt_length;
    const int64_t limit = std::min(max_new_tokens, room);
    std::vector<int32_t> made;
    if (limit <= 0) return made;
    Generator<Device> generator(model, prompt_length + limit);
    std::span<const float> logits = generator.prefill(prompt);
    for (;;) {
        const int32_t token = next_token(logits, sampling, sequence, made.size());
        if (std::find(end_tokens.begin(), end_tokens.end(), token) != end_tokens.end()) return made;
        made.push_back(token);
        if (!on_token(token) || static_cast<int64_t>(made.size()) == limit) return made;
        logits = generator.decode(token);
    }
}

#define INSTANTIATE(Device)                                                                            \
    template std::vector<int32_t> generate(Model<Device>&, std::span<const int32_t>, int64_t,          \
                                           std::span<const int32_t>, const SamplingOptions&, uint64_t, \
                                           const std::function<bool(int32_t)>&);
QUAFF_FOR_EACH_DEVICE(INSTANTIATE)

}  // namespace quaff
