// '{}'.format(value) and format(value, specification).
#include <algorithm>
#include <limits>

#include "llmc/jinja/methods/format.h"
#include "llmc/jinja/operators/operators.h"
#include "llmc/jinja/operators/print.h"
#include "llmc/jinja/text/text.h"

namespace llmc::jinja {
namespace {

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
bool is_align(char c) {
    return c == '<' || c == '>' || c == '=' || c == '^';
}

// Takes the digits in front of `rest`.
size_t take_number(Runtime& runtime, std::string_view& rest) {
    size_t number = 0;
    for (; !rest.empty() && is_digit(rest[0]); rest.remove_prefix(1)) {
        number = number * 10 + static_cast<size_t>(rest[0] - '0');
        if (number > static_cast<size_t>(std::numeric_limits<int32_t>::max()))
            refuse(runtime, "a number in the format is too large");
    }
    return number;
}

// [[fill]align][sign][#][0][width][grouping][.precision][type]
Specification parse_specification(Runtime& runtime, std::string_view rest) {
    Specification result;
    const auto next_is = [&](std::string_view set) { return !rest.empty() && set.find(rest[0]) != set.npos; };
    const auto take = [&] {
        const char c = rest[0];
        rest.remove_prefix(1);
        return c;
    };
    const size_t fill = rest.empty() ? 0 : text::first_character(rest).bytes;
    const bool filled = rest.size() > fill && fill > 0 && is_align(rest[fill]);
    if (filled) {
        result.fill = rest.substr(0, fill);
        rest.remove_prefix(fill);
        result.align = take();
    } else if (next_is("<>=^")) {
        result.align = take();
    }
    if (next_is("+- ")) result.sign = take();
    if (next_is("z")) refuse(runtime, "the option 'z' of a format is not known here; write the format without it");
    if (next_is("#")) result.alternate = take() == '#';
    if (next_is("0")) {
        take();
        if (!filled) result.fill = "0";
        if (!result.align) result.align = '=';
    }
    result.width = take_number(runtime, rest);
    if (next_is(",_")) result.grouping = take();
    if (next_is(".")) {
        take();
        if (!next_is("0123456789")) refuse(runtime, "the format has a '.' without a precision");
        result.precision = static_cast<int>(take_number(runtime, rest));
    }
    if (!rest.empty()) result.type = take();
    if (!rest.empty()) refuse(runtime, "the format specification is not one that Python knows");
    return result;
}

std::string format_text(Runtime& runtime, Specification specification, std::string_view text) {
    if (specification.type != 0 && specification.type != 's')
        refuse(runtime, "the format '", std::string(1, specification.type), "' does not fit a str");
    if (specification.sign != '-' || specification.alternate || specification.grouping)
        refuse(runtime, "a sign, '#' or grouping does not fit a str");
    if (specification.align == '=') {
        if (specification.fill != "0") refuse(runtime, "the alignment '=' does not fit a str");
        specification.align = '<';
    }
    if (specification.precision >= 0) text = text::cut(text, 0, static_cast<size_t>(specification.precision));
    return pad(runtime, specification, text, '<');
}

std::string format_number(Runtime& runtime, Specification specification, const Value& number) {
    const bool as_float =
        number.is(Kind::floating) ||
        std::string_view("eEfFgG%").find(specification.type ? specification.type : ' ') != std::string_view::npos;
    if (as_float) return format_float(runtime, specification, number.number());
    if (specification.precision >= 0) refuse(runtime, "a precision does not fit an int");
    if (specification.type == 'c') {
        if (specification.sign != '-' || specification.alternate || specification.grouping)
            refuse(runtime, "a sign, '#' or grouping does not fit the format 'c'");
        return pad(runtime, specification, character_of(runtime, number.as_integer()), '>');
    }
    return format_integer(runtime, specification, number.as_integer());
}

class BraceFormatter {
  public:
    BraceFormatter(Runtime& runtime, const Arguments& arguments, bool safe)
        : runtime_(runtime), arguments_(arguments), safe_(safe) {}

    std::string format(std::string_view rest, int depth) {
        if (depth == 0) refuse(runtime_, "a format nests its fields too deeply");
        std::string result;
        while (!rest.empty()) {
            const size_t brace = std::min(rest.find_first_of("{}"), rest.size());
            result += rest.substr(0, brace);
            rest.remove_prefix(brace);
            runtime_.check_size(result.size());
            if (rest.empty()) break;
            const char c = rest[0];
            rest.remove_prefix(1);
            if (rest.starts_with(c)) {  // {{ or }}
                result += c;
                rest.remove_prefix(1);
            } else if (c == '}') {
                refuse(runtime_, "a format has a single '}'");
            } else {
                result += field(take_field(rest), depth);
            }
        }
        return result;
    }

