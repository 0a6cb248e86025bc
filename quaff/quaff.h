// The public door of the library.
//
//   quaff::ModelFiles checkpoint("models/smollm2-135m-instruct");
//   auto channels = quaff::calibrate(device, checkpoint, batches, {});
//   auto model = quaff::build_quantized_model(checkpoint, channels, options);
//   model->forward(batch, 1.0f / batch.n_labelled(), micro_batch);
//   model->backward(batch);
//   quaff::LossSums losses = model->losses();
//   model->step(adamw, 1, 1.0f);
//
// dev/quick_start.cpp is a whole program written against it.
#pragma once

#include <memory>

#include "quaff/files/model_files.h"
#include "quaff/files/outliers.h"
#include "quaff/model/calibrate.h"
#include "quaff/model/model.h"

namespace quaff {

// Reads the checkpoint layer by layer, quantising each linear as it is read, and adds adapters. `outliers` may be empty
// for Method::fp. Throws Error with a sentence for the user.
template <class Device = cpu::Device>
std::unique_ptr<Model<Device>> build_quantized_model(const ModelFiles& checkpoint, const OutlierChannels& outliers,
                                                     const BuildOptions& options, const Device& device = {}) {
    return std::make_unique<Model<Device>>(device, checkpoint, outliers, options);
}

}  // namespace quaff
