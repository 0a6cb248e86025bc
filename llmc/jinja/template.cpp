#include "llmc/jinja/template.h"

#include <utf8proc.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "llmc/jinja/interpreter/interpreter.h"
#include "llmc/jinja/syntax/lexer.h"
#include "llmc/jinja/syntax/parser.h"
#include "llmc/jinja/syntax/scopes.h"
#include "llmc/jinja/values/from_json.h"

namespace llmc::jinja {
namespace {

// The longest template that is known has 40 KB.
constexpr size_t kMostSource = 4 << 20;

void check_utf8(const syntax::Program& program) {
    const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(program.source.data());
    const auto size = static_cast<utf8proc_ssize_t>(program.source.size());
    utf8proc_int32_t code_point = 0;
    for (utf8proc_ssize_t at = 0; at < size;) {
        const auto taken = utf8proc_iterate(bytes + at, size - at, &code_point);
        if (taken <= 0) program.fail_at(static_cast<Position>(at), "the template is not UTF-8");
        at += taken;
    }
}

}  // namespace

Template Template::parse(std::string_view source, std::string name) {
    auto program = std::make_shared<syntax::Program>();
    program->name = std::move(name);
    if (source.size() > kMostSource)
        program->fail_at(0, concat("the template has ", source.size() >> 20, " MiB, more than any template has"));
    program->source = syntax::normalize_source(source);
    check_utf8(*program);
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
