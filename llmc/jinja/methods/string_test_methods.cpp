// The methods of str that say what kinds of characters it consists of.
#include <array>

#include "llmc/jinja/library/arguments.h"
#include "llmc/jinja/methods/methods.h"
#include "llmc/jinja/text/letters.h"
#include "llmc/jinja/text/text.h"

namespace llmc::jinja {
namespace {

// Calls `test(character)` until it says no; whether it never did.
template <class Test>
bool for_all(std::string_view text, Test test) {
    while (!text.empty()) {
        const text::Character c = text::first_character(text);
        if (!test(c.code_point)) return false;
        text.remove_prefix(c.bytes);
    }
    return true;
}

bool is_alphanumeric(char32_t c) {
    return text::is_alphabetic(c) || text::is_decimal(c) || text::is_digit(c) || text::is_numeric(c);
}
bool is_ascii_character(char32_t c) {
    return c < 0x80;
}

void prepare(Runtime& runtime, const Value& self, const Arguments& arguments) {
    const Parameters none(runtime, "the method of str", arguments, {});
    runtime.work(8, self.as_text().size());
}

// Every character passes; `of_nothing`: what holds of an empty str.
template <bool (*test)(char32_t), bool of_nothing>
Value all(Runtime& runtime, const Value& self, const Arguments& arguments) {
    prepare(runtime, self, arguments);
    return Value::boolean(self.as_text().empty() ? of_nothing : for_all(self.as_text(), test));
}

template <bool (*test)(std::string_view)>
Value in_case(Runtime& runtime, const Value& self, const Arguments& arguments) {
    prepare(runtime, self, arguments);
    return Value::boolean(test(self.as_text()));
}

constexpr std::array<Method, 12> kMethods{{
    {"isalnum", all<is_alphanumeric, false>},
    {"isalpha", all<text::is_alphabetic, false>},
    {"isascii", all<is_ascii_character, true>},
    {"isdecimal", all<text::is_decimal, false>},
    {"isdigit", all<text::is_digit, false>},
    {"isidentifier", nullptr},
    {"islower", in_case<text::is_small>},
    {"isnumeric", nullptr},
    {"isprintable", all<text::is_printable, true>},
    {"isspace", all<text::is_space, false>},
    {"istitle", nullptr},
    {"isupper", in_case<text::is_capital>},
}};
static_assert(is_sorted_by_name(kMethods));

}  // namespace

const Method* find_string_test_method(std::string_view name) {
    return find_by_name(kMethods, name);
}

}  // namespace llmc::jinja
