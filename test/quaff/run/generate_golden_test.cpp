// Greedy generation against transformers' generate(), and against common sense on a real model.
#include <filesystem>
#include <string>
#include <vector>

#include "llmc/chat/chat_encoder.h"
#include "llmc/tokenizer/tokenizer.h"
#include "quaff/run/generate.h"
#include "test/catch.h"
#include "test/quaff/golden.h"

using namespace golden;

namespace {

const auto go_on = [](int32_t) { return true; };

}  // namespace

// The smallest distance between the two largest logits of any step is 1e-2, a thousand times the noise of fp32, so
// that one wrong token means a wrong model. Answers outgrow the sliding windows and longrope's short factors.
TEST_CASE("greedy generation gives the tokens of transformers", "[golden][generate]") {
    for (const std::string name : kModels) {
        const json greedy = read_json(directory(name) / "greedy.json");
        REQUIRE(greedy["answers"].size() == 2);
        for (const json& answer : greedy["answers"]) {
            const std::vector<int32_t> prompt = answer["prompt"], expected = answer["new_ids"];
            const auto n_new = static_cast<int64_t>(expected.size());
            CAPTURE(name, prompt);
            BuildOptions options = build_options(read_json(directory(name) / "golden.json"), Method::fp);
            options.training = false;
            options.max_tokens = options.max_sequence_length = static_cast<int64_t>(prompt.size()) + n_new;
            const auto model =
                quaff::build_quantized_model(ModelFiles(directory(name) / "model"), {}, options, one_thread());
            load_adapter(*model, directory(name) / "adapter");
            CHECK(quaff::generate(*model, prompt, n_new, {}, {}, 0, go_on) == expected);

            // Any token may end the answer, and is no part of it.
            const std::vector<int32_t> end = {expected[9]};
            const auto first = std::find(expected.begin(), expected.end(), end[0]);
            CHECK(quaff::generate(*model, prompt, n_new, end, {}, 0, go_on) ==
                  std::vector<int32_t>(expected.begin(), first));
        }
    }
}

// Tokenizer, chat template, weights in BF16, rotation, cache: one wrong link and no sentence comes out.
TEST_CASE("SmolLM2 knows the capital of France", "[generate][smollm2]") {
    const std::filesystem::path folder = "models/smollm2-135m-instruct";
    if (!std::filesystem::exists(folder / "model.safetensors")) {
        WARN("skipped: " << folder.string() << " is not there; `make smollm2` fetches it");
        return;
    }
    const auto tokenizer = Tokenizer::load(folder);
    const ChatTemplate chat_template(read_model_templates(folder),
                                     {read_special_tokens(folder), nullptr, std::nullopt});
    Conversation question;
    question.messages = Json::array({{{"role", "user"}, {"content", "What is the capital of France?"}}});
    const std::vector<int32_t> prompt =
        ChatEncoder(chat_template, *tokenizer, tokenizer->eos_id().value(), LossOn::all).encode_prompt(question);
    constexpr int64_t kNewTokens = 16;
    BuildOptions options;
    options.method = Method::fp;
    options.training = options.adapters = false;
    options.max_tokens = options.max_sequence_length = static_cast<int64_t>(prompt.size()) + kNewTokens;
    options.max_labelled = 1;
    const auto model = quaff::build_quantized_model(ModelFiles(folder), {}, options, cpu::Device{});
    const std::string answer =
        tokenizer->decode(quaff::generate(*model, prompt, kNewTokens, {}, {}, 0, go_on), /*skip_special=*/true);
    INFO(answer);
    CHECK(answer.find("Paris") != std::string::npos);
}
