#include "quaff/cli/option_table.h"

#include <limits>

#include "llmc/chat/named_layouts.h"
#include "llmc/core/error.h"
#include "llmc/core/words.h"
#include "llmc/data/formats/format.h"
#include "llmc/metrics/metric.h"
#include "llmc/training/schedule.h"

namespace quaff::cli {

using namespace llmc;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
// The largest count. The product of two still fits 64 bits, and no run has more steps, tokens or sequences.
constexpr double kMostCounted = 1e9;
constexpr Range count_from(double low) {
    return {low, kMostCounted, false, false};
}
constexpr Range at_least(double low) {
    return {low, kInfinity, false, true};
}
constexpr Range above(double low) {
    return {low, kInfinity, true, true};
}
constexpr Range from_to(double low, double high) {
    return {low, high, false, false};
}
constexpr Range from_below(double low, double high) {
    return {low, high, false, true};
}

// One of the names of a table. A value that may be empty shows as `otherwise` then.
template <class V, class E, size_t N>
Choice choice(V& value, const Named<E> (&names)[N], const char* otherwise = "") {
    Choice choice;
    for (const Named<E>& entry : names) choice.words.emplace_back(entry.name);
    choice.get = [&value, &names, otherwise] {
        const std::optional<E> chosen = value;
        return std::string(chosen ? name_in(names, *chosen) : otherwise);
    };
    choice.set = [&value, &names](const std::string& word) { value = *value_in(names, word); };
    return choice;
}

// The same for a value that "auto" leaves empty.
template <class E, size_t N>
Choice choice_or_auto(std::optional<E>& value, const Named<E> (&names)[N]) {
    Choice with_auto = choice(value, names, "auto");
    with_auto.words.insert(with_auto.words.begin(), "auto");
    with_auto.set = [&value, &names](const std::string& word) { value = value_in(names, word); };
    return with_auto;
}

const char* template_help() {
    static const std::string kHelp = [] {
        std::vector<std::string> names;
        for (const NamedLayout& layout : named_layouts()) names.emplace_back(layout.name);
        return concat("chat template of pairs, conversations and prompts; auto: the model's own, where it has one; ",
                      "none: texts as they are; NAME: ", join(names, ", ", " or "));
    }();
    return kHelp.c_str();
}

}  // namespace

