// The values of options as text, in and out.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "llmc/core/error.h"
#include "llmc/core/words.h"
#include "quaff/cli/option_table.h"

namespace quaff::cli {

using namespace llmc;

namespace {

std::string number_text(double number) {
    constexpr double kWritten = 1e15;  // larger ones are clearer with an exponent
    if (std::abs(number) < kWritten && number == std::trunc(number))
        return std::to_string(static_cast<int64_t>(number));
    char text[32];
    const auto end = std::to_chars(text, text + sizeof text, number);
    return {text, end.ptr};
}

std::string range_text(const Range& range) {
    if (std::isinf(range.high)) return (range.low_open ? "above " : "of at least ") + number_text(range.low);
    return (range.low_open ? "above " : "from ") + number_text(range.low) + (range.high_open ? " to below " : " to ") +
           number_text(range.high);
}

bool contains(const Range& range, double number) {
    return std::isfinite(number) && (range.low_open ? number > range.low : number >= range.low) &&
           (range.high_open ? number < range.high : number <= range.high);
}

template <class T>
bool parse_number(const std::string& text, T& number) {
    const auto end = std::from_chars(text.data(), text.data() + text.size(), number);
    return end.ec == std::errc() && end.ptr == text.data() + text.size();
}

}  // namespace

void assign(const Row& row, const std::vector<std::string>& values, const std::string& where) {
    const std::string text = join(values, ",", ",");
    const std::string name = (where.empty() ? "" : where + ": ") + "--" + row.name;
    const auto wrong = [&](const std::string& expected) {
        throw UsageError(concat(name, " must be ", expected, ", not '", text, "'"));
    };
    const auto whole_number = [&](const Range& range) {
        int64_t number = 0;
        if (!parse_number(text, number) || !contains(range, static_cast<double>(number)))
            wrong("a whole number " + range_text(range));
        return number;
    };
    const auto real_number = [&](const Range& range) {
        double number = 0;
        if (!parse_number(text, number) || !contains(range, number)) wrong("a number " + range_text(range));
        return number;
    };
    const auto check_text = [&](const std::string& text, const char* type) {
        if (text.empty() || text.starts_with("--")) throw UsageError(concat(name, " needs a value (", type, ")"));
    };
    if (is_switch(row) && text != "true" && text != "false") wrong("true or false");
    if (const auto* flag = std::get_if<Switch>(&row.value)) {
        *flag->value = text == "true";
    } else if (const auto* flag = std::get_if<OptionalSwitch>(&row.value)) {
        *flag->value = text == "true";
    } else if (const auto* whole = std::get_if<Whole>(&row.value)) {
        *whole->value = whole_number(whole->range);
    } else if (const auto* whole = std::get_if<OptionalWhole>(&row.value)) {
        *whole->value = whole_number(whole->range);
    } else if (const auto* real = std::get_if<Real>(&row.value)) {
        *real->value = real_number(real->range);
    } else if (const auto* real = std::get_if<OptionalReal>(&row.value)) {
        *real->value = real_number(real->range);
    } else if (const auto* real = std::get_if<RealOrAuto>(&row.value)) {
        *real->value = text == "auto" ? std::nullopt : std::optional(real_number(real->range));
    } else if (const auto* choice = std::get_if<Choice>(&row.value)) {
        if (std::find(choice->words.begin(), choice->words.end(), text) == choice->words.end())
            wrong(join(choice->words, ", ", " or "));
        choice->set(text);
    } else if (const auto* any = std::get_if<Text>(&row.value)) {
        if (!any->may_be_empty) check_text(text, any->type);
        *any->value = text;
    } else if (const auto* list = std::get_if<Texts>(&row.value)) {
        for (const std::string& value : values) check_text(value, list->type);
        *list->value = values;
    } else if (const auto* any = std::get_if<OptionalText>(&row.value)) {
        check_text(text, any->type);
        *any->value = text;
    }
}

std::string value_text(const Row& row) {
    struct {
        std::string operator()(const Switch& flag) const { return *flag.value ? "true" : "false"; }
        std::string operator()(const OptionalSwitch& flag) const {
            return flag.value->value_or(false) ? "true" : "false";
        }
        std::string operator()(const Whole& whole) const { return std::to_string(*whole.value); }
        std::string operator()(const OptionalWhole& whole) const {
            return std::to_string(whole.value->value_or(whole.otherwise));
        }
        std::string operator()(const Real& real) const { return number_text(*real.value); }
        std::string operator()(const OptionalReal& real) const {
            return number_text(real.value->value_or(real.otherwise));
        }
        std::string operator()(const RealOrAuto& real) const {
            return real.value->has_value() ? number_text(**real.value) : "auto";
        }
        std::string operator()(const Text& text) const { return *text.value; }
        std::string operator()(const Texts& texts) const { return join(*texts.value, ", ", ", "); }
        std::string operator()(const OptionalText& text) const { return text.value->value_or(text.otherwise); }
        std::string operator()(const Choice& choice) const { return choice.get(); }
    } as_text;
    return std::visit(as_text, row.value);
}

std::string type_text(const Row& row) {
    struct {
        std::string operator()(const Switch&) const { return ""; }
        std::string operator()(const OptionalSwitch&) const { return ""; }
        std::string operator()(const Whole&) const { return " N"; }
        std::string operator()(const OptionalWhole&) const { return " N"; }
        std::string operator()(const Real&) const { return " X"; }
        std::string operator()(const OptionalReal&) const { return " X"; }
        std::string operator()(const RealOrAuto&) const { return " auto|X"; }
        std::string operator()(const Text& text) const { return std::string(" ") + text.type; }
        std::string operator()(const Texts& texts) const { return std::string(" ") + texts.type; }
        std::string operator()(const OptionalText& text) const { return std::string(" ") + text.type; }
        std::string operator()(const Choice& choice) const { return " " + join(choice.words, "|", "|"); }
    } as_text;
    return std::visit(as_text, row.value);
}

bool names_file(const Row& row) {
    return type_text(row).find("FILE") != std::string::npos;
}

bool names_folder(const Row& row) {
    return type_text(row).find("DIR") != std::string::npos;
}

}  // namespace quaff::cli
