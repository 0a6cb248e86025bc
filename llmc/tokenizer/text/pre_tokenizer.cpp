#include "llmc/tokenizer/text/pre_tokenizer.h"

#include <nlohmann/json.hpp>
#include <optional>

#include "llmc/core/error.h"
#include "llmc/core/utf8.h"
#include "llmc/io/json.h"
#include "llmc/tokenizer/text/byte_level.h"
#include "llmc/tokenizer/text/split.h"

namespace llmc {

namespace {

template <class Value>
using Names = std::pair<const char*, Value>;

constexpr Names<SplitBehavior> kBehaviors[] = {{"Removed", SplitBehavior::removed},
                                               {"Isolated", SplitBehavior::isolated},
                                               {"MergedWithPrevious", SplitBehavior::merged_with_previous},
                                               {"MergedWithNext", SplitBehavior::merged_with_next},
                                               {"Contiguous", SplitBehavior::contiguous}};
constexpr Names<PrependScheme> kPrependSchemes[] = {
    {"first", PrependScheme::first}, {"never", PrependScheme::never}, {"always", PrependScheme::always}};

// The value of `name`, read from the object's field `key`. Throws Error listing the known names.
template <class Value, size_t N>
Value choice(const JsonObject& object, const std::string& key, const std::string& name,
             const Names<Value> (&known)[N]) {
    std::string list;
    for (size_t i = 0; i < N; ++i) {
        if (name == known[i].first) return known[i].second;
        list += concat(i == 0 ? "" : i + 1 < N ? ", " : " or ", known[i].first);
    }
    object.fail_field(key, list);
}

// Writes the text anew: `write` writes a piece that is no added token. What lies between pieces is left out.
template <class Write>
void rewrite(AlignedText& text, std::vector<Piece>& pieces, const Write& write) {
    Rewriter to(text);
    for (Piece& piece : pieces) {
        const size_t begin = to.size();
        if (piece.id >= 0) {
            to.keep(piece.begin, piece.end);
        } else {
            write(to, piece);
        }
        piece = {begin, to.size(), piece.id};
    }
    to.finish();
}

class Split : public PreTokenizerStep {
  public:
    Split(Pattern pattern, SplitBehavior behavior, bool invert = false)
        : pattern_(std::move(pattern)), behavior_(behavior), invert_(invert) {}

    void apply(AlignedText& text, std::vector<Piece>& pieces) const override {
        std::vector<Piece> cut;
        cut.reserve(text.text().size() / 4 + pieces.size());
        std::vector<PatternSpan> spans;
        for (const Piece& piece : pieces) {
            if (piece.id >= 0) {
                cut.push_back(piece);
                continue;
            }
            pattern_.cut(text.text().substr(piece.begin, piece.end - piece.begin), spans);
            if (invert_) {
                for (PatternSpan& span : spans) span.is_match = !span.is_match;
            }
            join(spans, behavior_);
            for (const auto& [begin, end, is_match] : spans) {
                if (begin != end) cut.push_back({piece.begin + begin, piece.begin + end});
            }
        }
        pieces = std::move(cut);
    }

  private:
    Pattern pattern_;
    SplitBehavior behavior_;
    bool invert_;
};

// A space in front of every piece that has none.
class PrefixSpace : public PreTokenizerStep {
  public:
    void apply(AlignedText& text, std::vector<Piece>& pieces) const override {
        const std::string_view from = text.text();
        rewrite(text, pieces, [&](Rewriter& to, const Piece& piece) {
            if (from[piece.begin] != ' ') to.put(" ", piece.begin);
            to.keep(piece.begin, piece.end);
        });
    }
};

// Every byte becomes its letter of the byte-level alphabet.
class ByteLetters : public PreTokenizerStep {
  public:
    void apply(AlignedText& text, std::vector<Piece>& pieces) const override {
        const std::string_view from = text.text();
        rewrite(text, pieces, [&](Rewriter& to, const Piece& piece) {
            for (size_t i = piece.begin; i < piece.end; ++i) to.put(byte_letter(from[i]), i);
        });
    }
};

// Spaces become the replacement, and the piece begins with one if the scheme says so.
class Metaspace : public PreTokenizerStep {
  public:
    Metaspace(std::string replacement, PrependScheme scheme) : replacement_(std::move(replacement)), scheme_(scheme) {}

    void apply(AlignedText& text, std::vector<Piece>& pieces) const override {
        const std::string_view from = text.text();
        rewrite(text, pieces, [&](Rewriter& to, const Piece& piece) {
            const std::string_view own = from.substr(piece.begin, piece.end - piece.begin);
            const bool prepends =
                scheme_ == PrependScheme::always ||
                (scheme_ == PrependScheme::first && text.range(piece.begin, piece.begin + 1).begin == 0);
            if (prepends && own[0] != ' ' && !own.starts_with(replacement_)) to.put(replacement_, piece.begin);
            size_t kept = 0;
            for (size_t space; (space = own.find(' ', kept)) != own.npos; kept = space + 1) {
                to.keep(piece.begin + kept, piece.begin + space);
                to.put(replacement_, piece.begin + space);
            }
            to.keep(piece.begin + kept, piece.end);
        });
    }

