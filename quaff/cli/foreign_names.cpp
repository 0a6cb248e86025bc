#include "quaff/cli/foreign_names.h"

#include <string_view>

namespace quaff::cli {

namespace {

constexpr ForeignName kForeignOptions[] = {
    // model and data
    {"model-name-or-path", "--model"},
    {"model-name", "--model"},
    {"base-model", "--model"},
    {"pretrained-model-name-or-path", "--model"},
    {"m", "--model"},
    {"tokenizer-name-or-path", "the tokenizer is the model folder's own"},
    {"tokenizer", "the tokenizer is the model folder's own"},
    {"dataset", "--data"},
    {"datasets", "--data"},
    {"dataset-name", "--data, with the files of the data set"},
    {"train-file", "--data"},
    {"train-data", "--data"},
    {"f", "--data"},
    {"validation-file", "--eval-data"},
    {"eval-dataset", "--eval-data"},
    {"val-set-size", "--eval-split"},
    {"validation-split", "--eval-split"},
    {"output-dir", "--out"},
    {"lora-out", "--out"},
    {"checkpoint-out", "--out"},
    {"adapter-name-or-path", "--adapter"},
    {"lora", "--adapter"},
    {"max-seq-length", "--source-max-len and --target-max-len"},
    {"max-seq-len", "--source-max-len and --target-max-len"},
    {"max-length", "--source-max-len and --target-max-len"},
    {"sequence-len", "--source-max-len and --target-max-len"},
    {"cutoff-len", "--source-max-len and --target-max-len"},
    {"ctx-size", "--source-max-len and --target-max-len"},
    {"chat-template", "--template"},
    {"train-on-inputs", "--train-on-source"},
    {"train-on-prompt", "--train-on-source"},
    {"assistant-only-loss", "only answers carry the loss, unless --train-on-source is given"},
    {"completion-only-loss", "only answers carry the loss, unless --train-on-source is given"},
    {"packing", "sequences are always packed, without padding"},
    {"sample-packing", "sequences are always packed, without padding"},
    {"preprocessing-num-workers", "--threads"},
    {"dataloader-num-workers", "--threads"},
    // precision and memory
    {"load-in-8bit", "--method llm-int8, or --method quaff, the default"},
    {"load-in-4bit", "--method qlora"},
    {"quantization-bit", "--method"},
    {"bf16", "--dtype bf16"},
    {"fp16", "--dtype fp16"},
    {"tf32", "--dtype"},
    {"torch-dtype", "--dtype"},
    {"gradient-checkpointing", "--recompute block"},
    {"use-gradient-checkpointing", "--recompute block"},
    {"no-cuda", "--device cpu"},
    {"use-cpu", "--device cpu"},
    {"n-gpu-layers", "--device cuda"},
    {"ngl", "--device cuda"},
    {"attn-implementation", "attention has one implementation a device"},
    {"flash-attention", "attention is always computed by tiles"},
    {"flash-attn", "attention is always computed by tiles"},
    // adapters
    {"r", "--lora-r"},
    {"lora-rank", "--lora-r"},
    {"rank", "--lora-r"},
    {"alpha", "--lora-alpha"},
    {"lora-target-modules", "--target-modules"},
    {"lora-target", "--target-modules"},
    {"lora-target-linear", "--target-modules all-linear"},
    {"lora-use-rslora", "--use-rslora"},
    {"use-peft", "adapters are all that is trained"},
    // steps
    {"num-train-epochs", "--epochs"},
    {"num-epochs", "--epochs"},
    {"adam-iter", "--max-steps"},
    {"per-device-train-batch-size", "--batch-size"},
    {"per-device-eval-batch-size", "--batch-size"},
    {"micro-batch-size", "--batch-size"},
    {"train-batch-size", "--batch-size"},
    {"eval-batch-size", "--batch-size"},
    {"accumulation-steps", "--gradient-accumulation-steps"},
    {"grad-accum", "--gradient-accumulation-steps"},
    {"lr", "--learning-rate"},
    {"adam-alpha", "--learning-rate"},
    {"lr-scheduler-type", "--lr-scheduler"},
    {"lr-warmup-steps", "--warmup-steps"},
    {"adam-epsilon", "--adam-eps"},
    {"beta1", "--adam-beta1"},
    {"beta2", "--adam-beta2"},
    {"wd", "--weight-decay"},
    {"clip-grad", "--max-grad-norm"},
    {"gradient-clipping", "--max-grad-norm"},
    {"optim", "the optimiser is AdamW"},
    {"optimizer", "the optimiser is AdamW"},
    {"data-seed", "--seed"},
    // evaluation, checkpoints, logs
    {"do-train", "the verb train"},
    {"do-eval", "the verb eval"},
    {"do-predict", "the verb generate, or --predictions FILE"},
    {"eval-strategy", "--eval-steps"},
    {"evaluation-strategy", "--eval-steps"},
    {"save-strategy", "--save-steps"},
    {"early-stopping", "--early-stopping-patience"},
    {"resume-from-checkpoint", "--resume"},
    {"checkpoint-in", "--resume"},
    {"overwrite-output-dir", "a new run moves an earlier one in its --out to earlier/"},
    {"logging-dir", "--out, where log.jsonl and report.html are"},
    {"report-to", "the run writes log.jsonl and report.html"},
    // generation
    {"max-tokens", "--max-new-tokens"},
    {"n-predict", "--max-new-tokens"},
    {"n", "--max-new-tokens"},
    {"temp", "--temperature"},
    {"p", "--prompt"},
    {"file", "--prompt-file"},
    {"do-sample", "--temperature, above 0"},
};

constexpr ForeignName kForeignVerbs[] = {
    {"finetune", "the verb train"},   {"fine-tune", "the verb train"},    {"sft", "the verb train"},
    {"lora", "the verb train"},       {"fit", "the verb train"},          {"pretrain", "the verb train"},
    {"test", "the verb eval"},        {"evaluate", "the verb eval"},      {"validate", "the verb eval"},
    {"perplexity", "the verb eval"},  {"inference", "the verb generate"}, {"infer", "the verb generate"},
    {"predict", "the verb generate"}, {"chat", "the verb generate"},      {"complete", "the verb generate"},
    {"run", "the verb generate"},     {"merge-lora", "the verb merge"},   {"fuse", "the verb merge"},
    {"encode", "the verb tokenize"},  {"tokenise", "the verb tokenize"},  {"plot", "the verb report"},
    {"show", "the verb info"},        {"inspect", "the verb info"},       {"benchmark", "the verb compare"},
};

template <size_t N>
std::string here(const ForeignName (&table)[N], const std::string& name) {
    const std::string_view known = llmc::value_in(table, name).value_or("");
    if (known.empty()) return "";
    const bool is_name = known.starts_with("--") || known.starts_with("the verb ");
    return (is_name ? "; here it is " : ": ") + std::string(known);
}

}  // namespace

std::span<const ForeignName> foreign_options() {
    return kForeignOptions;
}

std::span<const ForeignName> foreign_verbs() {
    return kForeignVerbs;
}

std::string option_here(const std::string& name) {
    return here(kForeignOptions, name);
}

std::string verb_here(const std::string& name) {
    return here(kForeignVerbs, name);
}

}  // namespace quaff::cli
