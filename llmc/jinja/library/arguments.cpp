#include "llmc/jinja/library/arguments.h"

#include "llmc/jinja/operators/operators.h"

namespace llmc::jinja {
namespace {

void count_text(Runtime& runtime, const Value& value) {
    if (value.is_string()) runtime.work(value.as_text().size());
}

}  // namespace

void count_call(Runtime& runtime, const Value& self, const Arguments& arguments) {
    runtime.step();
    count_text(runtime, self);
    for (const Value& value : arguments.positional) count_text(runtime, value);
    for (const Keyword& keyword : arguments.keywords) count_text(runtime, keyword.value);
}

void refuse_left_out(const Runtime& runtime, std::string_view what, std::string_view name) {
    refuse(runtime, "the ", what, " '", name,
           "' is not known here, as no chat template needs it; write the template without it");
}

Parameters::Parameters(Runtime& runtime, std::string_view function, const Arguments& arguments,
                       std::initializer_list<std::string_view> names, size_t required)
    : runtime_(runtime), function_(function) {
    if (arguments.positional.size() > names.size())
        refuse(runtime, function, " takes ", names.size(), " arguments, not ", arguments.positional.size());
    for (size_t i = 0; i < names.size(); ++i) names_.at(i) = names.begin()[i];
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
