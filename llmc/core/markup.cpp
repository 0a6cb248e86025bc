#include "llmc/core/markup.h"

#include "llmc/core/utf8.h"

namespace llmc {

std::string_view markup_escape(char c) {
    switch (c) {
        case '&':
            return "&amp;";
        case '<':
            return "&lt;";
        case '>':
            return "&gt;";
        case '\'':
            return "&#39;";
        case '"':
            return "&#34;";
        default:
            return {};
    }
}

std::string escape_markup(std::string text) {
    std::string valid, escaped;
    move_utf8_lossy(text, valid, /*last=*/true);
    for (const char c : valid) {
        const bool is_control = static_cast<unsigned char>(c) < 32 && c != '\n' && c != '\t';
        if (const std::string_view escape = markup_escape(c); !escape.empty())
            escaped += escape;
        else
            escaped += is_control ? '?' : c;
    }
    return escaped;
}

}  // namespace llmc
