#include "llmc/tokenizer/decoder.h"

#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>

#include "llmc/core/error.h"
#include "llmc/core/utf8.h"
#include "llmc/io/json.h"
#include "llmc/tokenizer/text/byte_level.h"
#include "llmc/tokenizer/text/pre_tokenizer.h"

namespace llmc {

namespace {

// Collects a token to its end before it looks at it.
class WholeTokenStep : public DecoderStep {
  public:
    void take(std::string_view chunk, bool ends_token) final {
        token_ += chunk;
        if (!ends_token) return;
        take_token(token_);
        token_.clear();
    }

  protected:
    virtual void take_token(std::string_view token) = 0;

  private:
    std::string token_;
};

class ReplaceStep : public WholeTokenStep {
  public:
    ReplaceStep(Pattern pattern, std::string content) : pattern_(std::move(pattern)), content_(std::move(content)) {}

  protected:
    void take_token(std::string_view token) override { next->take(pattern_.replace(token, content_), true); }

  private:
    Pattern pattern_;
    std::string content_;
};

// "<0x0A>" is a byte. A run of bytes is text if all of it is UTF-8, else every byte becomes U+FFFD, so a run can be
// judged only at its end.
class ByteFallbackStep : public WholeTokenStep {
  public:
    void finish() override { end_run(); }

  protected:
    void take_token(std::string_view token) override {
        uint8_t byte = 0;
        if (token.size() == 6 && token.starts_with("<0x") && token.ends_with('>') &&
            std::from_chars(token.data() + 3, token.data() + 5, byte, 16).ptr == token.data() + 5) {
            run_ += static_cast<char>(byte);
            return;
        }
        end_run();
        next->take(token, true);
    }

  private:
    void end_run() {
        if (run_.empty()) return;
        if (find_invalid_utf8(run_) == std::string::npos) {
            next->take(run_, true);
        } else {
            for (size_t i = 0; i < run_.size(); ++i) next->take(kReplacementCharacter, true);
        }
        run_.clear();
    }

    std::string run_;
};

class FuseStep : public DecoderStep {
  public:
    void take(std::string_view chunk, bool) override { next->take(chunk, false); }
    void finish() override { next->take("", true); }
};

// Drops up to `start` characters equal to `content` from the beginning of every token.
class StripStep : public DecoderStep {
  public:
    StripStep(std::string content, int64_t start) : content_(std::move(content)), start_(start), left_(start) {}

    void take(std::string_view chunk, bool ends_token) override {
        while (left_ > 0 && chunk.starts_with(content_)) {
            chunk.remove_prefix(content_.size());
            --left_;
        }
        if (!chunk.empty()) left_ = 0;
        if (ends_token) left_ = start_;
        next->take(chunk, ends_token);
    }

  private:
    std::string content_;
    int64_t start_;
    int64_t left_;  // how many this token may still lose
};

// The replacement becomes a space; in the first token nothing, unless none was put there.
class MetaspaceStep : public DecoderStep {
  public:
    MetaspaceStep(std::string replacement, bool drop_first) : replacement_(std::move(replacement)), drop_(drop_first) {}

    void take(std::string_view chunk, bool ends_token) override {
        next->take(replacement_.replace(chunk, drop_ ? "" : " "), ends_token);
        if (ends_token) drop_ = false;
    }

  private:
    Pattern replacement_;
    bool drop_;
};

// All tokens together spell bytes; ill-formed UTF-8 becomes U+FFFD.
class ByteLevelStep : public DecoderStep {
  public:
    void take(std::string_view chunk, bool ends_token) override {
        token_ += chunk;
        if (!ends_token) return;
        // A token outside the alphabet, such as an added one, stands for its own bytes.
        bytes_ += byte_level_to_bytes(token_).value_or(token_);
        token_.clear();
        give(false);
    }
    void finish() override { give(true); }

  private:
    void give(bool last) {
        std::string text;
        move_utf8_lossy(bytes_, text, last);
        next->take(text, last);
    }

