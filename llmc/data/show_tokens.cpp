#include "llmc/data/show_tokens.h"

#include <algorithm>
#include <cstdio>

#include "llmc/data/examples.h"
#include "llmc/data/utf8.h"
#include "llmc/error.h"

namespace llmc {
namespace {

// In quotes, on one line: spaces are seen, line breaks and bytes that are half a character are spelled out.
std::string visible(const std::string& text) {
    std::string out = "\"";
    for (size_t i = 0; i < text.size();) {
        const size_t length = utf8_length(std::string_view(text).substr(i));
        const unsigned char byte = text[i];
        if (byte == '\n') {
            out += "\\n";
        } else if (byte == '\t') {
            out += "\\t";
        } else if (byte == '"' || byte == '\\') {
            out += '\\';
            out += text[i];
        } else if (length == 0 || byte < ' ' || byte == 127) {
            char hex[5];
            std::snprintf(hex, sizeof hex, "\\x%02X", byte);
            out += hex;
        } else {
            out.append(text, i, length);
        }
        i += std::max<size_t>(length, 1);
    }
    return out + "\"";
}

}  // namespace

std::string show_tokens(std::span<const Example> examples, int64_t count,
                        const std::function<std::string(int32_t)>& token_text) {
    std::string out;
    for (const Example& example : examples.first(std::min<size_t>(examples.size(), std::max<int64_t>(count, 0)))) {
        out += concat("example ", example.index, ": ", example.input_ids.size(), " tokens, ", count_labelled(example),
                      " of them in the loss\n");
        for (size_t t = 0; t < example.input_ids.size(); ++t) {
            const int32_t id = example.input_ids[t], label = example.labels[t];
            const bool in_loss = t > 0 && label != kIgnoreLabel;
            char columns[48];
            std::snprintf(columns, sizeof columns, "%6zu %7d  %c ", t, id, in_loss ? '*' : ' ');
            out += columns + visible(token_text(id));
            if (in_loss && label != id) out += concat("  label ", label, " ", visible(token_text(label)));
            out += '\n';
        }
    }
    return out;
}

}  // namespace llmc
