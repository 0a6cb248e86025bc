// A chat template, rendered twice from variables of every kind: both times the same text or the same refusal, within
// the limits. Memory is bounded by these limits, not by the size of the input.
#include <nlohmann/json.hpp>

#include "llmc/jinja/template.h"
#include "test/fuzz/fuzz.h"

namespace {

using nlohmann::ordered_json;

constexpr std::string_view kVariables = R"json({
    "messages": [{"role": "system", "content": " Be kind.\n"}, {"role": "user", "content": "Größe? <b>"},
                 {"role": "assistant", "content": "小さい", "tool_calls": [{"function": {"name": "f", "arguments": {"x": 1}}}]}],
    "tools": [{"type": "function", "function": {"name": "tide", "parameters": {"type": "object", "required": []}}}],
    "add_generation_prompt": true, "bos_token": "<s>", "eos_token": "</s>", "none": null, "e": "", "l": [3, 1, 2],
    "d": {"a": 1, "b": "x", "items": [1.5, true, null]}, "f": 2.5, "n": 7, "s": "Hello World"})json";

struct Outcome {
    std::string text, error;
    bool operator==(const Outcome&) const = default;
};

Outcome render(std::string_view source, const ordered_json& variables, const llmc::jinja::RenderOptions& options) {
    try {
        const auto rendering = llmc::jinja::Template::parse(source, "t.jinja").render(variables, options);
        for (const auto& span : rendering.generation)
            if (span.begin > span.end || span.end > rendering.text.size()) std::abort();
        if (rendering.text.size() > options.max_output_bytes) std::abort();
        return {rendering.text, ""};
    } catch (const llmc::Error& error) {
        return {"", error.what()};
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static const ordered_json variables = ordered_json::parse(kVariables);
    const llmc::jinja::RenderOptions options{.date = llmc::jinja::Date{2024, 7, 26},
                                             .max_steps = 200'000,
                                             .max_value_bytes = 16 << 20,
                                             .max_output_bytes = 1 << 20};
    const std::string_view source = fuzz::text_of(data, size);
    const Outcome outcome = render(source, variables, options);
    if (outcome != render(source, variables, options)) std::abort();
    // A refusal names the template, a line and a column.
    if (!outcome.error.empty() && !outcome.error.starts_with("t.jinja:")) std::abort();
    return 0;
}