  private:
    // What stands between the braces; fields may stand in it.
    std::string_view take_field(std::string_view& rest) const {
        size_t open = 1, end = 0;
        for (bool in_index = false; end < rest.size(); ++end) {
            const char c = rest[end];
            if (c == '[') in_index = true;
            if (c == ']') in_index = false;
            if (in_index) continue;
            if (c == '{') ++open;
            if (c == '}' && --open == 0) break;
        }
        if (end == rest.size()) refuse(runtime_, "a format has a '{' without its '}'");
        const std::string_view inside = rest.substr(0, end);
        rest.remove_prefix(end + 1);
        return inside;
    }

    std::string field(std::string_view inside, int depth) {
        // name, !conversion, :specification
        size_t end = 0;
        for (bool in_index = false; end < inside.size(); ++end) {
            if (inside[end] == '[') in_index = true;
            if (inside[end] == ']') in_index = false;
            if (!in_index && (inside[end] == '!' || inside[end] == ':')) break;
        }
        Value value = named(inside.substr(0, end));
        inside.remove_prefix(end);
        if (inside.starts_with('!')) {
            if (inside.size() < 2 || (inside.size() > 2 && inside[2] != ':'))
                refuse(runtime_, "a format has a '!' without a conversion");
            value = convert(value, inside[1]);
            inside.remove_prefix(2);
        }
        if (inside.starts_with(':')) inside.remove_prefix(1);
        const std::string specification = format(inside, depth - 1);
        std::string text = format_value(runtime_, value, specification);
        return safe_ && !(value.is_string() && value.is_safe()) ? std::string(escape_html(runtime_, text)) : text;
    }

    Value convert(const Value& value, char conversion) {
        std::string text;
        switch (conversion) {
            case 's':
                append_string(runtime_, text, value);
                break;
            case 'r':
                append_representation(runtime_, text, value);
                break;
            case 'a':
                append_representation(runtime_, text, value);
                text = only_ascii(text);
                break;
            default:
                refuse(runtime_, "a format knows the conversions s, r and a, not '", std::string(1, conversion), "'");
        }
        return runtime_.string(text);
    }

    // 0, name, nothing; then .attribute and [item], any number.
    Value named(std::string_view path) {
        const size_t first = std::min(path.find_first_of(".["), path.size());
        Value value = argument(path.substr(0, first));
        for (path.remove_prefix(first); !path.empty();) {
            const bool attribute = path.starts_with('.');
            path.remove_prefix(1);
            const size_t end = attribute ? std::min(path.find_first_of(".["), path.size()) : path.find(']');
            if (end == path.npos || end == 0) refuse(runtime_, "a field of the format has an empty or open attribute");
            const std::string_view name = path.substr(0, end);
            path.remove_prefix(attribute ? end : end + 1);
            if (attribute)
                value = get_attribute(runtime_, value, runtime_.keep(name));
            else
                value =
                    get_item(runtime_, value, is_number(name) ? Value::integer(number(name)) : runtime_.string(name));
            if (!attribute && !path.empty() && !path.starts_with('.') && !path.starts_with('['))
                refuse(runtime_, "only '.' or '[' may follow a ']' in a field of the format");
        }
        return value;
    }

    static bool is_number(std::string_view text) { return !text.empty() && std::ranges::all_of(text, is_digit); }
    Integer number(std::string_view text) const { return static_cast<Integer>(take_number(runtime_, text)); }

    Value argument(std::string_view name) {
        if (name.empty() || is_number(name)) {
            const bool automatic = name.empty();
            if ((automatic && manual_) || (!automatic && next_ > 0))
                refuse(runtime_, "a format cannot mix numbered and unnumbered fields");
            manual_ = !automatic;
            const size_t index = automatic ? next_++ : static_cast<size_t>(number(name));
            if (index >= arguments_.positional.size()) refuse(runtime_, "there are not enough values for the format");
            return arguments_.positional[index];
        }
        for (const Keyword& keyword : arguments_.keywords)
            if (keyword.name == name) return keyword.value;
        refuse(runtime_, "the format was given no '", name, "'");
    }

    Runtime& runtime_;
    const Arguments& arguments_;
    bool safe_;
    size_t next_ = 0;
    bool manual_ = false;
};

}  // namespace

std::string format_value(Runtime& runtime, const Value& value, std::string_view specification) {
    if (specification.empty()) return to_string(runtime, value);
    if (!value.is_string() && !value.is_number())
        refuse(runtime, "a ", type_name(value), " takes no format specification");
    const Specification parsed = parse_specification(runtime, specification);
    return value.is_string() ? format_text(runtime, parsed, value.as_text()) : format_number(runtime, parsed, value);
}

Value format_braces(Runtime& runtime, const Value& format, const Arguments& arguments) {
    runtime.work(format.as_text().size());
    // A field may stand in the specification of a field, no deeper.
    constexpr int kDepth = 3;
    return runtime.string(BraceFormatter(runtime, arguments, format.is_safe()).format(format.as_text(), kDepth),
                          format.is_safe());
}

}  // namespace llmc::jinja
