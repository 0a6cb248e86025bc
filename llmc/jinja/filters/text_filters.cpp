// Filters of strings. What is no str is printed first, as jinja2 does.
#include <algorithm>
#include <array>
#include <limits>

#include "llmc/jinja/filters/filters.h"
#include "llmc/jinja/library/arguments.h"
#include "llmc/jinja/methods/format.h"
#include "llmc/jinja/methods/methods.h"
#include "llmc/jinja/operators/operators.h"
#include "llmc/jinja/text/letters.h"
#include "llmc/jinja/text/text.h"
#include "llmc/jinja/values/dict.h"
#include "llmc/jinja/values/iterate.h"

namespace llmc::jinja {
namespace {

// The value as a str; Markup stays Markup.
Value soft_string(Runtime& runtime, const Value& value) {
    return value.is_string() ? value : Value::string(string_of(runtime, value));
}

// The filter that is a method of str with the same arguments.
template <size_t size>
Value by_method(Runtime& runtime, const Value& value, std::string_view method,
                const std::array<Value, size>& arguments) {
    const Value string = soft_string(runtime, value);
    return call_method(runtime, *find_method(string, method), string, {arguments, {}});
}

Value upper(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters none(runtime, "upper", arguments, {});
    return by_method(runtime, value, "upper", std::array<Value, 0>{});
}

Value lower(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters none(runtime, "lower", arguments, {});
    return by_method(runtime, value, "lower", std::array<Value, 0>{});
}

Value capitalize(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters none(runtime, "capitalize", arguments, {});
    return by_method(runtime, value, "capitalize", std::array<Value, 0>{});
}

Value trim(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters parameters(runtime, "trim", arguments, {"chars"});
    return by_method(runtime, value, "strip", std::array{parameters.get(0, Value::none())});
}

Value center(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters parameters(runtime, "center", arguments, {"width"});
    return by_method(runtime, value, "center", std::array{parameters.get(0, Value::integer(80))});
}

Value to_text(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters none(runtime, "string", arguments, {});
    return soft_string(runtime, value);
}

// Words begin behind blanks, dashes and opening brackets.
Value title(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters none(runtime, "title", arguments, {});
    const std::string_view whole = string_of(runtime, value);
    runtime.work(8, whole.size());
    const auto separates = [](char32_t c) {
        return text::is_space(c) || c == U'-' || c == U'(' || c == U'{' || c == U'[' || c == U'<';
    };
    std::string result;
    for (std::string_view rest = whole; !rest.empty();) {
        const text::Character first = text::first_character(rest);
        size_t end = first.bytes;
        const bool separator = separates(first.code_point);
        while (end < rest.size() && separates(text::first_character(rest.substr(end)).code_point) == separator)
            end += text::first_character(rest.substr(end)).bytes;
        result += text::upper(rest.substr(0, first.bytes));
        result += text::lower(rest.substr(first.bytes, end - first.bytes));
        rest.remove_prefix(end);
    }
    return runtime.string(result);
}

Value replace(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters parameters(runtime, "replace", arguments, {"old", "new", "count"}, 2);
    const Integer count = parameters.given(2) ? parameters.integer(2) : -1;
    const Value plain = Value::string(string_of(runtime, value));
    return replace_text(runtime, plain, string_of(runtime, parameters[0]), string_of(runtime, parameters[1]), count);
}

Value format(Runtime& runtime, const Value& value, const Arguments& arguments) {
    if (!arguments.positional.empty() && !arguments.keywords.empty())
        refuse(runtime, "format takes positional arguments or named ones, not both");
    const Value string = soft_string(runtime, value);
    if (arguments.keywords.empty()) return format_percent(runtime, string, runtime.tuple(arguments.positional));
    auto* dict = runtime.make<Dict>();
    for (const Keyword& keyword : arguments.keywords) dict->set(runtime, Value::string(keyword.name), keyword.value);
    return format_percent(runtime, string, Value::dict(dict));
}

// Lines are indented but for the first one and empty ones, unless it is asked for.
Value indent(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters parameters(runtime, "indent", arguments, {"width", "first", "blank"});
    if (value.is(Kind::undefined)) raise_undefined(runtime, value);
    if (!value.is_string()) refuse(runtime, "indent needs a str, not a ", type_name(value));
    std::string indentation;
    if (parameters.has(0) && parameters[0].is_string()) {
        indentation = parameters[0].as_text();
    } else {
        const Integer width = std::max<Integer>(parameters.integer(0, 4), 0);
        if (width > static_cast<Integer>(runtime.options().max_value_bytes)) runtime.check_size(SIZE_MAX);
        indentation.assign(static_cast<size_t>(width), ' ');
    }
    const bool first = parameters.truth(1), blank = parameters.truth(2);
    if (value.is_safe()) indentation = escape_html(runtime, indentation);
    // A newline at the end keeps a last line that is empty.
    std::string ended(value.as_text());
    ended += '\n';
    std::string result;
    bool is_first = true;
    for (std::string_view rest = ended; !rest.empty(); is_first = false) {
        const std::string_view line = text::take_line(rest, false);
        if (!is_first) result += '\n';
        if (is_first ? first : blank || !line.empty()) result += indentation;
        result += line;
        runtime.work(indentation.size());
        runtime.check_size(result.size());
    }
    return runtime.string(result, value.is_safe());
}

Value truncate(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters parameters(runtime, "truncate", arguments, {"length", "killwords", "end", "leeway"});
    const Value end = parameters.get(2, Value::string("..."));
    const Integer most = parameters.integer(0, 255), leeway = parameters.given(3) ? parameters.integer(3) : 5;
    Integer length = 0, end_length = 0;
    if (!find_length(runtime, end, end_length) || most < end_length)
        refuse(runtime, "truncate needs a length that its end fits in");
    if (leeway < 0) refuse(runtime, "truncate needs a leeway that is not negative");
    if (find_length(runtime, value, length) && length - most <= leeway) return value;
    if (!value.is_string()) refuse(runtime, "truncate needs a str, not a ", type_name(value));
    const std::string_view ending = parameters.text(2, "...");
    std::string_view kept = text::cut(value.as_text(), 0, static_cast<size_t>(most - end_length));
    if (!parameters.truth(1)) kept = kept.substr(0, std::min(kept.rfind(' '), kept.size()));
    const std::string_view shown = value.is_safe() ? escape_html(runtime, ending) : ending;
    return Value::string(runtime.join(kept, shown), value.is_safe());
}

Value word_count(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters none(runtime, "wordcount", arguments, {});
    Integer count = 0;
    bool inside = false;
    std::string_view rest = string_of(runtime, value);
    for (runtime.work(8, rest.size()); !rest.empty();) {
        const text::Character c = text::first_character(rest);
        const bool word = text::is_word(c.code_point);
        count += word && !inside;
        inside = word;
        rest.remove_prefix(c.bytes);
    }
    return Value::integer(count);
}

constexpr std::array<Filter, 15> kFilters{{
    {"capitalize", capitalize},
    {"center", center},
    {"format", format},
    {"indent", indent},
    {"lower", lower},
    {"pprint", nullptr},
    {"replace", replace},
    {"string", to_text},
    {"title", title},
    {"trim", trim},
    {"truncate", truncate},
    {"upper", upper},
    {"urlize", nullptr},
    {"wordcount", word_count},
    {"wordwrap", nullptr},
}};
static_assert(is_sorted_by_name(kFilters));

}  // namespace

const Filter* find_text_filter(std::string_view name) {
    return find_by_name(kFilters, name);
}

}  // namespace llmc::jinja
