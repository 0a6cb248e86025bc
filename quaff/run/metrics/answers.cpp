#include "quaff/run/metrics/answers.h"

#include <algorithm>

#include "quaff/model/devices.h"
#include "quaff/run/generate.h"

namespace quaff {
namespace {

struct Tokens {
    size_t begin, end;
};

// The last run of labelled tokens.
Tokens last_answer(const Example& example) {
    const auto is_labelled = [](int32_t label) { return label != kIgnoreLabel; };
    const auto end = std::find_if(example.labels.rbegin(), example.labels.rend(), is_labelled);
    const auto begin = std::find_if_not(end, example.labels.rend(), is_labelled);
    return {static_cast<size_t>(example.labels.rend() - begin), static_cast<size_t>(example.labels.rend() - end)};
}

}  // namespace

std::span<const int32_t> prompt_of(const Example& example) {
    return std::span(example.input_ids).first(last_answer(example).begin);
}

bool has_prompt(const Example& example, const SourceTarget& text) {
    return text.source.empty() ? text.target.empty() && prompt_of(example).size() > 1 : !prompt_of(example).empty();
}

std::span<const int32_t> last_answer_of(const Example& example) {
    const auto [begin, end] = last_answer(example);
    return std::span(example.input_ids).subspan(begin, end - begin);
}

template <class Device>
std::string answer(Model<Device>& model, std::span<const int32_t> prompt, int64_t max_new_tokens,
                   const ExampleReader& reader) {
    const std::vector<int32_t> made =
        generate(model, prompt, max_new_tokens, reader.end_tokens(), {}, 0, [](int32_t) { return true; });
    return reader.tokenizer()->decode(made, /*skip_special=*/true);
}

#define INSTANTIATE(Device) \
    template std::string answer(Model<Device>&, std::span<const int32_t>, int64_t, const ExampleReader&);
QUAFF_FOR_EACH_DEVICE(INSTANTIATE)

}  // namespace quaff
