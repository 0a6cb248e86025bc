// Limits on how many steps a tokenizer.json may chain, and on how much longer than the text their output may be. Ten
// steps that each write "aa" for "a" make a thousand letters of one, forty a million million; and a decoder's steps
// call each other, so that a thousand of them take a thousand stack frames.
//
// Known files have up to five steps. LLaMA 2's makes a text up to 12 times as long, if it is a single blank: it writes
// three bytes for a blank and three in front. A compatible normal form before that allows 11 times as much.
#pragma once

#include <string_view>

namespace llmc {

class JsonObject;

class StepLimits {
  public:
    static constexpr int kMostSteps = 64;
    static constexpr double kMostGrowth = 256;

    // Counts a step that makes a text up to `growth` times as long. Throws Error naming `step` if a limit is exceeded.
    void add(const JsonObject& step, double growth = 1);

  private:
    int steps_ = 0;
    double growth_ = 1;
};

}  // namespace llmc
