#include "llmc/data/show_tokens.h"

#include <algorithm>
#include <cstdio>

#include "llmc/core/error.h"
#include "llmc/data/examples.h"
#include "llmc/system/terminal.h"
#include "llmc/tokenizer/utf8.h"

namespace llmc {
namespace {

// In quotes, on one line: spaces show; line breaks and bytes of incomplete characters are spelled out.
std::string visible(std::string_view text) {
    std::string out = "\"";
    while (!text.empty()) {
        const Utf8Sequence sequence = utf8_sequence(text);
        const std::string_view character = text.substr(0, sequence.length);
        const char first = character.front();
        if (first == '\n') {
            out += "\\n";
        } else if (first == '\t') {
            out += "\\t";
        } else if (first == '"' || first == '\\') {
            out += '\\';
            out += first;
        } else if (sequence.kind != Utf8::valid || static_cast<unsigned char>(first) < ' ' || first == 127) {
            for (const char byte : character) {
                char hex[5];
                std::snprintf(hex, sizeof hex, "\\x%02X", static_cast<unsigned char>(byte));
                out += hex;
            }
        } else {
            out += character;
        }
        text.remove_prefix(sequence.length);
    }
    return out + "\"";
}

}  // namespace

std::string show_tokens(std::span<const Example> examples, int64_t count,
                        const std::function<std::string(int32_t)>& token_text) {
    std::string out;
    for (const Example& example : examples.first(std::min<size_t>(examples.size(), std::max<int64_t>(count, 0)))) {
        out += concat("example ", example.index, ": ", counted(static_cast<int64_t>(example.input_ids.size()), "token"),
                      ", ", count_labelled(example), " of them in the loss\n");
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
