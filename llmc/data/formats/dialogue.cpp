#include "llmc/data/formats/dialogue.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>

#include "llmc/core/error.h"
#include "llmc/core/words.h"

namespace llmc {
namespace {

constexpr std::string_view kSpace = " \t\r\n";

// Marks of one side may stand one after the other: then the words belong together.
void add(Json& messages, const char* role, std::string_view words) {
    if (!messages.empty() && messages.back()["role"] == role) {
        std::string& before = messages.back()["content"].get_ref<std::string&>();
        before.append(before.empty() || words.empty() ? "" : "\n").append(words);
        return;
    }
    messages.push_back({{"role", role}, {"content", std::string(words)}});
}

// Where a mark stands next. A text is searched once, however many turns there are.
class NextMark {
  public:
    NextMark(std::string_view text, std::string_view mark) : text_(text), mark_(mark), next_(text.find(mark)) {}

    size_t from(size_t begin) {
        if (next_ < begin) next_ = text_.find(mark_, begin);
        return next_;
    }

  private:
    std::string_view text_, mark_;
    size_t next_;
};

}  // namespace

Json messages_of(std::string_view text, const DialogueMarks& marks) {
    const std::string_view user = trim(marks.user), assistant = trim(marks.assistant);
    text = trim(text);
    require(text.starts_with(user) || text.starts_with(assistant), "the text must begin with ", in_quotes(user), " or ",
            in_quotes(assistant), ", but begins with ", in_quotes(text.substr(0, 30)));
    NextMark next_user(text, marks.user), next_assistant(text, marks.assistant);
    Json messages = Json::array();
    for (size_t at = 0; at < text.size();) {
        const bool is_user = text.substr(at).starts_with(user);
        at += (is_user ? user : assistant).size();
        const size_t end = std::min({next_user.from(at), next_assistant.from(at), text.size()});
        add(messages, is_user ? "user" : "assistant", trim(text.substr(at, end - at)));
        at = std::min(text.find_first_not_of(kSpace, end), text.size());
    }
    if (messages.back()["role"] == "user") messages.erase(messages.size() - 1);
    require(!messages.empty(), "the text holds no answer: ", in_quotes(assistant), " does not follow the user's words");
    return messages;
}

}  // namespace llmc
