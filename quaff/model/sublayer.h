// How attention, or the MLP, hangs on the residual stream. Families differ in where they norm and by what they
// multiply:
//
//   r      = x + delta
//   h      = rmsnorm(r)               norm_before; h = r in families that only norm what comes out
//   y      = attention(h) or mlp(h)
//   branch = m rmsnorm(y)             norm_after; branch = m y in families that only norm what goes in
//
// branch is the next delta. backward takes dr, the gradient of r + branch, to that of r.
#pragma once

#include <span>

#include "quaff/model/linear_input.h"

namespace quaff {

// What backward reads.
template <class Device>
struct SublayerActivations {
    using T = typename Device::compute_t;
    Matrix<T> residual;           // r [N,C]
    std::span<float> rstd;        // of norm_before [N]
    Matrix<T> unnormed;           // y [N,C], with norm_after alone
    std::span<float> rstd_after;  // [N], the same

    SublayerActivations first_rows(int64_t n) const {
        return {residual.first_rows(n), rstd, unnormed.first_rows(n), rstd_after};
    }
};

template <class Device>
struct Sublayer {
    using T = typename Device::compute_t;

    std::span<T> norm_before, norm_after;  // [C], or empty
    float multiplier = 1, eps = 0;         // m
    float norm_addend = 0;                 // of the weights of both norms

    NormWeight<T> weight_before() const { return {norm_before.data(), norm_addend}; }
    NormWeight<T> weight_after() const { return {norm_after.data(), norm_addend}; }
    bool changes_output() const { return !norm_after.empty() || multiplier != 1; }

    // h, for the linear that reads it, which makes it: a norm in one pass with its int8 rows. `normed` is room for it.
    LinearInput<Device> input(Matrix<T> normed, const SublayerActivations<Device>& kept, Matrix<const T> x,
                              Matrix<const T> delta) const {
        if (norm_before.empty()) return SummedInput<Device>{.x = kept.residual, .stream = x, .delta = delta};
        return NormedInput<Device>{.x = normed,
                                   .residual = kept.residual,
                                   .rstd = kept.rstd.data(),
                                   .stream = x,
                                   .delta = delta,
                                   .weight = weight_before(),
                                   .eps = eps};
    }
    // Where y goes. `branch` is where finish() puts what becomes of it.
    Matrix<T> output(Matrix<T> branch, const SublayerActivations<Device>& kept) const {
        return norm_after.empty() ? branch : kept.unnormed;
    }
    void finish(const Device& device, Matrix<T> branch, const SublayerActivations<Device>& kept) const {
        if (!norm_after.empty())
            rmsnorm_forward<T>(device, branch, kept.unnormed, kept.rstd_after.data(), kept.unnormed, {}, weight_after(),
                               eps);
        if (multiplier != 1) scale<T>(device, branch, branch, multiplier);
    }

    // The gradient of y: dr itself where y is added as it is, else made in `dbranch`.
    Matrix<const T> output_gradient(const Device& device, Matrix<T> dbranch, Matrix<const T> dr,
                                    const SublayerActivations<Device>& kept) const {
        if (!changes_output()) return dr;
        if (norm_after.empty()) {
            scale<T>(device, dbranch, dr, multiplier);
        } else {
            set_zero<T>(device, dbranch);
            rmsnorm_backward<T>(device, dbranch, dr, kept.unnormed, kept.rstd_after.data(), weight_after());
            if (multiplier != 1) scale<T>(device, dbranch, dbranch, multiplier);
        }
        return dbranch;
    }
    // h again, as forward made it.
    Matrix<const T> input_again(const Device& device, Matrix<T> normed, const SublayerActivations<Device>& kept) const {
        if (norm_before.empty()) return kept.residual;
        rmsnorm_apply<T>(device, normed, kept.residual, kept.rstd.data(), weight_before());
        return normed;
    }
    // dr becomes the gradient of r; dh: that of h.
    void add_input_gradient(const Device& device, Matrix<T> dr, Matrix<const T> dh,
                            const SublayerActivations<Device>& kept) const {
        if (norm_before.empty())
            add<T>(device, dr, dh);
        else
            rmsnorm_backward<T>(device, dr, dh, kept.residual, kept.rstd.data(), weight_before());
    }
};

}  // namespace quaff
