#include "quaff/cli/verbs.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <new>
#include <nlohmann/json.hpp>

#include "llmc/core/error.h"
#include "llmc/io/file_io.h"
#include "quaff/cli/option_table.h"
#include "quaff/files/info.h"
#include "quaff/files/merge.h"
#include "quaff/model/devices.h"
#include "quaff/run/evaluate.h"
#include "quaff/run/examples.h"
#include "quaff/run/generate.h"
#include "quaff/run/memory_room.h"
#include "quaff/run/open_model.h"
#include "quaff/run/ranks.h"
#include "quaff/run/starting_point.h"
#include "quaff/run/trainer.h"

namespace quaff::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

// Evaluation batches are no larger than this: more tokens at once are not faster, only larger in memory.
constexpr int64_t kEvaluationTokens = 4096;

void print_json(const ordered_json& object) {
    print(stdout, object.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n");
}

// outlier/<strategy><threshold>_<dataset>_<model>.json
fs::path default_outlier_path(const OutlierChannels& outliers) {
    return fs::path("outlier") /
           concat(outliers.strategy, outliers.threshold, "_", outliers.dataset, "_", outliers.model, ".json");
}

Progress show_progress(Terminal& terminal) {
    return [&terminal](const std::string& what, int64_t done, int64_t total) {
        terminal.status(what + " " + progress_bar(done, total, 30));
    };
}

// The lines of a text file, without their ends.
std::vector<std::string> read_lines(const std::string& path) {
    std::ifstream file(path);
    require(file.good(), path, ": cannot open the file: ", std::strerror(errno));
    std::vector<std::string> lines;
    for (std::string line; std::getline(file, line);) {
        if (!line.empty() && line.back() == '\r') line.pop_back();
        lines.push_back(std::move(line));
    }
    require(!file.bad(), path, ": reading failed");
    return lines;
}

struct Prompt {
    std::string text, where;
};

// --prompt, or the lines of --prompt-file that are not blank.
std::vector<Prompt> read_prompts(const Options& options) {
    if (options.generation.prompt_file.empty()) return {{options.generation.prompt, "--prompt"}};
    std::vector<Prompt> prompts;
    int64_t line = 0;
    for (const std::string& text : read_lines(options.generation.prompt_file)) {
        ++line;
        if (text.find_first_not_of(" \t") != text.npos)
            prompts.push_back({text, concat(options.generation.prompt_file, ":", line)});
    }
    require(!prompts.empty(), options.generation.prompt_file, ": holds no prompt, every line is blank");
    return prompts;
}

template <class Device>
int train(const CommandLine& line, Terminal& terminal, const Device& device) {
    const Options options = with_options_of_adapter(line.options, terminal);
    Trainer<Device> trainer(options, record_of(line, options), terminal, device);
    if (line.plan) {
        const ordered_json plan = trainer.plan();
        if (line.json) print_json(plan);
        return kDone;
    }
    bool stopped = false;
    const ordered_json result = or_end_all_ranks(*device.comm, [&] { return trainer.run(stopped); });
    if (line.json) print_json(result);
    return stopped ? kStopped : kDone;
}

// Outlier channels are written over outlier channels, and over nothing else.
void require_no_other_file(const fs::path& path) {
    if (!fs::exists(path)) return;
    bool replaceable = false;
    try {
        replaceable = kind_of(path) == Kind::outliers;
    } catch (const Error&) {  // of no kind
    }
    if (!replaceable)
        throw UsageError(concat("--outliers ", path.string(),
                                ": is not an outlier file, and calibrate would write over it; name another"));
}

template <class Device>
int calibrate_verb(const CommandLine& line, Terminal& terminal, const Device& device) {
    const Options& options = line.options;
    Options calibration = options;
    calibration.compute.method = Method::quaff;
    calibration.outliers.file.clear();  // for this verb it names the file to write
    if (!options.outliers.file.empty()) require_no_other_file(options.outliers.file);
    const std::string& data = options.outliers.data.empty() ? options.data.file : options.outliers.data;
    calibration.data.file = data;
    calibration.outliers.data.clear();
    const ModelFiles files = open_model(calibration, terminal);
    const ExampleReader reader(calibration, files.config(), terminal);
    const Dataset examples = reader.read(data);
    StartingPoint start = starting_point(calibration, files, "", terminal);
    find_outlier_channels(start, calibration, files, device, reader, examples.examples, terminal,
                          show_progress(terminal));
    const fs::path path =
        options.outliers.file.empty() ? default_outlier_path(start.outliers) : fs::path(options.outliers.file);
    if (device.comm->is_first()) {
        if (path.has_parent_path()) make_directories(path.parent_path());
        write_outlier_channels(path, start.outliers);
    }

    int64_t channels = 0;
    for (const auto& [module, list] : start.outliers.channels) channels += static_cast<int64_t>(list.size());
    terminal.result(concat(path.string(), " holds ", counted(channels, "outlier channel"), " of ",
                           counted(static_cast<int64_t>(start.outliers.channels.size()), "layer"),
                           "; use it with --outliers ", path.string()));
    if (line.json) print_json(outliers_to_json(start.outliers));
    return kDone;
}

template <class Device>
int evaluate_verb(const CommandLine& line, Terminal& terminal, const Device& device) {
    const Options& options = line.options;
    const ModelFiles files = open_model(options, terminal);
    const ExampleReader reader(options, files.config(), terminal);
    const Dataset data = reader.read(options.data.file);
    const bool exact_match = wants_exact_match(options.data.exact_match, data, options.data.train_on_source);
    const auto batches = sequential_batches(data.examples, options.data.batch_size, kEvaluationTokens);
    const Progress progress = show_progress(terminal);
    StartingPoint start = starting_point(options, files, options.model.adapter, terminal);
    if (start.calibration == Calibration::on_examples)
        terminal.warn("no --outliers and no --cal-data: the outlier channels are found on --data itself");
    find_outlier_channels(start, options, files, device, reader, data.examples, terminal, progress);
    const BuildOptions build = build_options(options, start, batch_limits(data.examples, batches), /*training=*/false,
                                             device.available_memory());
    const auto model = build_model(files, device, start, build);
    terminal.phase("evaluating " + counted(data.size(), "example"));
    const Evaluation evaluation = evaluate(*model, options.data.file, data, batches, exact_match,
                                           [&](int64_t done, int64_t total) { progress("evaluating", done, total); });
    terminal.result(concat(in_words(evaluation), " (", name_of(start.method), ", ",
                           counted(evaluation.labelled, "token"), " of ", counted(evaluation.examples, "example"),
                           ")"));
    if (line.json) print_json(to_json(evaluation));
    return kDone;
}

template <class Device>
int generate_verb(const CommandLine& line, Terminal& terminal, const Device& device) {
    const Options& options = line.options;
    const ModelFiles files = open_model(options, terminal);
    const ExampleReader reader(options, files.config(), terminal);
    require(reader.tokenizer() != nullptr, options.model.folder,
            ": has neither tokenizer.json nor tokenizer.model; text needs a tokenizer");
    const std::vector<Prompt> prompts = read_prompts(options);
    const int64_t positions = files.config().max_position_embeddings;
    const auto& around = reader.prompt_template();
    std::vector<std::vector<int32_t>> prompt_ids;
    BatchLimits limits;
    for (const Prompt& prompt : prompts) {
        try {
            prompt_ids.push_back(encode_prompt(reader.encoding(), around ? around->prompt(prompt.text) : prompt.text));
        } catch (const Error& error) {
            fail(prompt.where, ": ", error.what());
        }
        const auto length = static_cast<int64_t>(prompt_ids.back().size());
        require(length > 0, prompt.where,
                ": the prompt is empty, and this tokenizer puts no token in front that text could go on from");
        require(length < positions || positions == 0, prompt.where, ": the prompt has ", counted(length, "token"),
                ", and the model has ", positions, " positions for it and the answer");
        limits.max_tokens = std::max(limits.max_tokens, length);
    }
    allow_for_text(limits, files.config(), limits.max_tokens + options.generation.max_new_tokens);
    limits.max_labelled = 1;

    StartingPoint start = starting_point(options, files, options.model.adapter, terminal);
    find_outlier_channels(start, options, files, device, reader, {}, terminal, show_progress(terminal));
    const auto model = build_model(
        files, device, start, build_options(options, start, limits, /*training=*/false, device.available_memory()));
    terminal.clear_status();
    const SamplingOptions sampling{options.generation.temperature, options.generation.top_k, options.generation.top_p,
                                   static_cast<uint64_t>(options.compute.seed)};
    const std::vector<int32_t> end = reader.end_tokens();
    ordered_json results = ordered_json::array();
    bool speechless = false;
    std::FILE* out = line.json ? stderr : stdout;
    for (size_t i = 0; i < prompts.size(); ++i) {
        TextStream stream(*reader.tokenizer(), /*skip_special=*/true);
        std::string text;
        const auto show = [&](const std::string& piece) {
            text += piece;
            print(out, piece);
        };
        const std::vector<int32_t> made =
            generate(*model, prompt_ids[i], options.generation.max_new_tokens, end, sampling, i, [&](int32_t id) {
                show(stream.push(id));
                return !std::ferror(stdout);  // nobody reads on, or the disk is full
            });
        if (std::ferror(stdout)) break;
        show(stream.finish());
        print(out, "\n");
        speechless = speechless || made.empty();
        results.push_back({{"prompt", prompts[i].text},
                           {"text", text},
                           {"prompt_tokens", prompt_ids[i].size()},
                           {"new_tokens", made.size()},
                           {"ids", made}});
    }
    if (speechless && !around)
        terminal.warn("the model ended its answer at once; does it want a chat template (--chat)?");
    if (line.json) print_json(options.generation.prompt_file.empty() ? results[0] : ordered_json{{"results", results}});
    return kDone;
}

// --show-tokens: what the examples look like to the model, before anything is computed or written.
int show_tokens_verb(const CommandLine& line, Terminal& terminal) {
    const Options& options = line.options;
    const ModelFiles files = open_model(options, terminal);
    const ExampleReader reader(options, files.config(), terminal);
    const bool calibrates = line.verb == Verb::calibrate && !options.outliers.data.empty();
    const int64_t shown =
        reader.show(reader.read(calibrates ? options.outliers.data : options.data.file), line.show_tokens);
    if (line.json) print_json({{"shown", shown}});
    return kDone;
}

int merge_verb(const CommandLine& line, Terminal& terminal) {
    const Options& options = line.options;
    const MergeReport report = merge_adapter(options.model.folder, options.model.adapter, options.out);
    terminal.result(concat(counted(report.merged_layers, "layer"), " of ", options.model.folder,
                           report.merged_layers == 1 ? " now holds " : " now hold ", options.model.adapter, ": ",
                           options.out, " (", counted(report.files, "file"), ", ", format_bytes(report.bytes),
                           "; rounding ", format("%.1f", 100 * report.rounding), "% of the change)"));
    // Twelve steps of SmolLM2 in BF16 make this 66%, which an evaluation shows; the demo's 1050 make it 3%.
    if (report.rounding > 0.1)
        terminal.warn(concat("rounding to the model's own dtype takes the merged weights ",
                             static_cast<int>(std::lround(100 * report.rounding)),
                             "% as far from the exact ones as the adapter takes them from the model; where every bit "
                             "of the training counts, use the adapter as it is"));
    if (line.json)
        print_json({{"merged_layers", report.merged_layers},
                    {"files", report.files},
                    {"bytes", report.bytes},
                    {"rounding", report.rounding},
                    {"out", options.out}});
    return kDone;
}

int tokenize_verb(const CommandLine& line) {
    const Options& options = line.options;
    const auto tokenizer = Tokenizer::load(options.model.folder);
    const auto show = [&](const std::string& text) {
        print(stdout, nlohmann::json(tokenizer->encode(text)).dump() + "\n");
    };
    if (line.was_given("text")) {
        show(line.text);
    } else {
        for (const std::string& text : read_lines(options.data.file)) {
            if (std::ferror(stdout)) break;
            show(text);
        }
    }
    return kDone;
}

template <class Device>
int info_verb(const CommandLine& line, Terminal& terminal, const Device& device) {
    const Options& options = line.options;
    if (line.plan) return train(line, terminal, device);
    const std::string path = !line.path.empty()               ? line.path
                             : !options.model.adapter.empty() ? options.model.adapter
                             : !options.outliers.file.empty() ? options.outliers.file
                                                              : options.model.folder;
    const ordered_json info = inspect(path);
    terminal.result(info_text(info));
    if (line.json) print_json(info);
    return kDone;
}

}  // namespace

