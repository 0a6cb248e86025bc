// Text generation: the next token, again and again, until one of the end tokens or the limit.
//
// With temperature 0 the next token is the likeliest (the lowest id of several). Otherwise it is drawn from
//
//   softmax(logits / temperature), restricted to the top_k likeliest and then to the fewest likeliest tokens that
//   together hold the probability top_p, both as in Hugging Face,
//
// with Philox numbers that depend on the seed, the prompt's number and the position only.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "quaff/model/model.h"

namespace quaff {

struct SamplingOptions {
    double temperature = 0;
    int64_t top_k = 0;  // 0: all
    double top_p = 1;
    uint64_t seed = 0;
};

// `sequence` and `position` name the random number.
int32_t next_token(std::span<const float> logits, const SamplingOptions& sampling, uint64_t sequence,
                   uint64_t position);

// The tokens after `prompt`, without the end token. `on_token` sees each as it is made and may end the generation by
// returning false. The model must have been planned for the prompt as a micro-batch and for the whole as a sequence.
template <class Device>
std::vector<int32_t> generate(Model<Device>& model, std::span<const int32_t> prompt, int64_t max_new_tokens,
                              std::span<const int32_t> end_tokens, const SamplingOptions& sampling, uint64_t sequence,
                              const std::function<bool(int32_t)>& on_token);

}  // namespace quaff
