// A chat template in Jinja's language, parsed once and rendered often. It renders what transformers'
// apply_chat_template renders: jinja2's ImmutableSandboxedEnvironment with trim_blocks and lstrip_blocks, loop
// controls, {% generation %}, raise_exception, strftime_now and transformers' tojson. Values behave as Python's do.
//
// A template comes from strangers: no attribute leads out of the values it was given, and its steps, depth, memory and
// output are bounded (RenderOptions).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace llmc::jinja {

// Bytes [begin, end) of Rendering::text.
struct Span {
    size_t begin, end;
};

struct Rendering {
    std::string text;  // UTF-8
    std::vector<Span>
        generation;  // what the {% generation %} blocks wrote, in the order they ended, as transformers counts
};

// A day, at 00:00:00.
struct Date {
    int year, month, day;  // month from 1 to 12, day from 1 to 31
};

// What a rendering may use. A template that goes beyond a limit is refused.
struct RenderOptions {
    std::optional<Date> date = {};       // what strftime_now sees; nothing: the clock's local time
    int64_t max_steps = 50'000'000;      // evaluated nodes; work on long values counts by its size
    int max_depth = 1000;                // nested evaluations: expressions, blocks, macro calls
    size_t max_value_bytes = 512 << 20;  // all values that the rendering makes, freed together at its end
    size_t max_output_bytes = 64 << 20;
};

namespace syntax {
struct Program;
}

// Immutable, cheap to copy or move. Several threads may render one template at once.
class Template {
  public:
    // Throws Error "NAME:LINE:COLUMN: ..." (both counted from 1; columns in characters) when `source` is not a template
    // that jinja2 compiles, not UTF-8, or nested too deeply. `name` is what messages call the template.
    static Template parse(std::string_view source, std::string name);

    // `variables` is an object: what the template sees beside the globals. Throws the same Error when the template
    // calls raise_exception (its words are told), does what Python or the sandbox refuses, or passes a limit. The same
    // input gives the same text (strftime_now without a date excepted).
    Rendering render(const nlohmann::ordered_json& variables, const RenderOptions& options = {}) const;

    // Whether a {% generation %} block stands in it.
    bool marks_generation() const;

  private:
    explicit Template(std::shared_ptr<const syntax::Program> program) : program_(std::move(program)) {}
    std::shared_ptr<const syntax::Program> program_;
};

}  // namespace llmc::jinja
