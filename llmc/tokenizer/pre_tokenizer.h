// What happens to a text before the model: normalizers rewrite it, and pre-tokenizers cut it into pieces, which the
// model encodes one by one. Read from tokenizer.json; kinds that no supported model uses are refused by name.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "llmc/tokenizer/regex.h"
#include "llmc/tokenizer/step_limits.h"

namespace llmc {

class JsonObject;

// Prepend, Replace, and Sequence of them.
class Normalizer {
  public:
    Normalizer() = default;  // changes nothing
    explicit Normalizer(const JsonObject& normalizer);

    std::string apply(std::string text) const;

  private:
    struct Prepend {
        std::string prefix;
    };
    struct Replace {
        Pattern pattern;
        std::string content;
    };
    void read(const JsonObject& normalizer, StepLimits& limits);

    std::vector<std::variant<Prepend, Replace>> steps_;
};

// A stretch of the text, which each step cuts and rewrites, or an added token.
struct Piece {
    std::string text;
    int32_t id = -1;           // of the added token it is
    bool begins_text = false;  // it begins where the whole text does
};

enum class SplitBehavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };

enum class PrependScheme { first, never, always };

// ByteLevel, Digits, Split, Metaspace, and Sequence of them.
class PreTokenizer {
  public:
    PreTokenizer() = default;  // one piece
    explicit PreTokenizer(const JsonObject& pre_tokenizer);

    // Spaces become U+2581, and one is put in front as the scheme says: LLaMA's way of marking words.
    static PreTokenizer metaspace(PrependScheme scheme);

    void apply(std::vector<Piece>& pieces) const;

  private:
    struct Split {
        Pattern pattern;
        SplitBehavior behavior;
        bool invert;
    };
    struct ByteLevel {
        bool add_prefix_space;
        std::optional<Regex> words;
    };
    struct Metaspace {
        std::string replacement;
        PrependScheme scheme;
        bool split;
    };
    void read(const JsonObject& pre_tokenizer, StepLimits& limits);
    static Split read_split(const JsonObject& split);
    static Metaspace read_metaspace(const JsonObject& metaspace);

    std::vector<std::variant<Split, ByteLevel, Metaspace>> steps_;
};

// Field "prepend_scheme" of a Metaspace, or its older spelling, "add_prefix_space".
PrependScheme read_prepend_scheme(const JsonObject& metaspace);

// Field "replacement" of a Metaspace.
std::string read_replacement(const JsonObject& metaspace);

}  // namespace llmc
