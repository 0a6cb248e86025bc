// The scales s of a layer's outlier channels (scales.h): all that training moves of a frozen layer.
#pragma once

#include <algorithm>
#include <span>
#include <vector>

#include "llmc/core/arena.h"
#include "llmc/cpu/rows.h"
#include "quaff/model/linear_workspace.h"
#include "quaff/model/scales.h"

namespace quaff {

template <class Device>
class MomentumScales {
  public:
    std::span<float> s;        // [n], on the device; empty: there are no outlier channels
    bool initialised = false;  // false: the first training forward sets s outright

    // strength: the exponent of beta.
    void layout(Arena<Device>& arena, int64_t n, float strength) {
        strength_ = strength;
        arena.place(wmax_, MemoryKind::outlier_rows, "outlier_wmax", n);
        arena.place(s, MemoryKind::outlier_rows, "s", n);
        arena.place(kept_, MemoryKind::outlier_rows, "kept_s", n);
    }

    // wmax[j] = max_o |W[o, Oc[j]]|. s = beta of the maxima that calibration saw, or 1 if these are not known (empty).
    void start(const Device& device, std::span<const float> wmax, std::span<const float> xmax) {
        set_values(device, wmax_, wmax);
        std::vector<float> start(wmax.size(), 1.0f);
        initialised = !xmax.empty();
        if (initialised) cpu::scales_from_maxima(host_of(device), start, xmax.data(), wmax.data(), strength_);
        set_values(device, s, start);
    }

    // Moves s by the maxima in workspace.xmax, taken over all ranks first, so that every rank has the same scales.
    void move(const Device& device, float momentum, LinearWorkspace<Device>& workspace) {
        device.comm->all_reduce_max(workspace.xmax.first(s.size()));
        if (initialised) {
            update_scales(device, s, workspace.xmax.data(), wmax_.data(), momentum, strength_);
        } else {
            scales_from_maxima(device, s, workspace.xmax.data(), wmax_.data(), strength_);
            initialised = true;
        }
    }
    // The same without an input, by the maxima of the other ranks.
    void follow(const Device& device, float momentum, LinearWorkspace<Device>& workspace) {
        if (s.empty()) return;
        set_zero<float>(device, as_row(workspace.xmax.first(s.size())));
        move(device, momentum, workspace);
    }

    // Keep s as it is, on the device, and go back to it.
    void keep(const Device& device) {
        copy<float>(device, as_row(kept_), as_row(s));
        kept_initialised_ = initialised;
    }
    void restore(const Device& device) {
        copy<float>(device, as_row(s), as_row(kept_));
        initialised = kept_initialised_;
    }

  private:
    std::span<float> wmax_;  // [n]
    std::span<float> kept_;  // s as keep() left it [n]
    bool kept_initialised_ = false;
    float strength_ = 0.5;
};

}  // namespace quaff
