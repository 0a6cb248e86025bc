// json.dumps, as transformers' tojson calls it.
#include <algorithm>
#include <array>
#include <cmath>

#include "llmc/jinja/operators/compare.h"
#include "llmc/jinja/operators/print.h"
#include "llmc/jinja/text/text.h"
#include "llmc/jinja/values/dict.h"

namespace llmc::jinja {
namespace {

void append_unit(std::string& text, uint32_t unit) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    text += "\\u";
    for (int shift = 12; shift >= 0; shift -= 4) text += kDigits[unit >> shift & 0xF];
}

// The escape of an ASCII character, or 0.
char short_escape(char c) {
    switch (c) {
        case '"':
            return '"';
        case '\\':
            return '\\';
        case '\n':
            return 'n';
        case '\r':
            return 'r';
        case '\t':
            return 't';
        case '\f':
            return 'f';
        case '\b':
            return 'b';
        default:
            return 0;
    }
}

void append_json_string(std::string& text, std::string_view string, bool ensure_ascii) {
    text += '"';
    while (!string.empty()) {
        const text::Character c = text::first_character(string);
        const std::string_view bytes = string.substr(0, c.bytes);
        string.remove_prefix(c.bytes);
        if (c.code_point < 0x80) {
            const char escape = short_escape(bytes[0]);
            if (escape)
                (text += '\\') += escape;
            else if (c.code_point < 0x20 || (ensure_ascii && c.code_point == 0x7F))
                append_unit(text, c.code_point);
            else
                text += bytes;
        } else if (!ensure_ascii) {
            text += bytes;
        } else if (c.code_point < 0x10000) {
            append_unit(text, c.code_point);
        } else {
            append_unit(text, 0xD800 + ((c.code_point - 0x10000) >> 10));
            append_unit(text, 0xDC00 + ((c.code_point - 0x10000) & 0x3FF));
        }
    }
    text += '"';
}

std::string json_float(double number) {
    if (std::isnan(number)) return "NaN";
    if (std::isinf(number)) return number < 0 ? "-Infinity" : "Infinity";
    return represent_float(number);
}

class JsonWriter {
  public:
    JsonWriter(Runtime& runtime, std::string& text, const JsonStyle& style)
        : runtime_(runtime), text_(text), style_(style) {}

    void write(const Value& value) {
        runtime_.step();
        const Runtime::Nesting nesting(runtime_);
        runtime_.check_size(text_.size());
        switch (value.kind()) {
            case Kind::string:
                runtime_.work(value.as_text().size());
                runtime_.check_size(text_.size() + 6 * value.as_text().size());  // \u0000
                return append_json_string(text_, value.as_text(), style_.ensure_ascii);
            case Kind::list:
            case Kind::tuple:
                return write_list(value.as_items());
            case Kind::dict:
                return write_dict(value.as_dict());
            default:
                text_ += scalar(value);
        }
    }

  private:
    std::string scalar(const Value& value) const {
        switch (value.kind()) {
            case Kind::none:
                return "null";
            case Kind::boolean:
                return value.as_boolean() ? "true" : "false";
            case Kind::integer:
                return represent_integer(value.as_integer());
            case Kind::floating:
                return json_float(value.as_floating());
            default:
                refuse(runtime_, "tojson cannot write a ", type_name(value), " as JSON");
        }
    }

    void write_list(std::span<const Value> items) {
        if (items.empty()) {
            text_ += "[]";
            return;
        }
        text_ += '[';
        ++level_;
        for (size_t i = 0; i < items.size(); ++i) {
            if (i > 0) text_ += style_.item_separator;
            new_line();
            write(items[i]);
        }
        --level_;
        new_line();
        text_ += ']';
    }

    void write_dict(const Dict& dict) {
        if (dict.size() == 0) {
            text_ += "{}";
            return;
        }
        std::vector<const Dict::Entry*> entries;
        for (const Dict::Entry& entry : dict.entries()) entries.push_back(&entry);
        if (style_.sort_keys)
            std::ranges::stable_sort(entries,
                                     [&](const auto* a, const auto* b) { return less(runtime_, a->key, b->key); });
        text_ += '{';
        ++level_;
        for (const Dict::Entry* entry : entries) {
            if (entry != entries[0]) text_ += style_.item_separator;
            new_line();
            const Value& key = entry->key;
            append_json_string(text_, key.is_string() ? key.as_text() : scalar(key), style_.ensure_ascii);
            text_ += style_.key_separator;
            write(entry->value);
        }
        --level_;
        new_line();
        text_ += '}';
    }

    void new_line() {
        if (!style_.indent) return;
        text_ += '\n';
        const size_t indentation = style_.indent->size() * static_cast<size_t>(level_);
        runtime_.check_size(text_.size() + indentation);
        runtime_.work(indentation);
        for (int i = 0; i < level_; ++i) text_ += *style_.indent;
    }

    Runtime& runtime_;
    std::string& text_;
    const JsonStyle& style_;
    int level_ = 0;
};

}  // namespace

void append_json(Runtime& runtime, std::string& text, const Value& value, const JsonStyle& style) {
    JsonWriter(runtime, text, style).write(value);
}

}  // namespace llmc::jinja
