#include "llmc/data/batch.h"

#include <algorithm>
#include <limits>

#include "llmc/core/error.h"
#include "llmc/core/program.h"

namespace llmc {

int64_t Batch::max_sequence_length() const {
    int64_t longest = 0;
    for (size_t s = 0; s + 1 < cu_seqlens.size(); ++s)
        longest = std::max<int64_t>(longest, cu_seqlens[s + 1] - cu_seqlens[s]);
    return longest;
}

Batch pack(std::span<const Example* const> examples) {
    int64_t n_tokens = 0;
    for (const Example* example : examples) {
        require(example->labels.size() == example->input_ids.size(), "example ", example->index, " has ",
                example->input_ids.size(), " input_ids, but ", example->labels.size(), " labels");
        n_tokens += static_cast<int64_t>(example->input_ids.size());
    }
    require(n_tokens <= std::numeric_limits<int32_t>::max(), "a micro-batch of ", n_tokens,
            " tokens is too large; lower ", program().batch_size);

    Batch batch;
    batch.input_ids.reserve(n_tokens);
    batch.positions.reserve(n_tokens);
    batch.cu_seqlens.reserve(examples.size() + 1);
    batch.examples.reserve(examples.size());
    batch.cu_seqlens.push_back(0);
    for (const Example* example : examples) {
        const int32_t begin = batch.cu_seqlens.back();
        const int32_t length = static_cast<int32_t>(example->input_ids.size());
        batch.input_ids.insert(batch.input_ids.end(), example->input_ids.begin(), example->input_ids.end());
        for (int32_t t = 0; t < length; ++t) batch.positions.push_back(t);
        // Row t predicts token t+1 of the same sequence, so no row predicts the first token and the last row predicts
        // nothing.
        for (int32_t t = 0; t + 1 < length; ++t) {
            if (example->labels[t + 1] == kIgnoreLabel) continue;
            batch.label_rows.push_back(begin + t);
            batch.label_ids.push_back(example->labels[t + 1]);
        }
        batch.cu_seqlens.push_back(begin + length);
        batch.examples.push_back(example->index);
    }
    return batch;
}

Batch pack(std::span<const Example> examples, std::span<const int64_t> indices) {
    std::vector<const Example*> chosen;
    chosen.reserve(indices.size());
    for (int64_t i : indices) chosen.push_back(&examples[i]);
    return pack(chosen);
}

}  // namespace llmc
