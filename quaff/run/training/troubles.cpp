#include "quaff/run/training/troubles.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "llmc/core/error.h"
#include "llmc/system/terminal.h"
#include "quaff/run/training/step.h"

namespace quaff {

using namespace llmc;

bool Troubles::add(const std::string& kind, const std::string& sentence) {
    auto at = std::ranges::find(troubles_, kind, &Trouble::kind);
    if (at == troubles_.end()) at = troubles_.insert(at, {kind, sentence});
    return at->count++ == 0;
}

std::vector<std::string> Troubles::sentences() const {
    std::vector<std::string> sentences;
    for (const Trouble& trouble : troubles_)
        sentences.push_back(trouble.count == 1
                                ? trouble.first
                                : concat(trouble.first, " (and ", trouble.count - 1, " more like it in log.jsonl)"));
    return sentences;
}

std::string ExplodingGradient::update(double grad_norm) {
    if (!std::isfinite(grad_norm)) return "";
    std::string sentence;
    if (norms_.size() >= kFewest) {
        const double mean = std::accumulate(norms_.begin(), norms_.end(), 0.0) / static_cast<double>(norms_.size());
        if (mean > 0 && grad_norm > kTimes * mean)
            sentence =
                concat(format("the gradient explodes: its norm is %.4g, %.0f times the mean of the %zu steps before. ",
                              grad_norm, grad_norm / mean, norms_.size()),
                       kLowerLearningRate);
    }
    norms_.push_back(grad_norm);
    if (norms_.size() > kWindow) norms_.pop_front();
    return sentence;
}

}  // namespace quaff
