#include "llmc/core/markup.h"

#include "llmc/core/utf8.h"

namespace llmc {

std::string escape_markup(std::string text) {
    std::string valid, escaped;
    move_utf8_lossy(text, valid, /*last=*/true);
    for (const char c : valid) {
        if (c == '&')
            escaped += "&amp;";
        else if (c == '<')
            escaped += "&lt;";
        else if (c == '>')
            escaped += "&gt;";
        else if (c == '"')
            escaped += "&quot;";
        else if (c == '\'')
            escaped += "&#39;";
        else if (static_cast<unsigned char>(c) < 32 && c != '\n' && c != '\t')
            escaped += '?';
        else
            escaped += c;
    }
    return escaped;
}

}  // namespace llmc
