#include "llmc/tokenizer/pre_tokenizer.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "llmc/core/error.h"
#include "llmc/io/json.h"
#include "llmc/tokenizer/byte_level.h"
#include "llmc/tokenizer/utf8.h"

namespace llmc {

namespace {

constexpr const char* kMetaspace = "\xE2\x96\x81";  // U+2581, LOWER ONE EIGHTH BLOCK

template <class... Visitors>
struct Overloaded : Visitors... {
    using Visitors::operator()...;
};
template <class... Visitors>
Overloaded(Visitors...) -> Overloaded<Visitors...>;  // clang before 17 asks for it

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

// Joins the spans that `behavior` wants in one piece and drops those it wants gone.
std::vector<Span> join(std::vector<Span> spans, SplitBehavior behavior) {
    if (behavior == SplitBehavior::isolated) return spans;
    if (behavior == SplitBehavior::removed) {
        std::erase_if(spans, [](const Span& span) { return span.is_match; });
        return spans;
    }
    // Merging with the next is merging with the previous, seen from the end.
    const bool backwards = behavior == SplitBehavior::merged_with_next;
    if (backwards) std::ranges::reverse(spans);
    std::vector<Span> joined;
    bool previous = false;
    for (const Span& span : spans) {
        const bool merges =
            behavior == SplitBehavior::contiguous ? span.is_match == previous : span.is_match && !previous;
        previous = span.is_match;
        if (merges && !joined.empty()) {
            joined.back().begin = std::min(joined.back().begin, span.begin);
            joined.back().end = std::max(joined.back().end, span.end);
        } else {
            joined.push_back(span);
        }
    }
    if (backwards) std::ranges::reverse(joined);
    return joined;
}

// Appends the non-empty pieces that `spans` cut out of `piece`.
void append_pieces(std::vector<Piece>& pieces, Piece piece, const std::vector<Span>& spans) {
    if (spans.size() == 1 && spans[0].begin == 0 && spans[0].end == piece.text.size()) {
        if (!piece.text.empty()) pieces.push_back(std::move(piece));
        return;
    }
    for (const auto& [begin, end, is_match] : spans) {
        if (begin != end)
            pieces.push_back({piece.text.substr(begin, end - begin), -1, piece.begins_text && begin == 0});
    }
}

}  // namespace

Normalizer::Normalizer(const JsonObject& normalizer) {
    StepLimits limits;
    read(normalizer, limits);
}

void Normalizer::read(const JsonObject& normalizer, StepLimits& limits) {
    const std::string type = normalizer.string("type");
    if (type == "Sequence") {
        const auto& parts = normalizer.value("normalizers");
        if (!parts.is_array()) normalizer.fail_field("normalizers", "a list");
        for (const auto& part : parts) read(JsonObject(part, normalizer.file(), "normalizer."), limits);
    } else if (type == "Prepend") {
        const Prepend prepend{normalizer.string("prepend")};
        limits.add(normalizer, 1 + static_cast<double>(prepend.prefix.size()));
        steps_.push_back(prepend);
    } else if (type == "Replace") {
        const Replace replace{Pattern(normalizer, "pattern"), normalizer.string("content")};
        limits.add(normalizer, replace.pattern.growth(replace.content));
        steps_.push_back(replace);
    } else {
        normalizer.fail_field("type", "a supported normalizer (Sequence, Prepend or Replace)");
    }
}

std::string Normalizer::apply(std::string text) const {
    for (const auto& step : steps_) {
        std::visit(Overloaded{
                       [&](const Prepend& prepend) {
                           if (!text.empty()) text.insert(0, prepend.prefix);
                       },
                       [&](const Replace& replace) { text = replace.pattern.replace(text, replace.content); },
                   },
                   step);
    }
    return text;
}

PreTokenizer::PreTokenizer(const JsonObject& pre_tokenizer) {
    StepLimits limits;
    read(pre_tokenizer, limits);
}

PreTokenizer PreTokenizer::metaspace(PrependScheme scheme) {
    PreTokenizer pre_tokenizer;
    pre_tokenizer.steps_.push_back(Metaspace{kMetaspace, scheme, false});
    return pre_tokenizer;
}

void PreTokenizer::read(const JsonObject& pre_tokenizer, StepLimits& limits) {
    const std::string type = pre_tokenizer.string("type");
    if (type == "Sequence") {
        const auto& parts = pre_tokenizer.value("pretokenizers");
        if (!parts.is_array()) pre_tokenizer.fail_field("pretokenizers", "a list");
        for (const auto& part : parts) read(JsonObject(part, pre_tokenizer.file(), "pre_tokenizer."), limits);
    } else if (type == "ByteLevel") {
        limits.add(pre_tokenizer, 2);  // a byte becomes up to two
        ByteLevel step{pre_tokenizer.boolean("add_prefix_space"), std::nullopt};
        if (pre_tokenizer.boolean("use_regex", true)) {
            // GPT-2's words
            step.words.emplace(R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)",
                               pre_tokenizer.field("use_regex"));
        }
        steps_.push_back(std::move(step));
    } else if (type == "Digits") {
        limits.add(pre_tokenizer);
        const bool individual = pre_tokenizer.boolean("individual_digits", false);
        steps_.push_back(Split{Pattern(Regex(R"(\p{N})", pre_tokenizer.field("individual_digits"))),
                               individual ? SplitBehavior::isolated : SplitBehavior::contiguous, false});
    } else if (type == "Split") {
        limits.add(pre_tokenizer);
        steps_.push_back(read_split(pre_tokenizer));
    } else if (type == "Metaspace") {
        const Metaspace metaspace = read_metaspace(pre_tokenizer);
        limits.add(pre_tokenizer, 1 + static_cast<double>(metaspace.replacement.size()));
        steps_.push_back(metaspace);
    } else {
        pre_tokenizer.fail_field("type", "a supported pre-tokenizer (Sequence, ByteLevel, Digits, Split or Metaspace)");
    }
}

