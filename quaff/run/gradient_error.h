// How well a quantised model trains: its adapters' gradients beside those of the same model in full precision, on the
// same batches.
//
//   relative error   |g - f| / |f|        g, f: all gradients of the kind over all batches, as one vector
//   cosine           g . f / (|g| |f|)
//
// A kind is a linear's last name, "down_proj". Each batch's gradient is that of the mean loss over its labelled tokens,
// without dropout and with the scales as they are. With new adapters B is 0, and so is the gradient of every A: B's
// alone are compared.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "llmc/data/examples.h"
#include "quaff/model/model.h"

namespace quaff {

// Sums over the gradients of one kind.
struct GradientComparison {
    double error = 0, own = 0, full = 0, product = 0;  // |g - f|^2, |g|^2, |f|^2, g . f

    // 0 where there is no gradient at all.
    double relative_error() const;
    double cosine() const;
    void add(const GradientComparison& other);
};

// By kind. Both models are built to train, with the same adapters. `batches` and `progress` as evaluate() takes them;
// the gradients of both models are zero afterwards. Every rank calls it.
template <class Device>
std::map<std::string, GradientComparison> compare_gradients(
    Model<Device>& model, Model<Device>& reference, const Dataset& data,
    const std::vector<std::vector<int64_t>>& batches, const std::function<void(int64_t done, int64_t total)>& progress);

}  // namespace quaff
