// '%s' % value, as Python's printf-style formatting has it.
#include <algorithm>
#include <cmath>
#include <limits>

#include "llmc/jinja/methods/format.h"
#include "llmc/jinja/operators/operators.h"
#include "llmc/jinja/operators/print.h"
#include "llmc/jinja/text/text.h"
#include "llmc/jinja/values/dict.h"

namespace llmc::jinja {
namespace {

class PercentFormatter {
  public:
    PercentFormatter(Runtime& runtime, const Value& format, const Value& values)
        : runtime_(runtime), rest_(format.as_text()), safe_(format.is_safe()), values_(values) {}

    std::string format() {
        std::string result;
        for (size_t mark = rest_.find('%'); mark != rest_.npos; mark = rest_.find('%')) {
            result += rest_.substr(0, mark);
            rest_.remove_prefix(mark + 1);
            append_field(result);
            runtime_.check_size(result.size());
        }
        if (!all_used()) refuse(runtime_, "not all values were used by the format");
        return result.append(rest_);
    }

  private:
    bool is_mapping() const {
        return values_.is(Kind::dict) || values_.is(Kind::list) || values_.is(Kind::range) ||
               values_.is(Kind::undefined);
    }

    bool all_used() const {
        if (values_.is(Kind::tuple)) return used_ == values_.as_items().size();
        return used_ == 1 || named_ || is_mapping();
    }

    const Value& next_value() {
        const size_t size = values_.is(Kind::tuple) ? values_.as_items().size() : 1;
        if (used_ >= size || named_) refuse(runtime_, "there are not enough values for the format");
        ++used_;
        return values_.is(Kind::tuple) ? values_.as_items()[used_ - 1] : values_;
    }

    char take() {
        if (rest_.empty()) refuse(runtime_, "the format ends behind a '%'");
        const char c = rest_[0];
        rest_.remove_prefix(1);
        return c;
    }

    // (name), or nothing.
    Value named_value() {
        if (!rest_.starts_with('(')) return {};
        size_t depth = 1, end = 1;
        for (; end < rest_.size() && depth > 0; ++end) depth += rest_[end] == '(' ? 1 : rest_[end] == ')' ? -1 : 0;
        if (depth > 0) refuse(runtime_, "the format has a '%(' without its ')'");
        if (!values_.is(Kind::dict)) refuse(runtime_, "a format with names needs a dict");
        const Value name = Value::string(rest_.substr(1, end - 2));
        rest_.remove_prefix(end);
        const Value* found = values_.as_dict().find(runtime_, name);
        if (!found) refuse(runtime_, "the dict has no '", name.as_text(), "' for the format");
        named_ = true;
        return *found;
    }

    // A number in the format, or the next value for a '*'.
    Integer number() {
        if (rest_.starts_with('*')) {
            rest_.remove_prefix(1);
            const Value& value = next_value();
            if (!value.is_integral()) refuse(runtime_, "a '*' in a format needs an int");
            return value.as_integer();
        }
        Integer number = 0;
        for (; !rest_.empty() && rest_[0] >= '0' && rest_[0] <= '9'; rest_.remove_prefix(1)) {
            number = number * 10 + (rest_[0] - '0');
            if (number > std::numeric_limits<int32_t>::max()) refuse(runtime_, "a width in the format is too large");
        }
        return number;
    }

    Specification specification() {
        Specification result;
        bool zero = false, left = false;
        for (; !rest_.empty() && std::string_view("-+ 0#").find(rest_[0]) != std::string_view::npos;
             rest_.remove_prefix(1)) {
            if (rest_[0] == '-') left = true;
            if (rest_[0] == '+') result.sign = '+';
            if (rest_[0] == ' ' && result.sign != '+') result.sign = ' ';
            if (rest_[0] == '0') zero = true;
            if (rest_[0] == '#') result.alternate = true;
        }
        const Integer width = number();
        if (width < 0) left = true;
        if (width > std::numeric_limits<int32_t>::max() || width < -std::numeric_limits<int32_t>::max())
            refuse(runtime_, "a width in the format is too large");
        result.width = static_cast<size_t>(width < 0 ? -width : width);
        if (rest_.starts_with('.')) {
            rest_.remove_prefix(1);
            const Integer precision = number();
            result.precision = static_cast<int>(std::clamp<Integer>(precision, 0, std::numeric_limits<int>::max()));
        }
        if (!rest_.empty() && std::string_view("hlL").find(rest_[0]) != std::string_view::npos) rest_.remove_prefix(1);
        result.align = left ? '<' : zero ? '=' : '>';
        if (zero && !left) result.fill = "0";
        return result;
    }

    void append_field(std::string& result) {
        if (rest_.starts_with('%')) {
            rest_.remove_prefix(1);
            result += '%';
            return;
        }
        Value value = named_value();
        Specification field = specification();
        field.type = take();
        if (value.is(Kind::missing)) value = next_value();
        switch (field.type) {
            case 's':
            case 'r':
            case 'a':
            case 'c':
                return append_text(result, field, value);
            case 'd':
            case 'i':
            case 'u':
                result += format_integer(runtime_, as_type(field, 'd'), whole(value));
                return;
            case 'x':
            case 'X':
            case 'o':
                if (!value.is_integral()) refuse(runtime_, "the format needs an int, not a ", type_name(value));
                result += format_integer(runtime_, field, value.as_integer());
                return;
            case 'e':
            case 'E':
            case 'f':
            case 'F':
            case 'g':
            case 'G':
                if (!value.is_number()) refuse(runtime_, "the format needs a number, not a ", type_name(value));
                result += format_float(runtime_, field, value.number());
                return;
            default:
                refuse(runtime_, "a format has no '%", std::string(1, field.type), "'");
        }
    }

    static Specification as_type(Specification field, char type) {
        field.type = type;
        return field;
    }

    // A float without its fraction.
    Integer whole(const Value& value) const {
        if (value.is_integral()) return value.as_integer();
        if (value.is(Kind::undefined)) raise_undefined(runtime_, value);
        if (!value.is(Kind::floating)) refuse(runtime_, "the format needs a number, not a ", type_name(value));
        if (!(std::abs(value.as_floating()) < 0x1p126)) refuse(runtime_, "the number is too large for the format");
        return static_cast<Integer>(value.as_floating());
    }

    void append_text(std::string& result, Specification field, const Value& value) {
        std::string text;
        if (field.type == 's')
            append_string(runtime_, text, value);
        else if (field.type == 'c')
            text = character(value);
        else
            append_representation(runtime_, text, value);
        if (field.type == 'a') text = only_ascii(text);
        if (safe_ && !(value.is_string() && value.is_safe())) text = escape_html(runtime_, text);
        std::string_view shown = text;
        if (field.precision >= 0 && field.type != 'c') shown = text::cut(text, 0, static_cast<size_t>(field.precision));
        field.fill = " ";
        if (field.align == '=') field.align = '>';
        result += pad(runtime_, field, shown, '>');
    }

    std::string character(const Value& value) const {
        if (value.is_string() && text::length(value.as_text()) == 1) return std::string(value.as_text());
        if (!value.is_integral()) refuse(runtime_, "%c needs one character or its number");
        return character_of(runtime_, value.as_integer());
    }

    Runtime& runtime_;
    std::string_view rest_;
    bool safe_;
    Value values_;
    size_t used_ = 0;
    bool named_ = false;
};

}  // namespace

Value format_percent(Runtime& runtime, const Value& format, const Value& values) {
    runtime.work(format.as_text().size());
    return runtime.string(PercentFormatter(runtime, format, values).format(), format.is_safe());
}

}  // namespace llmc::jinja
