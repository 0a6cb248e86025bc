// JSON rows without a document in between: nlohmann-json's event parser does not recurse, so neither the size of an
// array nor its depth costs memory or stack here.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "llmc/core/error.h"
#include "llmc/data/row_reader.h"

namespace llmc {
namespace {

// Rows are flat except for the messages of a conversation; columns that nobody reads may hold trees up to this depth.
constexpr int kMaxDepth = 100;

// "[json.exception.parse_error.101] parse error at line 1, column 9: syntax error ..., last read: '...'" in our words.
// What was "last read" may be a whole line, or bytes that no terminal should see.
struct SyntaxError {
    int64_t line = 0;     // 0: unknown, as with a number that overflows
    std::string problem;  // "column 9 is not JSON: ..."

    explicit SyntaxError(const std::string& what) {
        const size_t at = what.find("parse error at line ");
        size_t message = what.find("] ") + 2;
        int64_t line_number = 0, column = 0;
        std::istringstream numbers(what.substr(std::min(at, what.size())));
        const auto skip = [&](std::string_view words) { numbers.ignore(static_cast<std::streamsize>(words.size())); };
        skip("parse error at line ");
        numbers >> line_number;
        skip(", column ");
        if (at != what.npos && numbers >> column) {
            line = line_number;
            problem = concat("column ", column, " ");
            message = what.find(": ", at) + 2;
        }
        if (what.find("ill-formed UTF-8") != what.npos) {
            problem += "is not UTF-8; convert the file with iconv";
        } else {
            const size_t end = what.find("; last read: ");
            problem += "is not JSON: " + what.substr(message, end == what.npos ? 120 : end - message);
        }
    }
};

// Collects the fields of the objects at `depth_of_rows` (0: the value itself, 1: the elements of an array).
class RowCollector {
  public:
    std::function<void(std::vector<Field>&&)> row;         // an object is complete
    std::function<void(const std::string&)> not_a_row;     // something else where an object belongs
    std::function<void(const std::string&)> syntax_error;  // must throw
    std::function<void()> too_deep;                        // must throw

    explicit RowCollector(int depth_of_rows) : depth_of_rows_(depth_of_rows) {}

    // The interface nlohmann::json::sax_parse calls.
    bool null() { return value(Field::Type::null, "null"); }
    bool boolean(bool) { return value(Field::Type::other, "true or false"); }
    bool number_integer(int64_t number) { return integer(number); }
    bool number_unsigned(uint64_t number) {
        if (number > static_cast<uint64_t>(INT64_MAX)) return value(Field::Type::other, std::to_string(number));
        return integer(static_cast<int64_t>(number));
    }
    bool number_float(double, const std::string& number) { return value(Field::Type::other, number.substr(0, 40)); }
    bool string(std::string& text) {
        if ((part_ == Part::role || part_ == Part::content) && depth_ == depth_of_rows_ + 3) {
            bool& has = part_ == Part::role ? has_role_ : has_content_;
            if (has) has_both_ = part_;
            has = true;
            (part_ == Part::role ? message_.role : message_.content) = std::move(text);
            return true;
        }
        if (in_row_ && depth_ == depth_of_rows_ + 1) {
            fields_.back().type = Field::Type::text;
            fields_.back().text = std::move(text);
            return true;
        }
        return value(Field::Type::other, "a string");
    }
    bool binary(nlohmann::json::binary_t&) { return true; }
    bool key(std::string& name) {
        if (in_row_ && depth_ == depth_of_rows_ + 1)
            fields_.emplace_back().name = std::move(name);
        else if (in_message_ && depth_ == depth_of_rows_ + 3)
            part_ = name == "role" || name == "from"                  ? Part::role
                    : name == "content" || name == "value"            ? Part::content
                    : name == "weight"                                ? Part::weight
                    : name == "tool_calls" || name == "function_call" ? Part::calls
                                                                      : Part::none;
        return true;
    }
    bool start_object(size_t) {
        if (depth_ == depth_of_rows_) {
            in_row_ = true;
            fields_.clear();
        } else if (message_begins()) {
            fields_.back().type = Field::Type::messages;
            message_ = {};
            has_role_ = has_content_ = false;
            has_both_ = Part::none;
            weight_.clear();
            calls_ = false;
            in_message_ = true;
        } else {
            value(Field::Type::other, "an object");
        }
        return descend();
    }
    bool end_object() {
        --depth_;
        if (in_message_ && depth_ == depth_of_rows_ + 2) end_message();
        if (!in_row_ || depth_ != depth_of_rows_) return true;
        in_row_ = false;
        row(std::move(fields_));
        return true;
    }
    bool start_array(size_t) {
        if (in_row_ && depth_ == depth_of_rows_ + 1)
            fields_.back().type = Field::Type::ids;
        else
            value(Field::Type::other, "a list");
        return descend();
    }
    bool end_array() {
        --depth_;
        return true;
    }
    bool parse_error(size_t, const std::string&, const nlohmann::json::exception& error) {
        syntax_error(error.what());
        return false;
    }

  private:
    enum class Part { none, role, content, weight, calls };

    // Whether the object that begins is an element of a list of messages.
    bool message_begins() const {
        if (!in_row_ || depth_ != depth_of_rows_ + 2) return false;
        const Field& field = fields_.back();
        return field.type == Field::Type::messages ||
               (field.type == Field::Type::ids && field.ids.empty() && holds_messages(field.name));
    }

