// Regular expressions over the names of a model's modules ("model.layers.0.self_attn.q_proj"), as PEFT uses them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "llmc/tokenizer/regex/python_regex.h"

namespace quaff {

using namespace llmc;

class ModulePattern {
  public:
    // The three ways in which PEFT matches. `where` names the place of the expression, for errors. Each throws Error as
    // PythonRegex does.
    //
    // target_modules, exclude_modules: re.fullmatch(expression, module)
    static ModulePattern whole(const std::string& expression, const std::string& where);
    // rank_pattern, alpha_pattern: re.match(rf"(.*\.)?({expression})$", module)
    static ModulePattern end(const std::string& expression, const std::string& where);
    // layers_pattern: re.match(rf"(?:^|.*?\.){expression}\.(?P<idx>\d+)\.", module)
    static ModulePattern layers(const std::string& expression, const std::string& where);

    // The expression as it was given.
    const std::string& text() const { return regex_.text(); }
    bool matches(const std::string& module) const { return regex_.matches(module); }
    // Of layers(): the index of the layer, if the module stands in one.
    std::optional<int64_t> layer_of(const std::string& module) const;

  private:
    explicit ModulePattern(PythonRegex regex) : regex_(std::move(regex)) {}

    PythonRegex regex_;
};

// Whether a text is meant as a regular expression: it holds a character that no module's name has.
bool is_expression(const std::string& text);

}  // namespace quaff