PreTokenizer::Split PreTokenizer::read_split(const JsonObject& split) {
    const SplitBehavior behavior = choice(split, "behavior", split.string("behavior"), kBehaviors);
    return {Pattern(split, "pattern"), behavior, split.boolean("invert")};
}

PreTokenizer::Metaspace PreTokenizer::read_metaspace(const JsonObject& metaspace) {
    return {read_replacement(metaspace), read_prepend_scheme(metaspace), metaspace.boolean("split", true)};
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

void PreTokenizer::apply(std::vector<Piece>& pieces) const {
    for (const auto& step : steps_) {
        std::vector<Piece> cut;
        cut.reserve(pieces.size());
        const auto apply = Overloaded{
            [&](const Split& split, Piece piece) {
                std::vector<Span> spans = split.pattern.cut(piece.text);
                if (split.invert) {
                    for (Span& span : spans) span.is_match = !span.is_match;
                }
                append_pieces(cut, std::move(piece), join(std::move(spans), split.behavior));
            },
            [&](const ByteLevel& byte_level, Piece piece) {
                if (byte_level.add_prefix_space && !piece.text.starts_with(' '))
                    piece.text.insert(piece.text.begin(), ' ');
                const size_t first = cut.size();
                std::vector<Span> spans = {{0, piece.text.size(), true}};
                if (byte_level.words) spans = byte_level.words->cut(piece.text);
                append_pieces(cut, std::move(piece), spans);
                for (size_t i = first; i < cut.size(); ++i) cut[i].text = bytes_to_byte_level(cut[i].text);
            },
            [&](const Metaspace& metaspace, Piece piece) {
                piece.text = Pattern(" ").replace(piece.text, metaspace.replacement);
                const bool prepend = metaspace.scheme == PrependScheme::always ||
                                     (metaspace.scheme == PrependScheme::first && piece.begins_text);
                if (prepend && !piece.text.starts_with(metaspace.replacement)) {
                    piece.text.insert(0, metaspace.replacement);
                }
                std::vector<Span> spans = {{0, piece.text.size(), false}};
                if (metaspace.split) {
                    spans = join(Pattern(metaspace.replacement).cut(piece.text), SplitBehavior::merged_with_next);
                }
                append_pieces(cut, std::move(piece), spans);
            },
        };
        for (Piece& piece : pieces) {
            if (piece.id >= 0) {
                cut.push_back(std::move(piece));
            } else {
                std::visit([&](const auto& kind) { apply(kind, std::move(piece)); }, step);
            }
        }
        pieces = std::move(cut);
    }
}

}  // namespace llmc
