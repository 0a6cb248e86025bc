#include "llmc/jinja/template.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "llmc/core/utf8.h"
#include "llmc/jinja/interpreter/interpreter.h"
#include "llmc/jinja/syntax/lexer.h"
#include "llmc/jinja/syntax/parser.h"
#include "llmc/jinja/syntax/scopes.h"
#include "llmc/jinja/values/from_json.h"

namespace llmc::jinja {
namespace {

// In bytes. The longest template that is known has 40 KB.
constexpr size_t kMostSource = 1 << 20;

}  // namespace

Template Template::parse(std::string_view source, std::string name) {
    auto program = std::make_shared<syntax::Program>();
    program->name = std::move(name);
    if (source.size() > kMostSource)
        program->fail_at(
            0, concat("the template has ", source.size(), " bytes, more than the ", kMostSource, " that one may have"));
    program->source = syntax::normalize_source(source);
    const size_t invalid = find_invalid_utf8(program->source);
    if (invalid != std::string::npos) program->fail_at(static_cast<Position>(invalid), "the template is not UTF-8");
    syntax::parse(*program);
    syntax::resolve_names(*program);
    return Template(std::move(program));
}

Rendering Template::render(const nlohmann::ordered_json& variables, const RenderOptions& options) const {
    Runtime runtime(options, program_->name, program_->source);
    require(variables.is_object(), program_->name, ": the variables of a template are a JSON object");
    const Value given = from_json(runtime, variables);
    return Interpreter(*program_, runtime, given.as_dict()).run();
}

bool Template::marks_generation() const {
    return program_->has_generation;
}

}  // namespace llmc::jinja
