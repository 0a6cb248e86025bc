#include "quaff/run/metrics/answers.h"

#include <algorithm>
#include <iterator>

#include "quaff/model/devices.h"
#include "quaff/run/generate.h"

namespace quaff {
namespace {

bool is_labelled(int32_t label) {
    return label != kIgnoreLabel;
}

}  // namespace

Question question_of(const Example& example, const SourceTarget& text) {
    const std::vector<int32_t>& labels = example.labels;
    auto begin = std::ranges::find_if(labels, is_labelled);
    auto end = std::find_if_not(begin, labels.end(), is_labelled);
    if (!text.target.empty()) {
        end = std::find_if(labels.rbegin(), labels.rend(), is_labelled).base();
        begin = std::find_if_not(std::reverse_iterator(end), labels.rend(), is_labelled).base();
    }
    const std::span<const int32_t> ids = example.input_ids;
    const auto from = static_cast<size_t>(begin - labels.begin()), length = static_cast<size_t>(end - begin);
    return {ids.first(from), ids.subspan(from, length)};
}

bool has_prompt(const Example& example, const SourceTarget& text) {
    const size_t length = question_of(example, text).prompt.size();
    return text.source.empty() ? text.target.empty() && length > 1 : length > 0;
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