Fault current_fault() {
    try {
        throw;
    } catch (const UsageError& error) {
        return {error.what(), kWrongUsage};
    } catch (const std::bad_alloc&) {
        return {"out of memory; lower --batch-size, or see train_quaff --plan", kFailed};
    } catch (const std::exception& error) {
        return {error.what(), kFailed};
    }
}

template <class Device>
int run_verb(const CommandLine& line, Terminal& terminal, const Device& device) {
    for (const std::string& name : line.unused)
        terminal.warn(concat(info_of(line.verb).name, " makes no use of --", name));
    // What ranks do not share is done by the first of them.
    const bool shared = line.verb == Verb::train || line.verb == Verb::eval || line.verb == Verb::calibrate;
    const bool first_alone = !shared || line.plan || line.show_tokens > 0;
    device.comm->set_time_limit(first_alone ? 0 : kPatience);
    if (first_alone && !device.comm->is_first()) return kDone;
    if (line.show_tokens > 0) return show_tokens_verb(line, terminal);
    switch (line.verb) {
        case Verb::calibrate:
            return calibrate_verb(line, terminal, device);
        case Verb::eval:
            return evaluate_verb(line, terminal, device);
        case Verb::generate:
            return generate_verb(line, terminal, device);
        case Verb::merge:
            return merge_verb(line, terminal);
        case Verb::tokenize:
            return tokenize_verb(line);
        case Verb::info:
            return info_verb(line, terminal, device);
        case Verb::train:
            break;
    }
    return train(line, terminal, device);
}

#define INSTANTIATE(Device) template int run_verb(const CommandLine&, Terminal&, const Device&);
QUAFF_FOR_EACH_DEVICE(INSTANTIATE)

}  // namespace quaff::cli
