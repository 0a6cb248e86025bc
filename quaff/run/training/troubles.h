// What went wrong in a run and did not end it: told when it happens, and once more in the closing summary.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

namespace quaff {

class Troubles {
  public:
    // Whether it is the first of its `kind`, such as "gradient": only that one is told in full.
    bool add(const std::string& kind, const std::string& sentence);
    // A sentence for each kind: the first of them, and how many followed.
    std::vector<std::string> sentences() const;

  private:
    struct Trouble {
        std::string kind, first;
        int64_t count = 0;
    };
    std::vector<Trouble> troubles_;  // in the order of their first
};

// Notices a gradient that explodes: its norm is kTimes the mean of the trailing steps.
class ExplodingGradient {
  public:
    static constexpr double kTimes = 10;
    static constexpr size_t kFewest = 16, kWindow = 64;  // steps to compare with

    // A norm that is not finite changes nothing. Returns what to say of the step, or "".
    std::string update(double grad_norm);

  private:
    std::deque<double> norms_;
};

}  // namespace quaff