    std::string token_;
    std::string bytes_;  // the beginning of a character
};

class JoinStep : public DecoderStep {
  public:
    void take(std::string_view chunk, bool ends_token) override {
        if (!first_ && begins_) next->take(" ", false);
        first_ = false;
        begins_ = ends_token;
        next->take(chunk, ends_token);
    }

  private:
    bool first_ = true;
    bool begins_ = true;  // the next chunk begins a token
};

class SinkStep : public DecoderStep {
  public:
    explicit SinkStep(std::string& text) : text_(text) {}
    void take(std::string_view chunk, bool) override { text_ += chunk; }

  private:
    std::string& text_;
};

}  // namespace

DecoderRun::DecoderRun(std::vector<std::unique_ptr<DecoderStep>> steps) : steps_(std::move(steps)) {
    steps_.push_back(std::make_unique<SinkStep>(text_));
    for (size_t i = 0; i + 1 < steps_.size(); ++i) steps_[i]->next = steps_[i + 1].get();
}

std::string DecoderRun::push(std::string_view token) {
    steps_.front()->take(token, true);
    return std::exchange(text_, {});
}

std::string DecoderRun::finish() {
    for (const auto& step : steps_) step->finish();
    return std::exchange(text_, {});
}

Decoder::Decoder() {
    steps_.push_back(std::make_unique<JoinStep>);
}

Decoder::Decoder(const JsonObject& decoder) {
    StepLimits limits;
    read(decoder, limits);
}

Decoder Decoder::sentencepiece(bool strip_first) {
    Decoder decoder;
    decoder.steps_ = {
        [] { return std::make_unique<ReplaceStep>(Pattern(kMetaspace), " "); },
        std::make_unique<ByteFallbackStep>,
        std::make_unique<FuseStep>,
    };
    if (strip_first) decoder.steps_.push_back([] { return std::make_unique<StripStep>(" ", 1); });
    return decoder;
}

void Decoder::read(const JsonObject& decoder, StepLimits& limits) {
    const std::string type = decoder.string("type");
    if (type == "Sequence") {
        const auto& parts = decoder.value("decoders");
        if (!parts.is_array()) decoder.fail_field("decoders", "a list");
        for (const auto& part : parts) read(JsonObject(part, decoder.file(), "decoder."), limits);
        return;
    }
    double growth = 1;
    if (type == "ByteLevel") {
        growth = 3;  // an invalid byte becomes U+FFFD, three bytes
        steps_.push_back(std::make_unique<ByteLevelStep>);
    } else if (type == "ByteFallback") {
        steps_.push_back(std::make_unique<ByteFallbackStep>);
    } else if (type == "Fuse") {
        steps_.push_back(std::make_unique<FuseStep>);
    } else if (type == "Replace") {
        const Pattern pattern(decoder, "pattern");
        const std::string content = decoder.string("content");
        growth = pattern.growth(content);
        steps_.push_back([pattern, content] { return std::make_unique<ReplaceStep>(pattern, content); });
    } else if (type == "Metaspace") {
        steps_.push_back([replacement = read_replacement(decoder),
                          drop_first = read_prepend_scheme(decoder) != PrependScheme::never] {
            return std::make_unique<MetaspaceStep>(replacement, drop_first);
        });
    } else if (type == "Strip") {
        const std::string content = decoder.string("content");
        if (content.empty() || utf8_sequence(content).length != static_cast<int>(content.size())) {
            decoder.fail_field("content", "one character");
        }
        if (decoder.integer("stop", 0, 1 << 20, 0) != 0) {
            decoder.fail_field("stop", "0 (stripping the end of tokens is not supported)");
        }
        steps_.push_back([content, start = decoder.integer("start", 0, 1 << 20, 0)] {
            return std::make_unique<StripStep>(content, start);
        });
    } else {
        decoder.fail_field(
            "type", "a supported decoder (Sequence, ByteLevel, Metaspace, Replace, ByteFallback, Fuse or Strip)");
    }
    limits.add(decoder, growth);
}

DecoderRun Decoder::run() const {
    std::vector<std::unique_ptr<DecoderStep>> steps;
    for (const MakeStep& make : steps_) steps.push_back(make());
    return DecoderRun(std::move(steps));
}

}  // namespace llmc
