#include "quaff/files/module_pattern.h"

#include <charconv>

namespace quaff {

using Extent = PythonRegex::Extent;

ModulePattern ModulePattern::whole(const std::string& expression, const std::string& where) {
    return ModulePattern(PythonRegex(expression, where, Extent::whole));
}

ModulePattern ModulePattern::end(const std::string& expression, const std::string& where) {
    return ModulePattern(PythonRegex(expression, where, Extent::front, R"((.*\.)?()", ")$"));
}

ModulePattern ModulePattern::layers(const std::string& expression, const std::string& where) {
    return ModulePattern(PythonRegex(expression, where, Extent::front, R"((?:^|.*?\.))", R"(\.(?P<idx>\d+)\.)"));
}

std::optional<int64_t> ModulePattern::layer_of(const std::string& module) const {
    const std::optional<std::string> digits = regex_.group(module, "idx");
    int64_t layer = 0;
    if (!digits || std::from_chars(digits->data(), digits->data() + digits->size(), layer).ec != std::errc())
        return std::nullopt;
    return layer;
}

bool is_expression(const std::string& text) {
    return text.find_first_of("\\^$*+?()[]{}|") != text.npos;
}

}  // namespace quaff
