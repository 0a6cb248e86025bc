// From tokens back to text: the decoders of tokenizer.json. They run token by token, so that text can be shown while it
// is generated; decoding a whole list of ids is the same run.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace llmc {

class JsonObject;
class StepLimits;

// A decoder at work: takes tokens and passes tokens on to the next. A long token (Fuse makes one of all) comes in
// chunks of whole characters.
class DecoderStep {
  public:
    virtual ~DecoderStep() = default;
    virtual void take(std::string_view chunk, bool ends_token) = 0;
    virtual void finish() {}  // no token follows

    DecoderStep* next = nullptr;
};

// A chain of decoders at work on one list of tokens.
class DecoderRun {
  public:
    explicit DecoderRun(std::vector<std::unique_ptr<DecoderStep>> steps);
    DecoderRun(const DecoderRun&) = delete;  // the last step writes into text_
    DecoderRun& operator=(const DecoderRun&) = delete;

    // Both return the text that is certain by now and has not been returned before.
    std::string push(std::string_view token);
    std::string finish();

  private:
    std::vector<std::unique_ptr<DecoderStep>> steps_;
    std::string text_;
};

// ByteLevel, Metaspace, Replace, ByteFallback, Fuse, Strip, and Sequence of them.
class Decoder {
  public:
    Decoder();  // tokens joined by spaces, as Hugging Face does without a decoder
    explicit Decoder(const JsonObject& decoder);

    // What LLaMA's SentencePiece model needs: U+2581 is a space, "<0x0A>" a byte; `strip_first` drops the leading
    // space.
    static Decoder sentencepiece(bool strip_first);

    DecoderRun run() const;

  private:
    using MakeStep = std::function<std::unique_ptr<DecoderStep>()>;
    void read(const JsonObject& decoder, StepLimits& limits);

    std::vector<MakeStep> steps_;
};

}  // namespace llmc
