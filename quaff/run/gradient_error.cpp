#include "quaff/run/gradient_error.h"

#include <cmath>

#include "llmc/core/error.h"
#include "quaff/model/devices.h"
#include "quaff/model/saved_adapter.h"

namespace quaff {
namespace {

// From the gradients of one adapter's A or B in either model.
GradientComparison compare(Matrix<const float> own, Matrix<const float> full) {
    GradientComparison sums;
    for (int64_t i = 0; i < own.rows; i++) {
        for (int64_t j = 0; j < own.cols; j++) {
            const double g = own(i, j), f = full(i, j);
            sums.error += (g - f) * (g - f);
            sums.own += g * g;
            sums.full += f * f;
            sums.product += g * f;
        }
    }
    return sums;
}

std::string kind_of(const LoraAdapter& adapter) {
    return adapter.module.substr(adapter.module.rfind('.') + 1);
}

}  // namespace

double GradientComparison::relative_error() const {
    return full > 0 ? std::sqrt(error / full) : 0;
}
double GradientComparison::cosine() const {
    return own > 0 && full > 0 ? product / std::sqrt(own * full) : 0;
}
void GradientComparison::add(const GradientComparison& other) {
    error += other.error;
    own += other.own;
    full += other.full;
    product += other.product;
}

template <class Device>
std::map<std::string, GradientComparison> compare_gradients(Model<Device>& model, Model<Device>& reference,
                                                            const Dataset& data,
                                                            const std::vector<std::vector<int64_t>>& batches,
                                                            const std::function<void(int64_t, int64_t)>& progress) {
    std::map<std::string, GradientComparison> kinds;
    for (const LoraAdapter& adapter : model.adapters()) kinds[kind_of(adapter)];  // the same on every rank
    for (size_t i = 0; i < batches.size(); ++i) {
        if (!is_mine(model.comm(), static_cast<int64_t>(i))) continue;
        progress(static_cast<int64_t>(i), static_cast<int64_t>(batches.size()));
        const Batch batch = pack(data.examples, batches[i]);
        model.take_gradients(batch);
        reference.take_gradients(batch);
        std::vector<float> own = model.read(model.gradients()), full = reference.read(reference.gradients());
        const std::vector<LoraAdapter> mine = host_adapters(model, own), exact = host_adapters(reference, full);
        for (size_t a = 0; a < mine.size(); ++a) {
            GradientComparison& kind = kinds[kind_of(mine[a])];
            kind.add(compare(mine[a].a, exact[a].a));
            kind.add(compare(mine[a].b, exact[a].b));
        }
    }
    for (auto& [name, kind] : kinds) {
        double sums[] = {kind.error, kind.own, kind.full, kind.product};
        model.comm().sum(sums);
        kind = {sums[0], sums[1], sums[2], sums[3]};
    }
    model.zero_gradients();
    reference.zero_gradients();
    return kinds;
}

#define INSTANTIATE(Device)                                                                       \
    template std::map<std::string, GradientComparison> compare_gradients(                         \
        Model<Device>&, Model<Device>&, const Dataset&, const std::vector<std::vector<int64_t>>&, \
        const std::function<void(int64_t, int64_t)>&);
QUAFF_FOR_EACH_DEVICE(INSTANTIATE)

}  // namespace quaff
