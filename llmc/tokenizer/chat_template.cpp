#include "llmc/tokenizer/chat_template.h"

#include <nlohmann/json.hpp>

#include "llmc/core/error.h"
#include "llmc/core/program.h"
#include "llmc/io/file_io.h"
#include "llmc/io/json.h"
#include "llmc/io/path.h"

namespace llmc {

namespace {

bool contains(std::string_view text, std::string_view part) {
    return text.find(part) != text.npos;
}

std::string_view trim(std::string_view text) {
    constexpr std::string_view kSpace = " \t\n\v\f\r";
    const size_t begin = text.find_first_not_of(kSpace);
    if (begin == text.npos) return "";
    return text.substr(begin, text.find_last_not_of(kSpace) + 1 - begin);
}

// The system message of a ChatML template for when there is none: '<|im_start|>system\nYou are ..<|im_end|>' written
// out in one piece, with a newline or Jinja's escape for it.
std::optional<std::string> chatml_default_system(std::string_view jinja) {
    constexpr std::string_view kBegin = "<|im_start|>system";
    for (size_t at = 0; (at = jinja.find(kBegin, at)) != jinja.npos;) {
        at += kBegin.size();
        std::string_view rest = jinja.substr(at);
        if (!rest.starts_with("\n") && !rest.starts_with("\\n")) continue;
        rest.remove_prefix(rest.front() == '\n' ? 1 : 2);
        const std::string_view message = rest.substr(0, rest.find("<|im_end|>"));
        if (!message.empty() && message.find_first_of("'\"{}\\") == message.npos) return std::string(message);
    }
    return std::nullopt;
}

std::string list(const std::vector<std::string>& names) {
    std::string text;
    for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
    return text;
}

}  // namespace

std::vector<std::string> ChatTemplate::names() {
    return {"none", "alpaca", "chatml", "llama2", "llama3", "phi3", "zephyr", "mistral"};
}

ChatTemplate ChatTemplate::named(std::string_view name) {
    ChatTemplate t;
    t.name_ = name;
    if (name == "none") {
        t.after_system_ = "\n\n";
    } else if (name == "alpaca") {
        t.default_system_ =
            "Below is an instruction that describes a task. Write a response that appropriately completes the request.";
        t.after_system_ = "\n\n";
        t.before_user_ = "### Instruction:\n";
        t.after_user_ = "\n\n### Response:\n";
        t.between_ = "\n\n";
    } else if (name == "chatml") {
        t.before_system_ = "<|im_start|>system\n";
        t.after_system_ = "<|im_end|>\n";
        t.before_user_ = "<|im_start|>user\n";
        t.after_user_ = "<|im_end|>\n<|im_start|>assistant\n";
        t.end_of_turn_ = "<|im_end|>";
        t.between_ = "\n";
    } else if (name == "llama2") {
        t.begin_ = "<s>[INST] ";
        t.before_system_ = "<<SYS>>\n";
        t.after_system_ = "\n<</SYS>>\n\n";
        t.after_user_ = " [/INST]";
        t.end_of_turn_ = " </s>";
        t.between_ = t.begin_;
        t.trims_ = true;
    } else if (name == "llama3") {
        t.begin_ = "<|begin_of_text|>";
        t.before_system_ = "<|start_header_id|>system<|end_header_id|>\n\n";
        t.after_system_ = "<|eot_id|>";
        t.before_user_ = "<|start_header_id|>user<|end_header_id|>\n\n";
        t.after_user_ = "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n";
        t.end_of_turn_ = "<|eot_id|>";
        t.trims_ = true;
    } else if (name == "phi3") {
        t.before_system_ = "<|system|>\n";
        t.after_system_ = "<|end|>\n";
        t.before_user_ = "<|user|>\n";
        t.after_user_ = "<|end|>\n<|assistant|>\n";
        t.end_of_turn_ = "<|end|>";
        t.between_ = "\n";
    } else if (name == "zephyr") {
        t.before_system_ = "<|system|>\n";
        t.after_system_ = "</s>\n";
        t.before_user_ = "<|user|>\n";
        t.after_user_ = "</s>\n<|assistant|>\n";
        t.end_of_turn_ = "</s>";
        t.between_ = "\n";
    } else if (name == "mistral") {
        t.begin_ = "<s>[INST] ";
        t.after_system_ = "\n\n";
        t.after_user_ = " [/INST]";
        t.end_of_turn_ = "</s>";
        t.between_ = "[INST] ";
    } else {
        throw UsageError(concat("There is no template ", describe(std::string(name)), ". Choose one of ", list(names()),
                                ", or auto for the model's own."));
    }
    return t;
}

ChatTemplate ChatTemplate::recognise(std::string_view jinja, const std::string& where, const std::string& bos,
                                     const std::string& eos) {
    const auto has = [&](std::string_view marker) { return contains(jinja, marker); };
    const bool is_other = has("<|im_sep|>") || has("[SYSTEM_PROMPT]");  // Phi-4, later Mistral models
    const std::string_view family = is_other                                               ? ""
                                    : has("<|im_start|>")                                  ? "chatml"
                                    : has("<|start_header_id|>")                           ? "llama3"
                                    : has("<<SYS>>")                                       ? "llama2"
                                    : has("[INST]")                                        ? "mistral"
                                    : has("<|user|>") && has("<|end|>")                    ? "phi3"
                                    : has("<|user|>") && (has("eos_token") || has("</s>")) ? "zephyr"
                                    : has("### Instruction:")                              ? "alpaca"
                                                                                           : "";
    require(!family.empty(), where, ": the model's chat template is of no known family. Set ", program().chat_template,
            " to the nearest (", list(names()), ") or put the template into the data.");

    ChatTemplate t = named(family);
    if (family == "chatml") {
        t.default_system_ = chatml_default_system(jinja);
    } else if (family == "llama3" && has("Cutting Knowledge Date: December 2023")) {
        // LLaMA 3.1 and later always have a system message. The date is their fallback: a prompt that changes from day
        // to day is nothing to train on.
        t.before_system_ += "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n";
        t.default_system_ = "";
    } else if (family == "mistral") {
        if (!has(" [/INST]")) t.after_user_ = "[/INST]";
        if (has("eos_token + ' '")) t.between_.insert(0, " ");  // the first of them
    }

    std::string unheeded;
    if (has("strftime_now")) unheeded = "today's date (strftime_now)";
    if (has("<think>")) unheeded += (unheeded.empty() ? "" : " and ") + std::string("the model's reasoning (<think>)");
    if (!unheeded.empty())
        t.note_ = concat(where, ": the model's chat template uses ", unheeded,
                         ", which is not supported; its texts here may differ from transformers'");

    // The family's BOS and EOS, spelled as this model spells them; BOS only if its template has it.
    const auto spell = [](std::string& text, std::string_view from, const std::string& to) {
        if (const size_t at = text.find(from); at != text.npos) text.replace(at, from.size(), to);
    };
    for (const std::string_view known : {"<s>", "<|begin_of_text|>"}) {
        spell(t.begin_, known, "");
        if (has(known)) t.begin_.insert(0, known);
    }
    if (has("bos_token")) t.begin_.insert(0, bos);
    if (family == "llama2") t.between_ = t.begin_;  // every turn begins anew
    if (!eos.empty()) {
        for (std::string* text : {&t.after_system_, &t.after_user_, &t.end_of_turn_}) spell(*text, "</s>", eos);
    }
    return t;
}

ChatTemplate ChatTemplate::of_model(const std::filesystem::path& directory) {
    const std::filesystem::path config_path = directory / "tokenizer_config.json";
    const nlohmann::json tree = path_exists(config_path) ? read_json(config_path) : nlohmann::json::object();
    const JsonObject config(tree, config_path.string());
    const auto token = [&](const std::string& key) {
        if (!config.has(key)) return std::string();
        return config.value(key).is_object() ? config.object(key).string("content") : config.string(key);
    };

    if (const auto path = directory / "chat_template.jinja"; path_exists(path)) {
        return recognise(read_file(path), path.string(), token("bos_token"), token("eos_token"));
    }
    std::vector<std::string> layouts = names();
    std::erase(layouts, "none");  // lays out no conversation
    require(config.has("chat_template"), directory.string(),
            ": the model has no chat template (neither chat_template.jinja nor a field \"chat_template\" in "
            "tokenizer_config.json). Set ",
            program().chat_template, " to one of ", list(layouts), ".");
    // One template, or a list of them by name.
    std::string jinja;
    if (const nlohmann::json& value = config.value("chat_template"); value.is_array()) {
        for (const nlohmann::json& entry : value) {
            const JsonObject choice(entry, config.file(), "chat_template.");
            if (choice.string("name") == "default") jinja = choice.string("template");
        }
        if (jinja.empty()) config.fail_field("chat_template", "a list with an entry named \"default\"");
    } else {
        jinja = config.string("chat_template");
    }
    return recognise(jinja, config.field("chat_template"), token("bos_token"), token("eos_token"));
}

std::string_view ChatTemplate::said(std::string_view message) const {
    return trims_ ? trim(message) : message;
}

std::string ChatTemplate::first_source(const std::optional<std::string_view>& system, std::string_view user) const {
    std::string text = begin_;
    if (system || default_system_) {
        text += before_system_;
        text += system ? said(*system) : std::string_view(*default_system_);
        text += after_system_;
    }
    text += before_user_;
    text += said(user);
    return text + after_user_;
}

std::string ChatTemplate::prompt(std::string_view user, std::string_view system) const {
    return first_source(system.empty() ? std::nullopt : std::optional(system), user);
}

std::pair<std::string, std::string> ChatTemplate::apply(std::string_view source, std::string_view target) const {
    return {prompt(source), std::string(said(target)) + end_of_turn_};
}

std::vector<Turn> ChatTemplate::lay_out(std::span<const Message> messages) const {
    std::optional<std::string_view> system;
    if (!messages.empty() && messages.front().role == "system") {
        system = messages.front().content;
        messages = messages.subspan(1);
    }
    std::vector<Turn> turns;
    for (; messages.size() >= 2; messages = messages.subspan(2)) {
        const std::string &user = messages[0].content, &answer = messages[1].content;
        turns.push_back(
            {turns.empty() ? first_source(system, user) : concat(between_, before_user_, said(user), after_user_),
             std::string(said(answer)) + end_of_turn_});
    }
    return turns;
}

}  // namespace llmc
