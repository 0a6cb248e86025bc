// The formats, a row each. Prompts of data sets whose publishers gave none are worded here.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "llmc/core/error.h"
#include "llmc/data/formats/dialogue.h"
#include "llmc/data/formats/row_of_format.h"
#include "llmc/metrics/choice.h"
#include "llmc/metrics/numeric.h"

namespace llmc {
namespace {

FormattedRow pair(RowOfFormat& row, std::string source, std::string target, Choices choices = {}) {
    return row.with({{"input", std::move(source)}, {"output", std::move(target)}}, std::move(choices));
}

FormattedRow as_it_is(RowOfFormat& row) {
    return row.with({});
}

// One turn becomes a pair, more become messages.
FormattedRow dialogue(RowOfFormat& row, const char* column, const DialogueMarks& marks) {
    Json messages = messages_of(row.text(column), marks);
    if (messages.size() != 2) return row.with({{"messages", std::move(messages)}});
    return pair(row, messages[0]["content"].get<std::string>(), messages[1]["content"].get<std::string>());
}

FormattedRow chip2(RowOfFormat& row) {
    return dialogue(row, "text", {"\n<human>: ", "\n<bot>: "});
}

FormattedRow hh_rlhf(RowOfFormat& row) {
    return dialogue(row, "chosen", {"\n\nHuman:", "\n\nAssistant:"});
}

FormattedRow oasst1(RowOfFormat& row) {
    return dialogue(row, "text", {"### Human:", "### Assistant:"});
}

// Some answers end in a mark of the model that wrote them.
FormattedRow self_instruct(RowOfFormat& row) {
    constexpr std::string_view kEnd = "<|endoftext|>";
    std::string prompt = row.text("prompt"), completion = row.text("completion");
    if (completion.ends_with(kEnd)) completion.resize(completion.size() - kEnd.size());
    return pair(row, std::move(prompt), std::move(completion));
}

FormattedRow gsm8k(RowOfFormat& row) {
    std::string question = row.said("question"), answer = row.said("answer");
    const size_t mark = answer.find("####");
    require(mark != answer.npos && answer_number(answer.substr(mark)),
            "the field \"answer\" of a row of the format gsm8k ",
            "must end in #### and the number that is right, but ends in ",
            in_quotes(std::string_view(answer).substr(answer.size() - std::min<size_t>(answer.size(), 30))));
    return pair(row, question + "\n", std::move(answer));
}

// The question, a line for each option, and what is asked for.
FormattedRow choice(RowOfFormat& row, const std::string& question, Choices choices) {
    const size_t count = choices.options.size();
    require(count >= 2 && count <= kMostOptions, "a question needs from 2 to ", kMostOptions, " options, and here ",
            count == 1 ? "is " : "are ", count);
    std::string prompt = question + "\n\n";
    for (size_t i = 0; i < count; ++i) {
        prompt += letter_of(i);
        prompt += ". " + choices.options[i] + "\n";
    }
    prompt += "\nWhich option is right? Answer with its letter.\n";
    const std::string answer(1, letter_of(choices.right));
    return pair(row, std::move(prompt), answer, std::move(choices));
}

size_t option_of_letter(const std::string& column, const std::string& letter, size_t n_options) {
    const auto option = letter.size() == 1 ? answer_choice(letter, std::min(n_options, kMostOptions)) : std::nullopt;
    require(option.has_value(), "the field ", in_quotes(column), " is ", in_quotes(letter),
            ", but must be the letter of one of ", n_options, " options");
    return *option;
}

FormattedRow mmlu_pro(RowOfFormat& row) {
    const std::string question = row.said("question");
    Choices choices{row.list("options")};
    choices.right = option_of_letter("answer", row.said("answer"), choices.options.size());
    const auto index = row.number("answer_index");
    require(!index || *index == static_cast<int64_t>(choices.right), "the field \"answer_index\" is ",
            index.value_or(0), ", but \"answer\" is ", in_quotes(std::string(1, letter_of(choices.right))),
            "; they name different options");
    return choice(row, question, std::move(choices));
}

// The right option stands first in the file, so the options are shuffled.
FormattedRow gpqa(RowOfFormat& row) {
    const std::string question = row.said("Question");
    std::vector<std::string> texts = {row.said("Correct Answer"), row.said("Incorrect Answer 1"),
                                      row.said("Incorrect Answer 2"), row.said("Incorrect Answer 3")};
    std::vector<size_t> order = {0, 1, 2, 3};
    RandomSequence random = row.random();
    shuffle(std::span(order), random);
    Choices choices;
    for (const size_t option : order) {
        if (option == 0) choices.right = choices.options.size();
        choices.options.push_back(std::move(texts[option]));
    }
    return choice(row, question, std::move(choices));
}

constexpr std::string_view kAroundOption = " \t\r\n,'\"[]";

// Where an option's letter and its bracket stand, "b )", and where its text begins; npos if they do not.
struct OptionMark {
    size_t at = std::string::npos, text = std::string::npos;
};

OptionMark find_option(const std::string& text, char letter, size_t from) {
    for (size_t at = text.find(letter, from); at != text.npos; at = text.find(letter, at + 1)) {
        const bool begins = at == 0 || kAroundOption.find(text[at - 1]) != kAroundOption.npos;
        const size_t bracket = text.find_first_not_of(' ', at + 1);
        if (begins && bracket != text.npos && text[bracket] == ')') return {at, bracket + 1};
    }
    return {};
}

// "a ) 38 , b ) 27.675 , c ) 30": each option behind its letter. Some rows have the texts in a list of their own:
// "['a ) 38', 'b ) 27.675', 'c ) 30']".
std::vector<std::string> mathqa_options(const std::string& text) {
    std::vector<std::string> options;
    OptionMark mark = find_option(text, 'a', 0);
    require(mark.at != text.npos, "the field \"options\" must be of the kind \"a ) 38 , b ) 30\", but is ",
            in_quotes(text));
    for (char letter = 'b'; mark.at != text.npos; ++letter) {
        const OptionMark next = letter <= 'z' ? find_option(text, letter, mark.text) : OptionMark();
        std::string_view option = std::string_view(text).substr(mark.text, next.at - mark.text);
        option.remove_prefix(std::min(option.find_first_not_of(kAroundOption), option.size()));
        options.emplace_back(option.substr(0, option.find_last_not_of(kAroundOption) + 1));
        mark = next;
    }
    return options;
}

FormattedRow mathqa(RowOfFormat& row) {
    const std::string question = row.said("Problem");
    Choices choices{mathqa_options(row.text("options"))};
    choices.right = option_of_letter("correct", row.said("correct"), choices.options.size());
    return choice(row, question, std::move(choices));
}

constexpr const char* kInstruction = "instruction, and input on a line of its own";

}  // namespace

std::span<const DataFormat> data_formats() {
    using enum Metric;
    static const std::vector<Metric> kText = {rouge_l}, kWords = {word_perplexity}, kNumber = {numeric_accuracy},
                                     kChoice = {choice_accuracy, choice_likelihood_accuracy};
    static const std::vector<DataFormat> formats = {
        {.name = "alpaca",
         .columns = {"instruction", "input", "output"},
         .unread = {"text"},
         .recognised_by = {},
         .prompt = kInstruction,
         .answer = "output",
         .metrics = kText,
         .convert = as_it_is},
        {.name = "alpaca-clean",
         .columns = {"instruction", "input", "output"},
         .unread = {},
         .recognised_by = {},
         .prompt = kInstruction,
         .answer = "output",
         .metrics = kText,
         .convert = as_it_is},
        {.name = "finance-alpaca",
         .columns = {"instruction", "input", "output"},
         .unread = {"text"},
         .recognised_by = {},
         .prompt = kInstruction,
         .answer = "output",
         .metrics = kText,
         .convert = as_it_is},
        {.name = "chip2",
         .columns = {"text"},
         .unread = {"metadata"},
         .recognised_by = {},
         .prompt = "what <human>: says in text",
         .answer = "what <bot>: says",
         .metrics = kText,
         .convert = chip2},
        {.name = "self-instruct",
         .columns = {"prompt", "completion"},
         .unread = {},
         .recognised_by = {},
         .prompt = "prompt",
         .answer = "completion, without <|endoftext|>",
         .metrics = kText,
         .convert = self_instruct},
        {.name = "hh-rlhf",
         .columns = {"chosen"},
         .unread = {"rejected"},
         .recognised_by = {"chosen", "rejected"},
         .alone = true,
         .prompt = "the turns of Human: in chosen",
         .answer = "those of Assistant:",
         .metrics = kText,
         .convert = hh_rlhf},
        {.name = "longform",
         .columns = {"input", "output"},
         .unread = {"source", "subset"},
         .recognised_by = {"input", "output", "source", "subset"},
         .alone = true,
         .prompt = "input",
         .answer = "output",
         .metrics = kText,
         .convert = as_it_is},
        {.name = "oasst1",
         .columns = {"text"},
         .unread = {},
         .recognised_by = {},
         .prompt = "the turns of ### Human: in text",
         .answer = "those of ### Assistant:",
         .metrics = kText,
         .convert = oasst1},
        {.name = "wikitext2",
         .columns = {"text"},
         .unread = {},
         .recognised_by = {},
         .prompt = "none",
         .answer = "text",
         .metrics = kWords,
         .may_be_cut = true,
         .convert = as_it_is},
        {.name = "lambada",
         .columns = {"text"},
         .unread = {"domain"},
         .recognised_by = {},
         .prompt = "none",
         .answer = "text",
         .metrics = kWords,
         .may_be_cut = true,
         .convert = as_it_is},
        {.name = "gsm8k",
         .columns = {"question", "answer"},
         .unread = {},
         .recognised_by = {},
         .prompt = "question",
         .answer = "answer, which ends in #### and a number",
         .metrics = kNumber,
         .convert = gsm8k},
        {.name = "mmlu-pro",
         .columns = {"question", "options", "answer"},
         .unread = {"question_id", "cot_content", "category", "src"},
         .recognised_by = {"question", "options", "answer", "answer_index"},
         .prompt = "question, and options behind their letters",
         .answer = "answer, a letter",
         .metrics = kChoice,
         .convert = mmlu_pro},
        {.name = "gpqa",
         .columns = {"Question", "Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3"},
         .unread = {"Record ID", "High-level domain", "Subdomain", "Explanation"},
         .recognised_by = {"Question", "Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2",
                           "Incorrect Answer 3"},
         .prompt = "Question, and the four answers, shuffled by the seed, behind their letters",
         .answer = "the letter of Correct Answer",
         .metrics = kChoice,
         .convert = gpqa},
        {.name = "mathqa",
         .columns = {"Problem", "options", "correct"},
         .unread = {"Rationale", "annotated_formula", "linear_formula", "category"},
         .recognised_by = {"Problem", "options", "correct"},
         .prompt = "Problem, and options behind their letters",
         .answer = "correct, a letter",
         .metrics = kChoice,
         .convert = mathqa},
    };
    return formats;
}

}  // namespace llmc