  private:
    std::string replacement_;
    PrependScheme scheme_;
};

// `where` names the pre-tokenizer.
Split split_at(const char* expression, const std::string& where, SplitBehavior behavior, bool invert = false) {
    return {Pattern(Regex(expression, where)), behavior, invert};
}

}  // namespace

PreTokenizer::PreTokenizer(const JsonObject& pre_tokenizer) {
    StepLimits limits;
    read(pre_tokenizer, limits);
}

PreTokenizer PreTokenizer::metaspace(PrependScheme scheme) {
    PreTokenizer pre_tokenizer;
    pre_tokenizer.add(Metaspace(kMetaspace, scheme));
    pre_tokenizer.needs_positions_ = scheme == PrependScheme::first;
    return pre_tokenizer;
}

template <class Step>
void PreTokenizer::add(Step step) {
    steps_.push_back(std::make_shared<const Step>(std::move(step)));
}

void PreTokenizer::read(const JsonObject& pre_tokenizer, StepLimits& limits) {
    const std::string type = pre_tokenizer.string("type");
    const std::string where = pre_tokenizer.field("type");
    if (type == "Sequence") {
        const auto& parts = pre_tokenizer.value("pretokenizers");
        if (!parts.is_array()) pre_tokenizer.fail_field("pretokenizers", "a list");
        for (const auto& part : parts) read(JsonObject(part, pre_tokenizer.file(), "pre_tokenizer."), limits);
    } else if (type == "ByteLevel") {
        limits.add(pre_tokenizer, 2);  // a letter takes up to two bytes
        if (pre_tokenizer.boolean("add_prefix_space", true)) add(PrefixSpace());
        if (pre_tokenizer.boolean("use_regex", true)) {
            // GPT-2's words
            add(split_at(R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)", where,
                         SplitBehavior::isolated));
        }
        add(ByteLetters());
    } else if (type == "Digits") {
        limits.add(pre_tokenizer);
        const bool individual = pre_tokenizer.boolean("individual_digits", false);
        add(split_at(R"(\p{N})", where, individual ? SplitBehavior::isolated : SplitBehavior::contiguous));
    } else if (type == "Punctuation") {
        limits.add(pre_tokenizer);
        const SplitBehavior behavior =
            choice(pre_tokenizer, "behavior", pre_tokenizer.string("behavior", "Isolated"), kBehaviors);
        add(split_at(R"([\p{P}$+<=>\^`|~])", where, behavior));
    } else if (type == "Whitespace") {
        limits.add(pre_tokenizer);
        // Words of \w, as Rust's regular expressions have it, and what else is no white space.
        const std::string words = concat("[", kRustWord, "]+|[^", kRustWord, "\\s]+");
        add(split_at(words.c_str(), where, SplitBehavior::removed, true));
    } else if (type == "WhitespaceSplit") {
        limits.add(pre_tokenizer);
        add(split_at(R"(\s)", where, SplitBehavior::removed));
    } else if (type == "Split") {
        limits.add(pre_tokenizer);
        const SplitBehavior behavior = choice(pre_tokenizer, "behavior", pre_tokenizer.string("behavior"), kBehaviors);
        add(Split(Pattern(pre_tokenizer, "pattern"), behavior, pre_tokenizer.boolean("invert", false)));
    } else if (type == "Metaspace") {
        const std::string replacement = read_replacement(pre_tokenizer);
        const PrependScheme scheme = read_prepend_scheme(pre_tokenizer);
        limits.add(pre_tokenizer, 1 + static_cast<double>(replacement.size()));
        add(Metaspace(replacement, scheme));
        needs_positions_ |= scheme == PrependScheme::first;
        if (pre_tokenizer.boolean("split", true)) add(Split(Pattern(replacement), SplitBehavior::merged_with_next));
    } else {
        pre_tokenizer.fail_field("type",
                                 "a supported pre-tokenizer (Sequence, ByteLevel, Digits, Metaspace, Punctuation, "
                                 "Split, Whitespace or WhitespaceSplit)");
    }
}

PrependScheme read_prepend_scheme(const JsonObject& metaspace) {
    const std::string name = metaspace.string("prepend_scheme", "always");
    if (metaspace.has("add_prefix_space") && !metaspace.boolean("add_prefix_space")) {
        if (metaspace.has("prepend_scheme") && name != "never") {
            metaspace.fail_field("prepend_scheme", "\"never\", as add_prefix_space says");
        }
        return PrependScheme::never;
    }
    return choice(metaspace, "prepend_scheme", name, kPrependSchemes);
}

std::string read_replacement(const JsonObject& metaspace) {
    std::string replacement = metaspace.string("replacement");
    if (replacement.empty() || utf8_sequence(replacement).length != static_cast<int>(replacement.size())) {
        metaspace.fail_field("replacement", "one character");
    }
    return replacement;
}

void PreTokenizer::apply(AlignedText& text, std::vector<Piece>& pieces) const {
    for (const auto& step : steps_) step->apply(text, pieces);
}

}  // namespace llmc
