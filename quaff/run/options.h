// What a run is asked to do, as plain data. The command line fills it in (cli/parsing.h); a program of your own can
// too. An `optional` field that is empty follows the adapter that the run starts from, or else has the default named
// beside it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "llmc/chat/chat_encoder.h"
#include "llmc/core/named.h"
#include "llmc/training/schedule.h"
#include "quaff/files/method.h"
#include "quaff/model/channel_statistics.h"
#include "quaff/model/model.h"

namespace quaff {

enum class DeviceChoice { automatic, cpu, cuda };
enum class ComputeType { automatic, fp32, bf16, fp16 };
enum class Transport { automatic, nccl, mpi };
enum class Toggle { automatic, on, off };

inline constexpr llmc::Named<DeviceChoice> kDeviceNames[] = {
    {"auto", DeviceChoice::automatic}, {"cpu", DeviceChoice::cpu}, {"cuda", DeviceChoice::cuda}};
inline constexpr llmc::Named<ComputeType> kComputeTypeNames[] = {{"auto", ComputeType::automatic},
                                                                 {"fp32", ComputeType::fp32},
                                                                 {"bf16", ComputeType::bf16},
                                                                 {"fp16", ComputeType::fp16}};
inline constexpr llmc::Named<Transport> kTransportNames[] = {
    {"auto", Transport::automatic}, {"nccl", Transport::nccl}, {"mpi", Transport::mpi}};
inline constexpr llmc::Named<Toggle> kToggleNames[] = {
    {"auto", Toggle::automatic}, {"on", Toggle::on}, {"off", Toggle::off}};
inline constexpr llmc::Named<Recompute> kRecomputeNames[] = {
    {"auto", Recompute::automatic}, {"none", Recompute::none}, {"block", Recompute::block}};
inline constexpr llmc::Named<InitialLora> kInitialLoraNames[] = {{"kaiming", InitialLora::kaiming},
                                                                 {"gaussian", InitialLora::gaussian}};
inline constexpr llmc::Named<bool> kOnOffNames[] = {{"on", true}, {"off", false}};
inline constexpr llmc::Named<int> kGradBitsNames[] = {{"8", 8}, {"16", 16}};

struct ModelOptions {
    std::string folder = "dev/demo/model";  // a Hugging Face model directory
    std::string hub_name;                   // org/name, if `folder` is that one's in Hugging Face's cache; else empty
    bool is_demo = true;                    // no model was named
    std::string adapter;                    // a PEFT folder to start from or to use; may be empty

