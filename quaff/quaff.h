// The public door of the library: train an adapter, and save it where PEFT, vLLM and `train_quaff eval` read it.
//
//   quaff::ModelFiles checkpoint("models/smollm2-135m-instruct");
//   quaff::OutlierChannels channels = quaff::calibrate(cpu::Device{}, checkpoint, batches, {});
//
//   quaff::BuildOptions options;
//   options.max_tokens = batch.n_tokens();
//   options.max_sequence_length = batch.max_sequence_length();
//   options.max_labelled = batch.n_labelled();
//   auto model = quaff::build_quantized_model(checkpoint, channels, options);
//
//   model->zero_gradients();
//   model->forward(batch, 1.0f / batch.n_labelled(), /*micro_batch=*/0);
//   model->backward(batch);
//   quaff::LossSums losses = model->losses();
//   model->step(quaff::AdamWOptions{}, /*step=*/1, /*grad_scale=*/1);
//
//   quaff::save_adapter("out/adapter", *model, "HuggingFaceTB/SmolLM2-135M-Instruct", channels);
//
// dev/quick_start.cpp is a whole program written against it.
#pragma once

#include <memory>

#include "quaff/files/model_files.h"
#include "quaff/files/outliers.h"
#include "quaff/files/quaff_json.h"
#include "quaff/model/calibrate.h"
#include "quaff/model/model.h"
#include "quaff/model/saved_adapter.h"

namespace quaff {

// Reads the checkpoint layer by layer, quantising each linear as it is read, and adds adapters. `outliers` may be empty
// for Method::fp. Throws Error with a sentence for the user.
template <class Device = cpu::Device>
std::unique_ptr<Model<Device>> build_quantized_model(const ModelFiles& checkpoint, const OutlierChannels& outliers,
                                                     const BuildOptions& options, const Device& device = {}) {
    return std::make_unique<Model<Device>>(device, checkpoint, outliers, options);
}

}  // namespace quaff
