#include "llmc/tokenizer/text/normalizer.h"

#include <nlohmann/json.hpp>
#include <optional>

#include "llmc/core/utf8.h"
#include "llmc/io/json.h"
#include "llmc/tokenizer/regex/regex.h"
#include "llmc/tokenizer/text/unicode.h"

namespace llmc {

namespace {

class Prepend : public NormalizerStep {
  public:
    explicit Prepend(std::string prefix) : prefix_(std::move(prefix)) {}

    void apply(AlignedText& text) const override {
        if (text.text().empty()) return;
        Rewriter to(text);
        to.put(prefix_, 0);
        to.keep(0, text.text().size());
        to.finish();
    }

  private:
    std::string prefix_;
};

// What replaces a match stands for the last character of the match. An empty text has no match, also not an empty one.
class Replace : public NormalizerStep {
  public:
    Replace(Pattern pattern, std::string content) : pattern_(std::move(pattern)), content_(std::move(content)) {}

    void apply(AlignedText& text) const override {
        if (text.text().empty()) return;
        std::vector<PatternSpan> spans;
        pattern_.cut(text.text(), spans);
        Rewriter to(text);
        for (const auto& [begin, end, is_match] : spans) {
            if (is_match) {
                to.put(content_, end > 0 ? end - 1 : Rewriter::kNowhere);
            } else {
                to.keep(begin, end);
            }
        }
        to.finish();
    }

  private:
    Pattern pattern_;
    std::string content_;
};

class ToNormalForm : public NormalizerStep {
  public:
    explicit ToNormalForm(NormalForm form) : form_(form) {}

    void apply(AlignedText& text) const override { to_normal_form(text, form_); }

  private:
    NormalForm form_;
};

class Lowercase : public NormalizerStep {
  public:
    void apply(AlignedText& text) const override { to_lower_case(text); }
};

class StripAccents : public NormalizerStep {
  public:
    void apply(AlignedText& text) const override { drop_marks(text); }
};

// White space at the ends.
class Strip : public NormalizerStep {
  public:
    Strip(bool left, bool right) : left_(left), right_(right) {}

    void apply(AlignedText& text) const override {
        const std::string_view from = text.text();
        size_t begin = 0;
        size_t end = from.size();
        while (left_ && begin < end && is_white_space(utf8_code_point(character_at(from, begin)))) {
            begin += character_at(from, begin).size();
        }
        while (right_ && begin < end && is_white_space(utf8_code_point(character_before(from, end)))) {
            end -= character_before(from, end).size();
        }
        if (begin == 0 && end == from.size()) return;
        Rewriter to(text);
        to.keep(begin, end);
        to.finish();
    }

  private:
    bool left_, right_;
};

std::optional<NormalForm> normal_form(const std::string& type) {
    if (type == "NFC") return NormalForm::nfc;
    if (type == "NFD") return NormalForm::nfd;
    if (type == "NFKC") return NormalForm::nfkc;
    if (type == "NFKD") return NormalForm::nfkd;
    return std::nullopt;
}

}  // namespace

Normalizer::Normalizer(const JsonObject& normalizer) {
    StepLimits limits;
    read(normalizer, limits);
}

template <class Step>
void Normalizer::add(Step step) {
    steps_.push_back(std::make_shared<const Step>(std::move(step)));
}

Normalizer Normalizer::sentencepiece(bool prefix, bool drop_extra) {
    Normalizer normalizer;
    // At the end SentencePiece drops U+2581 of the text, too.
    if (drop_extra) normalizer.add(Replace(Pattern(Regex(R"(\A +|[ \x{2581}]+\z|(?<= ) +)", "spaces")), ""));
    if (prefix) normalizer.add(Prepend(kMetaspace));
    normalizer.add(Replace(Pattern(" "), kMetaspace));
    return normalizer;
}

void Normalizer::read(const JsonObject& normalizer, StepLimits& limits) {
    const std::string type = normalizer.string("type");
    if (type == "Sequence") {
        const auto& parts = normalizer.value("normalizers");
        if (!parts.is_array()) normalizer.fail_field("normalizers", "a list");
        for (const auto& part : parts) read(JsonObject(part, normalizer.file(), "normalizer."), limits);
    } else if (type == "Prepend") {
        const std::string prefix = normalizer.string("prepend");
        limits.add(normalizer, 1 + static_cast<double>(prefix.size()));
        add(Prepend(prefix));
    } else if (type == "Replace") {
        const Pattern pattern(normalizer, "pattern");
        const std::string content = normalizer.string("content");
        limits.add(normalizer, pattern.growth(content));
        add(Replace(pattern, content));
    } else if (const std::optional<NormalForm> form = normal_form(type)) {
        limits.add(normalizer, growth_of(*form));
        add(ToNormalForm(*form));
    } else if (type == "Lowercase") {
        limits.add(normalizer, 1.5);
        add(Lowercase());
    } else if (type == "StripAccents") {
        limits.add(normalizer);
        add(StripAccents());
    } else if (type == "Strip") {
        limits.add(normalizer);
        add(Strip(normalizer.boolean("strip_left", true), normalizer.boolean("strip_right", true)));
    } else {
        normalizer.fail_field("type",
                              "a supported normalizer (Sequence, Prepend, Replace, NFC, NFD, NFKC, NFKD, Lowercase, "
                              "Strip or StripAccents)");
    }
}

void Normalizer::apply(AlignedText& text) const {
    for (const auto& step : steps_) step->apply(text);
}

std::string Normalizer::apply(const std::string& text) const {
    AlignedText normalized(text, 0, false);
    apply(normalized);
    return std::string(normalized.text());
}

}  // namespace llmc
