// How long a chain of steps a tokenizer.json may ask for, and how much longer than the text what comes out may be. Ten
// steps that each write "aa" for "a" make a thousand letters of one, forty a million million; a decoder's steps call
// each other, so that a thousand of them have a stack of a thousand frames.
//
// Known files have up to five steps, and LLaMA 2's, which writes three bytes for a blank and three in front of all, is
// the one that grows a text most: 12 times, if it is nothing but one blank.
#pragma once

#include <string_view>

namespace llmc {

class JsonObject;

class StepLimits {
  public:
    static constexpr int kMostSteps = 64;
    static constexpr double kMostGrowth = 64;

    // Counts a step that makes a text up to `growth` times as long; throws Error naming `step` where it is too much.
    void add(const JsonObject& step, double growth = 1);

  private:
    int steps_ = 0;
    double growth_ = 1;
};

}  // namespace llmc
