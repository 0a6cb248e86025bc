// The weights of norms, on their way from the model's files to the device.
#pragma once

#include <span>
#include <string>

#include "llmc/cpu/transfer.h"
#include "quaff/files/model_files.h"

namespace quaff {

// weight = the tensor, plus 1 where the family's files hold weights less 1, divided by `divisor`. Throws as
// ModelFiles::read() does.
template <class Device, class T>
void load_norm(const Device& device, const ModelFiles& checkpoint, const std::string& tensor, std::span<T> weight,
               double divisor = 1) {
    const double addend = checkpoint.config().norms_add_one ? 1 : 0;
    fill_from_host(device, Matrix<T>(weight.data(), 1, static_cast<int64_t>(weight.size())), [&](Matrix<float> host) {
        checkpoint.read(tensor, host);
        for (int64_t i = 0; i < host.cols; i++)
            host(0, i) = static_cast<float>((static_cast<double>(host(0, i)) + addend) / divisor);
    });
}

}  // namespace quaff
