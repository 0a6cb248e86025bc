#include "quaff/run/training/model_card.h"

#include <algorithm>
#include <bit>
#include <nlohmann/json.hpp>
#include <vector>

#include "llmc/core/error.h"
#include "llmc/core/words.h"
#include "llmc/io/file_io.h"
#include "llmc/io/path.h"
#include "llmc/system/child_process.h"
#include "llmc/system/terminal.h"

namespace quaff {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr const char* kOurs = "<!-- Written by train_quaff, which keeps a README.md without this line as it is. -->";

// As text in a table or in code of Markdown: nothing in it ends a line, a cell or the code.
std::string plain(std::string text) {
    for (char& c : text)
        if (c == '`' || c == '|' || c == '\n' || c == '\t') c = '?';
    return printable(text);
}

// In double quotes, as YAML and Python read it.
std::string quoted(const std::string& text) {
    return ordered_json(text).dump(-1, ' ', /*ensure_ascii=*/false, ordered_json::error_handler_t::replace);
}

std::string code(const std::string& text) {
    return concat("`", plain(text), "`");
}

std::string row(const std::string& name, const std::string& value) {
    return concat("| ", name, " | ", value, " |\n");
}

std::string code_block(const std::string& language, const std::string& lines) {
    return concat("\n```", language, "\n", lines, "```\n");
}

std::string names_of(const std::vector<std::string>& files) {
    std::vector<std::string> names;
    for (const std::string& file : files)
        names.push_back(file == "-" ? "standard input" : code(fs::path(file).filename().string()));
    return join(names);
}

std::string evaluation_data(const DataOptions& data) {
    if (!data.eval_files.empty()) return names_of(data.eval_files);
    return format("%.4g%% of the training data, held out", 100 * data.eval_split);
}

// The figures that were measured both before and after.
std::string evaluation(const ordered_json& before, const ordered_json& after) {
    std::string rows;
    if (!before.is_object() || !after.is_object()) return rows;
    for (const auto& [name, value] : after.items()) {
        if (!value.is_number_float() || !before.contains(name) || !before[name].is_number()) continue;
        rows += format("| %s | %.4f | %.4f |\n", name.c_str(), before[name].get<double>(), value.get<double>());
    }
    return rows.empty() ? rows : "\n| | before training | after |\n| --- | --- | --- |\n" + rows;
}

// vLLM makes room for ranks up to 16, or up to a power of two.
std::string rank_of_vllm(const LoraConfig& lora) {
    int64_t rank = lora.r;
    for (const PatternValue<int64_t>& of : lora.rank_pattern) rank = std::max(rank, of.value);
    return rank > 16 ? concat(" --max-lora-rank ", std::bit_ceil(static_cast<uint64_t>(rank))) : "";
}

std::string use(const std::string& model, const LoraConfig& lora) {
    const std::string python = quoted(model), shell = plain(shell_word(model));
    return concat(
        "\n## Use\n\n`ADAPTER` is the folder of this file. PEFT:\n",
        code_block("python", concat("from peft import PeftModel\n"
                                    "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
                                    "model = AutoModelForCausalLM.from_pretrained(",
                                    python,
                                    ")\n"
                                    "model = PeftModel.from_pretrained(model, \"ADAPTER\")\n"
                                    "tokenizer = AutoTokenizer.from_pretrained(\"ADAPTER\")\n")),
        "\nAs it was trained, or folded into the weights:\n",
        code_block("sh", concat("train_quaff generate --model ", shell, " --adapter ADAPTER --prompt \"...\"\n",
                                "train_quaff merge --model ", shell, " --adapter ADAPTER --out MERGED\n")),
        "\nvLLM:\n",
        code_block("sh", concat("vllm serve ", shell, " --enable-lora", rank_of_vllm(lora),
                                " --lora-modules adapter=ADAPTER\n")),
        "\nllama.cpp, with the model's folder as `MODEL`:\n",
        code_block("sh",
                   "python convert_lora_to_gguf.py --base MODEL --outfile adapter.gguf ADAPTER\n"
                   "llama-cli -m MODEL.gguf --lora adapter.gguf\n"));
}

}  // namespace

std::string model_card(const Options& options, const OptionTexts& changed, const LoraConfig& lora,
                       const TrainingState& state, const ordered_json& eval_after, int64_t best_step) {
    const bool is_public = !options.model.hub_name.empty();
    const std::string model =
        is_public ? options.model.name() : without_slash(options.model.name()).filename().string();
    const char* method = name_of(options.compute.method.value_or(Method::quaff));
    const bool evaluates = eval_after.is_object();
    std::string card = concat("---\n", is_public ? concat("base_model: ", quoted(model), "\n") : "",
                              "library_name: peft\npipeline_tag: text-generation\ntags:\n- lora\n- quaff\n---\n", kOurs,
                              "\n\n# LoRA adapter of ", code(model), "\n\n| | |\n| --- | --- |\n");
    card += row("base model", code(model)) + row("training data", names_of(options.data.files));
    if (evaluates) card += row("evaluation data", evaluation_data(options.data));
    card += row("frozen layers", concat("method ", code(method))) +
            row("length", concat(counted(state.step, "step"), format(", %.4g epochs", state.epoch),
                                 best_step < 0 ? "" : concat("; these are the weights of step ", best_step)));
    card += evaluation(state.eval_before, eval_after);
    if (!changed.empty()) {
        card += "\nOptions other than the defaults:\n\n| option | value |\n| --- | --- |\n";
        for (const auto& [name, value] : changed) card += row(code("--" + name), code(value));
    }
    return card + use(model, lora);
}

std::string card_to_keep(const fs::path& adapter, const std::string& card) {
    const fs::path path = adapter / kModelCard;
    if (!path_exists(path)) return card;
    const std::string before = read_file(path);
    return before.find(kOurs) == before.npos ? before : card;
}

}  // namespace quaff
