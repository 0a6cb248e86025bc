#include "llmc/data/show_tokens.h"

#include <algorithm>
#include <cstdio>
#include <string_view>

#include "llmc/core/error.h"
#include "llmc/core/utf8.h"
#include "llmc/data/examples.h"
#include "llmc/system/terminal.h"

namespace llmc {
namespace {

constexpr std::string_view kGreen = "\x1B[32m", kBlue = "\x1B[34m", kPlain = "\x1B[0m";

// A control character, or bytes of an incomplete one, as numbers: \x1B.
std::string in_numbers(std::string_view bytes) {
    std::string out;
    for (const char byte : bytes) {
        char hex[5];
        std::snprintf(hex, sizeof hex, "\\x%02X", static_cast<unsigned char>(byte));
        out += hex;
    }
    return out;
}

// The text's characters, one after the other; `shown` is false for those that a terminal must not get.
template <class Each>
void for_each_character(std::string_view text, const Each& each) {
    while (!text.empty()) {
        const Utf8Sequence sequence = utf8_sequence(text);
        const auto first = static_cast<unsigned char>(text.front());
        each(text.substr(0, sequence.length), sequence.kind == Utf8::valid && first >= ' ' && first != 127);
        text.remove_prefix(sequence.length);
    }
}

// In quotes, on one line: spaces show; line breaks and bytes of incomplete characters are spelled out.
std::string visible(std::string_view text) {
    std::string out = "\"";
    for_each_character(text, [&](std::string_view character, bool shown) {
        if (character == "\n") {
            out += "\\n";
        } else if (character == "\t") {
            out += "\\t";
        } else if (character == "\"" || character == "\\") {
            out.append("\\").append(character);
        } else {
            out += shown ? std::string(character) : in_numbers(character);
        }
    });
    return out + "\"";
}

class Display {
  public:
    Display(const TokenTexts& texts, bool in_colour) : texts_(texts), in_colour_(in_colour) {}

    std::string take() { return std::move(out_); }

    void show(const Example& example) {
        out_ += concat("example ", example.index, ": ", counted(std::ssize(example.input_ids), "token"), ", ",
                       count_labelled(example), " of them in the loss\n");
        if (texts_.pieces) show_text(example);
        for (size_t t = 0; t < example.input_ids.size(); ++t) show_token(example, t);
    }

  private:
    static bool in_loss(const Example& example, size_t t) { return t > 0 && example.labels[t] != kIgnoreLabel; }

    std::string_view colour_of(const Example& example, size_t t) const {
        if (!in_colour_) return "";
        if (in_loss(example, t)) return kGreen;
        return texts_.is_special && texts_.is_special(example.input_ids[t]) ? kBlue : "";
    }

    // Each line of the text behind a bar.
    void show_text(const Example& example) {
        constexpr std::string_view kBar = "  | ";
        const std::vector<std::string> pieces = texts_.pieces(example.input_ids);
        out_ += kBar;
        for (size_t t = 0; t < pieces.size(); ++t) {
            const std::string_view colour = colour_of(example, t), plain = colour.empty() ? "" : kPlain;
            out_ += colour;
            for_each_character(pieces[t], [&](std::string_view character, bool shown) {
                if (character == "\n") {
                    out_.append(plain).append("\n").append(kBar).append(colour);
                } else {
                    out_ += shown || character == "\t" ? std::string(character) : in_numbers(character);
                }
            });
            out_ += plain;
        }
        out_ += '\n';
    }

    void show_token(const Example& example, size_t t) {
        const int32_t id = example.input_ids[t], label = example.labels[t];
        const bool counts = in_loss(example, t);
        char columns[48];
        std::snprintf(columns, sizeof columns, "%6zu %7d  %c ", t, id, counts ? '*' : ' ');
        const std::string_view colour = colour_of(example, t);
        out_.append(columns).append(colour).append(visible(texts_.spelling(id))).append(colour.empty() ? "" : kPlain);
        if (counts && label != id) out_ += concat("  label ", label, " ", visible(texts_.spelling(label)));
        out_ += '\n';
    }

    const TokenTexts& texts_;
    bool in_colour_;
    std::string out_;
};

}  // namespace

std::string show_tokens(std::span<const Example> examples, int64_t count, const TokenTexts& texts, bool in_colour) {
    Display display(texts, in_colour);
    for (const Example& example : examples.first(std::min<size_t>(examples.size(), std::max<int64_t>(count, 0))))
        display.show(example);
    return display.take();
}

}  // namespace llmc