std::vector<Row> option_table(CommandLine& line) {
    using enum Kept;
    Options& o = line.options;
    constexpr Verbs kData = kTrain | kCalibrate | kEval | kCompare | kInfo;
    constexpr Verbs kReads = kData | kGenerate;             // how examples are read; generate reads those of --cal-data
    constexpr Verbs kFits = kTrain | kCompare | kPlanOnly;  // what only a training run uses
    // Some options mean something else to one of the verbs.
    const auto to = [&line](Verb verb, const char* help, const char* else_help) {
        return line.verb == verb ? help : else_help;
    };
    std::vector<Row> table;
    const auto group = [&table](const char* heading, const std::vector<Row>& rows) {
        for (Row row : rows) {
            row.group = heading;
            table.push_back(std::move(row));
        }
    };
    group("model and data",
          {
              {"model", Text{&o.model.folder, "DIR"}, kAll, free, "Hugging Face model directory", kAll},
              {"data", Texts{&o.data.files, "FILE"}, kData | kTokenize, free,
               to(Verb::tokenize, "text, of which each line is tokenised; -: standard input",
                  "examples in .jsonl, .json, .csv or .tsv, also .gz; -: standard input; may be given several times"),
               kData | kTokenize},
              {"eval-data", Texts{&o.data.eval_files, "FILE"}, kFits | kEval, free,
               "held-out examples; may be given several times", kTrain | kCompare},
              {"data-format", OptionalText{&o.data.format, kFormatOfColumns, "NAME"}, kReads, fixed,
               concat("data set that the rows are of: ", join(data_format_names(), ", ", " or "),
                      "; auto: recognised by columns that mean nothing else; none: plain columns")},
              {"eval-split", Real{&o.data.eval_split, from_below(0, 1)}, kFits | kEval, fixed,
               to(Verb::eval, "share of --data that training holds out, to evaluate on it alone; 0: all of --data",
                  "share of --data held out when there is no --eval-data")},
              {"out", Text{&o.out, line.verb == Verb::report ? "FILE" : "DIR"}, kFits | kMerge | kReport, free,
               to(Verb::report, "the page [RUN/report.html; of several runs ./report.html]",
                  to(Verb::merge, "the merged model [out/<model>-merged]",
                     to(Verb::compare, "results, runs and their logs [out/<model>-compare]",
                        "log, checkpoints and adapter [out/<model>-<method>]"))),
               kTrain | kCompare | kMerge | kReport},
              {"adapter", Text{&o.model.adapter, "DIR"}, kTrain | kEval | kGenerate | kMerge | kInfo, fixed,
               "PEFT adapter to start from (train) or to use (eval, generate, merge)",
               kEval | kGenerate | kMerge | kInfo},
              {"text", Text{&line.text, "TEXT", /*may_be_empty=*/true}, kTokenize, transient, "text to tokenise",
               kTokenize},
          });
    group("examples", {
                          {"template", OptionalText{&o.data.chat_template, "auto", "auto|none|NAME|FILE.jinja"},
                           kRuns | kInfo, fixed, template_help(), kEval},
                          {"tools", Text{&o.data.tools, "FILE"}, kRuns | kInfo, fixed,
                           "JSON list of the tools that the template is given with conversations without their own"},
                          {"date", Text{&o.data.date, "YYYY-MM-DD"}, kRuns | kInfo, fixed,
                           "today, for templates that write the date [the adapter's, else the clock's]"},
                          {"loss-on", choice(o.data.loss_on, kLossOnNames, "all"), kReads, fixed,
                           "answers of a conversation that are trained on: all, or the last alone"},
                          {"columns", Text{&o.data.columns, "OURS=THEIRS,.."}, kReads, fixed,
                           "names of the files' columns: input=question,output=reply"},
                          {"source-max-len", Whole{&o.data.source_max_len, count_from(1)}, kReads, fixed,
                           "drop and count examples whose prompt has more tokens"},
                          {"target-max-len", Whole{&o.data.target_max_len, count_from(1)}, kReads, fixed,
                           "the same for the answer"},
                          {"train-on-source", OptionalSwitch{&o.data.train_on_source}, kReads, fixed,
                           "train on the prompt's tokens too"},
                          {"strict-data", choice(o.data.strict, kOnOffNames), kReads, fixed,
                           "on: stop at the first line that cannot be used; off: skip, count and list such lines"},
                          {"show-tokens", Whole{&line.show_tokens, count_from(0)}, kData & ~kCompare, transient,
                           "print the first N examples token by token, mark those in the loss, and stop"},
                      });
    group(
        "outlier channels and int8",
        {
            {"outliers", Text{&o.outliers.file, "FILE"}, kRuns | kInfo, fixed,
             to(Verb::calibrate,
                "file of outlier channels to write [outlier/<strategy><threshold>_<data>_<model>.json]",
                "file of outlier channels to read"),
             kCalibrate | kEval | kInfo},
            {"outlier-strategy", choice(o.outliers.strategy, kOutlierStrategyNames), kRuns, fixed,
             "how calibration ranks the channels", kCalibrate},
            {"outlier-threshold", Real{&o.outliers.threshold, above(0)}, kRuns, fixed,
             "bound of the strategies mean_times, static and zscore"},
            {"outlier-max-ratio", Text{&o.outliers.max_ratio, "RATIO"}, kRuns, fixed,
             "largest share of outlier channels; per module: down_proj=0.05,o_proj=0.02,0.003", kCalibrate},
            {"outlier-budget", Text{&o.outliers.budget, "SHARE", /*may_be_empty=*/true}, kRuns, fixed,
             "instead of --outlier-max-ratio, 1%: its memory, spent on the modules where it lowers int8's error most"},
            {"cal-data", Text{&o.outliers.data, "FILE"}, kRuns, fixed,
             to(Verb::train, "examples to calibrate on; else the training data",
                to(Verb::generate, "examples to calibrate on", "examples to calibrate on; else --data"))},
            {"max-cal-samples", Whole{&o.outliers.max_samples, count_from(1)}, kRuns, fixed,
             "largest number of examples to calibrate on", kCalibrate},
            {"rotation", choice_or_auto(o.compute.rotation, kOnOffNames), kRuns & ~kCalibrate, fixed,
             "turn rows by Hadamard blocks before they are quantised; auto: on"},
            {"outlier-term", choice_or_auto(o.compute.outlier_term, kOutlierTermNames), kRuns & ~kCalibrate, fixed,
             "outlier channels are scaled, or split off from the int8 product; auto: scaled"},
            {"scale-momentum", OptionalReal{&o.compute.scale_momentum, 0.1, from_to(0, 1)}, kFits, fixed,
             "weight of a channel's old scale in its update"},
            {"scale-strength", RealOrAuto{&o.compute.scale_strength, from_to(0, 1)}, kRuns & ~kCalibrate, fixed,
             "exponent of xmax / wmax in an outlier channel's scale; auto: 1 with the rotation, else the paper's 0.5"},
            {"int8-threshold", OptionalReal{&o.compute.int8_threshold, 6, at_least(0)}, kRuns & ~kCalibrate, fixed,
             "llm-int8: channels with a larger |X| are multiplied in the compute type"},
            {"smooth-alpha", OptionalReal{&o.compute.smooth_alpha, 0.5, from_to(0, 1)}, kRuns & ~kCalibrate, fixed,
             "smooth-static, smooth-dynamic: how much of the inputs' size moves to the weights"},
            {"track-outliers", Switch{&o.training.track_outliers}, kTrain, free,
             "compare the outlier channels of every step with the chosen ones: out/ossh.jsonl and ossh.svg"},
            {"refresh-outliers", Whole{&o.training.refresh_outliers, count_from(0)}, kTrain, fixed,
             "choose the outlier channels anew after every N-th step, from its batch; 0: never"},
            {"grad-bits", choice(o.compute.grad_bits, kGradBitsNames, "8"), kFits | kEval, fixed,
             "bits of the frozen layers' product in the backward pass"},
        });
    group(
        "adapters",
        {
            {"lora-r", OptionalWhole{&o.lora.r, 16, from_to(1, 65536)}, kFits, fixed, "rank of the adapters", kTrain},
            {"lora-alpha", OptionalReal{&o.lora.alpha, 16, above(0)}, kFits, fixed, "adapters are scaled by alpha / r"},
            {"lora-dropout", Real{&o.lora.dropout, from_below(0, 1)}, kFits, fixed, "dropout on the adapters' input"},
            {"use-rslora", OptionalSwitch{&o.lora.use_rslora}, kFits, fixed,
             "rsLoRA: adapters are scaled by alpha / sqrt(r)"},
            {"init-lora-weights", choice(o.lora.init, kInitialLoraNames), kFits, fixed,
             "how A begins: uniform, or normal with standard deviation 1 / r; B begins at 0"},
            {"target-modules", OptionalText{&o.lora.target_modules, "all-linear", "NAMES"}, kFits, fixed,
             "layers that get an adapter: all-linear, names (q_proj,v_proj), or a regular expression of whole names"},
        });
    group("steps",
          {
              {"batch-size", Whole{&o.data.batch_size, count_from(1)}, kRuns, fixed, "sequences in a micro-batch",
               kTrain | kCalibrate | kEval | kCompare},
              {"gradient-accumulation-steps", Whole{&o.training.gradient_accumulation_steps, count_from(1)}, kFits,
               fixed, "micro-batches in a step, for each rank"},
              {"epochs", Real{&o.training.epochs, {0, kMostCounted, true, false}}, kFits, free,
               "passes over the training data", kTrain},
              {"max-steps", Whole{&o.training.max_steps, count_from(-1)}, kFits, free,
               "number of steps, over the data as often as it takes; -1: as many as --epochs asks for",
               kTrain | kCompare},
              {"learning-rate", Real{&o.training.learning_rate, above(0)}, kFits, fixed, "peak learning rate of AdamW",
               kTrain | kCompare},
              {"loraplus-lr-ratio", Real{&o.training.loraplus_lr_ratio, above(0)}, kFits, fixed,
               "LoRA+: B's learning rate as a multiple of A's"},
              {"lr-scheduler", choice(o.training.lr_scheduler, kScheduleNames), kFits, fixed, "learning-rate schedule"},
              {"warmup-ratio", Real{&o.training.warmup_ratio, from_to(0, 1)}, kFits, fixed,
               "share of the steps spent warming up (all schedules but constant)"},
              {"warmup-steps", Whole{&o.training.lr_shape.warmup_steps, count_from(0)}, kFits, fixed,
               "steps spent warming up; 0: --warmup-ratio counts"},
              {"min-lr-ratio", Real{&o.training.lr_shape.min_lr_ratio, from_to(0, 1)}, kFits, fixed,
               "least learning rate of cosine_with_min_lr and warmup_stable_decay, as a share of the peak"},
              {"num-decay-steps", Whole{&o.training.lr_shape.decay_steps, count_from(0)}, kFits, fixed,
               "steps in which warmup_stable_decay falls; 0: a tenth of all"},
              {"weight-decay", Real{&o.training.weight_decay, at_least(0)}, kFits, fixed, "decoupled weight decay"},
              {"adam-beta1", Real{&o.training.adam_beta1, from_below(0, 1)}, kFits, fixed,
               "decay of AdamW's first moment"},
              {"adam-beta2", Real{&o.training.adam_beta2, from_below(0, 1)}, kFits, fixed,
               "decay of AdamW's second moment"},
              {"adam-eps", Real{&o.training.adam_eps, above(0)}, kFits, fixed,
               "added to the root of AdamW's second moment"},
              {"max-grad-norm", Real{&o.training.max_grad_norm, at_least(0)}, kFits, fixed,
               "clip the gradient to this norm; 0: never"},
          });
    group(
        "evaluation and checkpoints",
        {
            {"exact-match", choice(o.data.exact_match, kToggleNames), kTrain | kEval | kCompare, free,
             "count the answers that greedy decoding gives word for word; auto: when they are short"},
            {"metrics", Text{&o.data.metrics, "NAMES"}, kFits | kEval, free,
             "before and after training: " + names_in(kMetricNames) + "; auto: those of the data's format; none: none"},
            {"reference", Switch{&o.data.reference}, kEval, free,
             "also measure the mean KL(fp || method) over the labelled tokens; both models are in memory", kEval},
            {"gradient-error", Switch{&o.data.gradient_error}, kEval | kCompare, free,
             to(Verb::eval, "with --reference: also compare the adapters' gradients with those of full precision",
                "also compare the adapters' gradients with those of full precision")},
            {"predictions", Text{&o.data.predictions, "FILE"}, kTrain | kEval, free,
             "write prompt, prediction, target and metrics of each example as a JSON line (train: after training)",
             kEval},
            {"max-answer-tokens", Whole{&o.data.max_answer_tokens, count_from(0)}, kFits | kEval, free,
             "longest answer that is compared; 0: 32 tokens more than the longest true one"},
            {"window", Whole{&o.data.window, count_from(0)}, kFits | kEval, free,
             "tokens that word_perplexity reads at once; 0: 2048, or all positions of the model if these are fewer"},
            {"stride", Whole{&o.data.stride, count_from(0)}, kFits | kEval, free,
             "tokens that each window is further on than the one before; 0: the window's length"},
            {"eval-steps", Whole{&o.training.eval_steps, count_from(0)}, kFits, free,
             "evaluate every N steps; 0: only before and after training"},
            {"eval-on-start", choice(o.training.eval_on_start, kOnOffNames), kTrain, fixed,
             "evaluate before training, too"},
            {"max-eval-samples", Whole{&o.data.max_eval_samples, count_from(0)}, kFits | kEval, fixed,
             "largest number of examples to evaluate on, chosen by --seed; 0: all"},
            {"logging-steps", Whole{&o.training.logging_steps, count_from(0)}, kTrain, free,
             "print a line every N steps; 0: the live line of a terminal, elsewhere at most a line a second"},
            {"save-steps", Whole{&o.training.save_steps, count_from(0)}, kFits, free,
             "write a checkpoint every N steps; 0: only when stopped"},
            {"save-total-limit", Whole{&o.training.save_total_limit, count_from(0)}, kFits, free,
             "keep the newest N checkpoints; 0: all"},
            {"load-best-model-at-end", Switch{&o.training.load_best_model_at_end}, kTrain, free,
             "the adapter is that of the best evaluated checkpoint; it is kept beside the newest ones"},
            {"metric-for-best-model", Text{&o.training.metric_for_best_model, "NAME"}, kTrain, fixed,
             "figure of an evaluation that tells which is best: loss, perplexity, token_accuracy, or one of --metrics"},
            {"early-stopping-patience", Whole{&o.training.early_stopping_patience, count_from(0)}, kTrain, free,
             "stop after N evaluations in a row without improvement; 0: never"},
            {"early-stopping-threshold", Real{&o.training.early_stopping_threshold, at_least(0)}, kTrain, free,
             "how much better a figure must be than the best one to count as an improvement"},
            {"resume", Text{&o.training.resume, "[DIR]"}, kTrain | kCompare, transient,
             to(Verb::compare, "go on with the comparison in --out",
                "continue from the newest intact checkpoint of --out, from that of the run in DIR, or from the "
                "checkpoint DIR"),
             kTrain | kCompare},
        });
    group("generation", {
                            {"prompt", Text{&o.generation.prompt, "TEXT", /*may_be_empty=*/true}, kGenerate, transient,
                             "text to continue", kGenerate},
                            {"prompt-file", Text{&o.generation.prompt_file, "FILE"}, kGenerate, transient,
                             "file with a prompt on each line", kGenerate},
                            {"chat", Switch{&o.generation.chat}, kGenerate, transient,
                             "ask in the model's chat template, whatever the adapter was trained in", kGenerate},
                            {"max-new-tokens", Whole{&o.generation.max_new_tokens, count_from(1)}, kGenerate, transient,
                             "stop after that many tokens", kGenerate},
                            {"temperature", Real{&o.generation.temperature, at_least(0)}, kGenerate, transient,
                             "divides the logits; 0: always the likeliest token", kGenerate},
                            {"top-k", Whole{&o.generation.top_k, count_from(0)}, kGenerate, transient,
                             "draw from the k likeliest tokens; 0: from all"},
                            {"top-p", Real{&o.generation.top_p, {0, 1, true, false}}, kGenerate, transient,
                             "draw from the fewest likeliest tokens that together have this probability", kGenerate},
                        });
    group(
        "how it is computed",
        {
            {"method", choice(o.compute.method, kMethodNames, ""), kRuns & ~kCalibrate & ~kCompare, fixed,
             info_of(line.verb).adapter_decides_method
                 ? "how frozen layers are computed: in 8 bits by quaff, quaff-paper, naive, llm-int8, smooth-static or "
                   "smooth-dynamic, in 4 by qlora, or in full precision by fp [the adapter's own; else quaff where "
                   "--outliers or --cal-data is given, else fp]"
                 : "how frozen layers are computed: in 8 bits by quaff, quaff-paper (as it was published), naive "
                   "(without outlier channels), llm-int8, smooth-static or smooth-dynamic, in 4 by qlora, or in full "
                   "precision by fp [quaff]",
             kTrain | kEval | kGenerate},
            {"methods", Text{&line.methods, "NAMES"}, kCompare, free, "methods to compare, with commas between them",
             kCompare},
            {"seeds", Whole{&line.seeds, count_from(1)}, kCompare, free, "trainings of each method, from --seed on",
             kCompare},
            {"device", choice(o.compute.device, kDeviceNames), kRuns, free,
             "device to compute on; auto: a GPU where there is one", kRuns},
            {"dtype", choice(o.compute.dtype, kComputeTypeNames), kRuns, fixed,
             "compute type; auto: fp32 on the CPU, for int8 methods with bf16 products in the backward pass where "
             "the processor has them, bf16 or (sm_75) fp16 on CUDA; bf16 on the CPU: products only"},
            {"recompute", choice(o.compute.recompute, kRecomputeNames), kFits, free,
             "recompute blocks in the backward pass; auto: as many as the memory asks for"},
            {"seed", Whole{&o.compute.seed, at_least(0)}, kRuns, fixed,
             "seed of the adapters' initial values, the examples' order, dropout and sampling"},
            {"threads", Whole{&o.compute.threads, from_to(0, 4096)}, kAll & ~kTokenize, free,
             "CPU threads; 0: one a core, within a container's CPU quota"},
            {"comm", choice(o.compute.transport, kTransportNames), kRuns, free,
             "how ranks exchange values: NCCL between GPUs, or MPI, which lets ranks share a GPU; auto: NCCL on "
             "GPUs, else MPI"},
            {"comm-timeout", Whole{&o.compute.comm_timeout, from_to(1, 86400)}, kRuns, free,
             "seconds a rank may be late before the run fails"},
        });
    group("the program itself",
          {
              {"config", Text{&line.config, "FILE"}, kAll, transient, "read options from a TOML file: name = value"},
              {"json", Switch{&line.json}, (kAll & ~kTokenize) | kReport, transient,
               "print one JSON object on stdout at the end, everything else on stderr",
               (kAll & ~kTokenize & ~kTrain) | kReport},
              {"plan", Switch{&line.plan}, kTrain | kEval | kInfo, transient,
               "print how much memory the run would take, and stop", kTrain | kInfo},
              {"quiet", Switch{&line.quiet}, kAll | kReport, transient, "print only the result",
               kReport | kTokenize | kMerge},
              {"verbose", Switch{&line.verbose}, kTrain, transient,
               "show all options, not only those that differ from the defaults"},
          });
    return table;
}

}  // namespace quaff::cli
