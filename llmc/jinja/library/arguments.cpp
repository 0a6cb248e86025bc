#include "llmc/jinja/library/arguments.h"

#include "llmc/jinja/operators/operators.h"

namespace llmc::jinja {

Parameters::Parameters(Runtime& runtime, std::string_view function, const Arguments& arguments,
                       std::initializer_list<std::string_view> names, size_t required)
    : runtime_(runtime), function_(function) {
    if (arguments.positional.size() > names.size())
        refuse(runtime, function, " takes ", names.size(), " arguments, not ", arguments.positional.size());
    std::copy(names.begin(), names.end(), names_.begin());
    std::copy(arguments.positional.begin(), arguments.positional.end(), values_.begin());
    for (const Keyword& keyword : arguments.keywords) by_name(keyword, names);
    for (size_t i = 0; i < required; ++i) {
        std::string_view name = names_[i];
        if (name.starts_with('/')) name.remove_prefix(1);
        if (!has(i)) refuse(runtime, function, " needs the argument ", name);
    }
}

void Parameters::by_name(const Keyword& keyword, std::initializer_list<std::string_view> names) {
    for (size_t i = 0; i < names.size(); ++i) {
        if (names_[i] != keyword.name) continue;
        if (has(i)) refuse(runtime_, function_, " was passed two values for ", keyword.name);
        values_[i] = keyword.value;
        return;
    }
    refuse(runtime_, function_, " takes no argument named ", keyword.name);
}

Integer Parameters::integer(size_t i) const {
    const Value& value = values_[i];
    if (value.is(Kind::undefined)) raise_undefined(runtime_, value);
    if (!value.is_integral()) refuse(runtime_, function_, " needs an int, not a ", type_name(value));
    return value.as_integer();
}

std::string_view Parameters::text(size_t i) const {
    const Value& value = values_[i];
    if (value.is(Kind::undefined)) raise_undefined(runtime_, value);
    if (!value.is_string()) refuse(runtime_, function_, " needs a str, not a ", type_name(value));
    return value.as_text();
}

}  // namespace llmc::jinja