    const std::string& name() const { return hub_name.empty() ? folder : hub_name; }  // as it was named
};

struct DataOptions {
    std::vector<std::string> files, eval_files;  // of any kinds; "-": standard input
    std::string columns;                         // names of the files' columns (llmc/data/column_names.h); may be empty
    std::optional<std::string> format;           // auto: of the rows, a name of llmc::data_formats() or one beside them
    double eval_split = 0.1;                     // held out of `files` where there are no eval_files
    std::optional<std::string> chat_template;    // auto: none, auto, a name of named_layouts(), or a file of Jinja
    std::string tools;                           // a JSON file: the tools of examples without their own; may be empty
    std::string date;                            // what templates take for today; empty: the adapter's, or today
    std::optional<llmc::LossOn> loss_on;         // all
    int64_t source_max_len = 512, target_max_len = 512;
    std::optional<bool> train_on_source;     // false
    bool strict = true;                      // stop at a line that cannot be used
    Toggle exact_match = Toggle::automatic;  // automatic: where answers are short
    std::string metrics = "auto";            // names, kMetricsOfFormat or kNoMetrics (metrics/metric_list.h)
    bool reference = false;                  // eval: also the divergence from full precision
    bool gradient_error = false;             // eval, compare: and the adapters' gradients beside its own
    std::string predictions;                 // file for the answers to the evaluation examples; may be empty
    int64_t max_answer_tokens = 0;           // 0: somewhat more than the longest true answer
    int64_t max_eval_samples = 0;            // at most so many examples are evaluated on; 0: all
    int64_t window = 0, stride = 0;          // tokens, of word_perplexity; 0: metrics/task.h decides
    int64_t batch_size = 16;                 // sequences of a micro-batch
};

struct OutlierOptions {
    std::string file;  // read (calibrate: written); may be empty
    std::string data;  // examples to calibrate on; may be empty
    int64_t max_samples = 512;
    OutlierStrategy strategy = OutlierStrategy::token_max;
    double threshold = 100;
    std::string max_ratio = "0.02";  // MaxRatio
    std::string budget;              // parse_outlier_budget; takes the place of max_ratio
};

struct AdapterOptions {
    std::optional<int64_t> r;     // 16
    std::optional<double> alpha;  // 16
    double dropout = 0.1;
    std::optional<std::string> target_modules;  // "all-linear"
    std::optional<bool> use_rslora;             // false
    InitialLora init = InitialLora::kaiming;    // of new adapters
};

struct ComputeOptions {
    std::optional<Method> method;             // quaff; eval and generate: fp, unless outlier channels are named
    std::optional<bool> rotation;             // on; MethodChoices says which method heeds which of these
    std::optional<OutlierTerm> outlier_term;  // scaled
    std::optional<double> scale_strength;     // 1 with the rotation, else 0.5
    std::optional<double> int8_threshold;     // 6
    std::optional<double> smooth_alpha;       // 0.5
    DeviceChoice device = DeviceChoice::automatic;
    ComputeType dtype = ComputeType::automatic;
    std::optional<double> scale_momentum;  // 0.1
    std::optional<int> grad_bits;          // 8
    Recompute recompute = Recompute::automatic;
    int64_t seed = 0;
    int64_t threads = 0;  // 0: one for each core
    Transport transport = Transport::automatic;
    int64_t comm_timeout = 20;  // seconds
};

struct TrainingOptions {
    int64_t gradient_accumulation_steps = 1, max_steps = -1;
    double epochs = 1;
    double learning_rate = 2e-4, loraplus_lr_ratio = 1;  // the latter: B's learning rate / A's
    double warmup_ratio = 0.03, weight_decay = 0, max_grad_norm = 0.3;
    double adam_beta1 = 0.9, adam_beta2 = 0.999, adam_eps = 1e-8;
    llmc::Schedule lr_scheduler = llmc::Schedule::constant;
    llmc::ScheduleShape lr_shape;  // what only some schedules heed
    int64_t eval_steps = 100, save_steps = 100, save_total_limit = 2;
    bool eval_on_start = true;                   // evaluate before training
    int64_t logging_steps = 0;                   // steps between two lines of one; 0: see LinePace
    bool load_best_model_at_end = false;         // best_checkpoint.h
    std::string metric_for_best_model = "loss";  // a figure of an evaluation
    int64_t early_stopping_patience = 0;         // evaluations without improvement; 0: never stops early
    double early_stopping_threshold = 0;         // a smaller improvement is none
    bool track_outliers = false;                 // stability_log.h
    int64_t refresh_outliers = 0;                // steps between two searches for other outlier channels; 0: never
    std::string resume;                          // a checkpoint, a run's folder, or kNewestCheckpoint; empty: a new run
};

// Value of `resume` for the newest intact checkpoint of Options::out.
inline constexpr const char* kNewestCheckpoint = "newest";

struct GenerationOptions {
    std::string prompt, prompt_file;
    bool chat = false;  // ask in the model's chat template, whatever the adapter was trained in
    int64_t max_new_tokens = 256, top_k = 0;
    double temperature = 0, top_p = 1;
};

struct Options {
    ModelOptions model;
    DataOptions data;
    OutlierOptions outliers;
    AdapterOptions lora;
    ComputeOptions compute;
    TrainingOptions training;
    GenerationOptions generation;
    std::string out;  // folder of the run, or of the merged model
};

// The options of a run as they are shown and kept, name and value as text.
using OptionTexts = std::vector<std::pair<std::string, std::string>>;

// How a run's options are written down. The command line makes it, so that run/ knows no option's spelling.
struct RunRecord {
    std::string heading;  // of the table on the terminal
    OptionTexts shown;    // its rows
    OptionTexts all;      // of the verb: what ranks must have been given alike
    OptionTexts fixed;    // what a resumed run must share with the one it continues
    OptionTexts changed;  // what was given and is not the default, for the adapter's card: of files the names alone
    std::string config;   // out/config.toml
};

}  // namespace quaff
