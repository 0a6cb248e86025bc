// train_quaff run from within a test as a user runs it: arguments in, exit status, stdout and stderr out.
#pragma once

#include <fcntl.h>
#include <omp.h>
#include <stdio_ext.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "test/catch.h"
#include "test/files.h"
#include "test/quaff/golden.h"

#ifdef LLMC_EMULATED
#include "test/emu/emulator.h"
#endif

// main() of train_quaff.cu (program_test.cpp).
int train_quaff_main(int argc, char** argv);

namespace program {

using golden::json;
namespace fs = std::filesystem;

// Sends a descriptor into a file for as long as it lives.
class Redirection {
  public:
    Redirection(std::FILE* stream, const fs::path& path) : stream_(stream), saved_(::dup(::fileno(stream))) {
        std::fflush(stream_);
        const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
        REQUIRE(file >= 0);
        ::dup2(file, ::fileno(stream_));
        ::close(file);
    }
    ~Redirection() {
        std::fflush(stream_);
        __fpurge(stream_);  // the next stream must not write what could not be written here
        std::clearerr(stream_);
        ::dup2(saved_, ::fileno(stream_));
        ::close(saved_);
    }
    Redirection(const Redirection&) = delete;
    Redirection& operator=(const Redirection&) = delete;

  private:
    std::FILE* stream_;
    int saved_;
};

struct Ending {
    int status;
    std::string out, err;

    // The one JSON object that --json leaves on stdout.
    json object() const {
        INFO(err);
        REQUIRE(std::count(out.begin(), out.end(), '\n') == 1);
        return json::parse(out);
    }
};

// The golden LLaMA, its first golden batch as a data file, and a folder to write to.
struct Desk {
    test::TempDir folder, streams;
    fs::path golden_case = golden::directory("llama_gqa");
    json numbers = llmc::read_json(golden_case / "golden.json");
    std::string model = (golden_case / "model").string(), adapter = (golden_case / "adapter").string();
    std::string data, out = folder / "run";

    // On a machine without a GPU, unless a test adds one.
    Desk() {
#ifdef LLMC_EMULATED
        emu::machine().devices = 0;
#endif
        const json& batch = numbers["batches"][0];
        const std::vector<int> ids = batch["input_ids"], labels = batch["labels"], ends = batch["cu_seqlens"];
        std::string lines;
        for (size_t s = 0; s + 1 < ends.size(); s++) {
            const auto part = [&](const std::vector<int>& all) {
                return json(std::vector<int>(all.begin() + ends[s], all.begin() + ends[s + 1]));
            };
            lines += json{{"input_ids", part(ids)}, {"labels", part(labels)}}.dump() + "\n";
        }
        data = folder.write("data.jsonl", lines);
    }

#ifdef LLMC_EMULATED
    ~Desk() {
        emu::machine() = {};
    }
#endif

    // Runs the program on one thread; `out` is what stands for stdout.
    Ending run(std::vector<std::string> arguments, const fs::path& out = "") const {
        arguments.insert(arguments.begin(), "train_quaff");
        std::vector<char*> argv;
        for (std::string& argument : arguments) argv.push_back(argument.data());
        argv.push_back(nullptr);
        const int threads = omp_get_max_threads();
        omp_set_num_threads(1);
        int status = -1;
        {
            const Redirection out_file(stdout, out.empty() ? streams / "out" : out), err_file(stderr, streams / "err");
            status = train_quaff_main(static_cast<int>(arguments.size()), argv.data());
        }
        omp_set_num_threads(threads);
        return {status, out.empty() ? test::read(streams / "out") : "", test::read(streams / "err")};
    }

    // The same with the model and data of this desk.
    Ending run(const std::string& verb, const std::vector<std::string>& more) const {
        std::vector<std::string> arguments = {verb, "--model", model, "--data", data, "--json"};
        arguments.insert(arguments.end(), more.begin(), more.end());
        return run(arguments);
    }

    // Trains the golden adapter at full precision on the golden batch, without dropout.
    Ending train_golden(const std::vector<std::string>& more) const {
        std::vector<std::string> arguments = {"--method",        "fp",   "--adapter",   adapter, "--lora-dropout", "0",
                                              "--batch-size",    "3",    "--eval-data", data,    "--out",          out,
                                              "--learning-rate", "0.001"};
        arguments.insert(arguments.end(), more.begin(), more.end());
        return run("train", arguments);
    }

    std::set<std::string> files() const {
        std::set<std::string> names;
        for (const auto& entry : fs::recursive_directory_iterator(folder.path())) names.insert(entry.path());
        return names;
    }
};

inline bool mentions(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

inline std::set<std::string> keys(const json& object) {
    std::set<std::string> names;
    for (const auto& [name, value] : object.items()) names.insert(name);
    return names;
}

inline const std::set<std::string> kEvaluationKeys = {"loss", "perplexity", "token_accuracy", "labelled_tokens",
                                                      "examples"};

}  // namespace program
