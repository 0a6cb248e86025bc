// A folder for whole training runs: a small model, data, and the options that all runs there share.
#pragma once

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "llmc/system/terminal.h"
#include "quaff/cli/parsing.h"
#include "quaff/run/training/trainer.h"
#include "test/quaff/small_model.h"

namespace quaff {

namespace fs = std::filesystem;

struct Workshop {
    fs::path folder;
    std::vector<std::string> common;

    explicit Workshop(const std::string& name) : folder(small::fresh_folder("trainer_" + name)) {
        small::write_model(folder / "model");
        small::write_examples(folder / "train.jsonl", 21, 7);
        small::write_examples(folder / "eval.jsonl", 5, 8);
        common = {"--model",
                  (folder / "model").string(),
                  "--data",
                  (folder / "train.jsonl").string(),
                  "--threads",
                  "1",
                  "--learning-rate",
                  "0.01",
                  "--lora-r",
                  "4",
                  "--outlier-max-ratio",
                  "0.125"};
    }

    cli::CommandLine line(const std::string& out, const std::vector<std::string>& more) const {
        std::vector<std::string> arguments = more;
        for (size_t i = 0; i < common.size(); i += 2)  // a name and its value
            if (std::find(more.begin(), more.end(), common[i]) == more.end())
                arguments.insert(arguments.end(), {common[i], common[i + 1]});
        arguments.insert(arguments.end(), {"--out", (folder / out).string()});
        return cli::parse(arguments);
    }

    Options options(const std::string& out, const std::vector<std::string>& more) const {
        return line(out, more).options;
    }

    nlohmann::ordered_json run(const std::string& out, const std::vector<std::string>& more,
                               bool* was_stopped = nullptr, bool stop_at_once = false,
                               const std::function<void(int64_t, int64_t, int64_t)>& after_micro_batch = {}) const {
        cpu::Device device;
        device.threads = 1;
        return run_on(device, out, more, was_stopped, stop_at_once, after_micro_batch);
    }

    template <class Device>
    nlohmann::ordered_json run_on(const Device& device, const std::string& out, const std::vector<std::string>& more,
                                  bool* was_stopped = nullptr, bool stop_at_once = false,
                                  const std::function<void(int64_t, int64_t, int64_t)>& after_micro_batch = {}) const {
        const cli::CommandLine chosen = line(out, more);
        std::FILE* sink = std::fopen((folder / "terminal.txt").c_str(), "a");
        Terminal terminal(sink, /*quiet=*/false);
        bool stopped = false;
        nlohmann::ordered_json result;
        try {
            const Options options = with_options_of_adapter(chosen.options, terminal);
            Trainer<Device> trainer(options, cli::record_of(chosen, options), terminal, device);
            trainer.after_micro_batch = after_micro_batch;
            if (stop_at_once) raise(SIGTERM);
            result = trainer.run(stopped);
        } catch (...) {
            std::fclose(sink);
            throw;
        }
        std::fclose(sink);
        if (was_stopped) *was_stopped = stopped;
        return result;
    }

    std::string adapter(const std::string& out) const {
        return small::read_text(folder / out / "adapter" / "adapter_model.safetensors") +
               small::read_text(folder / out / "adapter" / "quaff.json");
    }

    nlohmann::json quaff_json(const std::string& adapter) const {
        return nlohmann::json::parse(small::read_text(folder / adapter / "quaff.json"));
    }

    std::vector<nlohmann::json> log(const std::string& out) const {
        std::vector<nlohmann::json> lines;
        std::ifstream file(folder / out / "log.jsonl");
        for (std::string line; std::getline(file, line);) lines.push_back(nlohmann::json::parse(line));
        return lines;
    }
};

}  // namespace quaff
