#include "quaff/run/metrics/answers.h"

#include <algorithm>

#include "quaff/model/devices.h"
#include "quaff/run/generate.h"

namespace quaff {
namespace {

bool is_labelled(int32_t label) {
    return label != kIgnoreLabel;
}

}  // namespace

std::span<const int32_t> prompt_of(const Example& example) {
    const auto labelled = std::ranges::find_if(example.labels, is_labelled);
    return std::span(example.input_ids).first(static_cast<size_t>(labelled - example.labels.begin()));
}

bool has_prompt(const Example& example, const SourceTarget& text) {
    return text.source.empty() ? text.target.empty() && prompt_of(example).size() > 1 : !prompt_of(example).empty();
}

std::span<const int32_t> first_answer_of(const Example& example) {
    const auto begin = std::ranges::find_if(example.labels, is_labelled);
    const auto end = std::find_if_not(begin, example.labels.end(), is_labelled);
    return std::span(example.input_ids)
        .subspan(static_cast<size_t>(begin - example.labels.begin()), static_cast<size_t>(end - begin));
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