    void end_message() {
        in_message_ = false;
        part_ = Part::none;
        if (has_both_ != Part::none) {
            bad_message(has_both_ == Part::role
                            ? R"(has two fields for its role ("role" or "from"); keep one of them)"
                            : R"(has two fields for its text ("content" or "value"); keep one of them)");
        } else if (calls_) {
            bad_message("calls tools, which is not supported; remove the row");
        } else if (!weight_.empty() && (message_.role == "assistant" || message_.role == "gpt")) {
            bad_message(
                concat("has a weight that is ", weight_, ", but every answer has weight 1 here; remove the row"));
        } else if (!has_role_ || !has_content_) {
            bad_message(has_role_ ? R"(has no "content" (or "value") that is a string)"
                                  : R"(has no "role" (or "from") that is a string)");
        } else if (fields_.back().text.empty()) {
            fields_.back().messages.push_back(std::move(message_));
        }
    }

    // Only the first problem is reported.
    void bad_message(const std::string& problem) {
        Field& field = fields_.back();
        if (!field.text.empty()) return;
        field.text = concat("message ", field.messages.size() + 1, " ", problem);
        field.messages = {};
    }

    bool descend() {
        if (++depth_ > kMaxDepth) too_deep();
        return true;
    }

    bool integer(int64_t number) {
        if (in_row_ && depth_ == depth_of_rows_ + 2 && fields_.back().type == Field::Type::ids) {
            fields_.back().ids.push_back(number);
            return true;
        }
        return value(Field::Type::other, std::to_string(number));
    }

    // Notes what must not be ignored in a message besides its role and text: tool calls, and a weight other than 1.
    void value_in_message(const std::string& what) {
        if (part_ == Part::calls && depth_ == depth_of_rows_ + 4) calls_ = true;
        if (part_ == Part::weight && depth_ == depth_of_rows_ + 3 && what != "1" && what != "1.0" && what != "null")
            weight_ = what;
    }

    // A value that is neither a string field nor an integer in a list.
    bool value(Field::Type type, const std::string& what) {
        value_in_message(what);
        if (depth_ == depth_of_rows_) {
            not_a_row(what);
        } else if (in_row_ && depth_ == depth_of_rows_ + 1) {
            fields_.back().type = type;
            fields_.back().text = what;
        } else if (in_row_ && depth_ == depth_of_rows_ + 2 && fields_.back().type == Field::Type::ids) {
            // The first element that is not an integer makes it another list: an error only in a column that is read.
            Field& field = fields_.back();
            field.type = Field::Type::other;
            field.text = concat("a list with ", what, " at position ", field.ids.size());
        } else if (in_row_ && depth_ == depth_of_rows_ + 2 && fields_.back().type == Field::Type::messages) {
            bad_message("is " + what);
        }
        return true;
    }

    const int depth_of_rows_;
    int depth_ = 0;
    bool in_row_ = false;
    std::vector<Field> fields_;
    bool in_message_ = false;
    Message message_;  // the one that is being read
    Part part_ = Part::none;
    bool has_role_ = false, has_content_ = false;
    Part has_both_ = Part::none;  // what it says twice, each time as a string
    std::string weight_;          // of its loss, "" where it is 1
    bool calls_ = false;          // a tool
};

const std::string kTooDeep = concat("nested more than ", kMaxDepth, " deep; an example is a flat object");

std::string not_an_object(const std::string& what) {
    return what + R"( where an object such as {"input": "...", "output": "..."} must be)";
}

}  // namespace

void read_json_lines(std::istream& in, const RowSink& sink) {
    int64_t line_number = 0;
    for (std::string line; std::getline(in, line);) {
        ++line_number;
        if (line.find_first_not_of(" \t\r") == line.npos) continue;
        const std::string where = concat(sink.file, ":", line_number);
        // Every line gets its own collector: a syntax error leaves one in the middle of something.
        RowCollector collector(0);
        std::vector<Field> fields;
        collector.row = [&](std::vector<Field>&& found) { fields = std::move(found); };
        collector.not_a_row = [&](const std::string& what) { fail(not_an_object(what)); };
        collector.too_deep = [&] { fail(kTooDeep); };
        collector.syntax_error = [&](const std::string& message) {
            fail(SyntaxError(message).problem, "; every line must be one object");
        };
        try {
            nlohmann::json::sax_parse(line, &collector);
        } catch (const Error& error) {
            sink.bad(where, error.what());
            continue;
        }
        sink.row(where, std::move(fields));
    }
}

void read_json_array(std::istream& in, const RowSink& sink) {
    int64_t n_records = 0;
    const auto where = [&] { return concat(sink.file, ": record ", n_records + 1); };
    RowCollector collector(1);
    collector.row = [&](std::vector<Field>&& fields) {
        sink.row(where(), std::move(fields));
        ++n_records;
    };
    collector.not_a_row = [&](const std::string& what) {
        sink.bad(where(), not_an_object(what));
        ++n_records;
    };
    collector.too_deep = [&] { fail(where(), ": ", kTooDeep); };
    collector.syntax_error = [&](const std::string& message) {
        const SyntaxError error(message);
        const std::string line = error.line > 0 ? concat(":", error.line) : "";
        fail(sink.file, line, ": record ", n_records + 1, ", ", error.problem);
    };
    nlohmann::json::sax_parse(in, &collector);
}

}  // namespace llmc
