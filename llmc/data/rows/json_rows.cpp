// JSON rows: the event parser does not recurse, and only the row that is being read is kept, or a batch of lines, so
// that neither the length of a file nor its depth costs memory or stack.
#include <algorithm>
#include <exception>
#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>

#include "llmc/core/bytes.h"
#include "llmc/core/error.h"
#include "llmc/data/rows/row_reader.h"
#include "llmc/io/text_input.h"

namespace llmc {
namespace {

// Of the containers around a value, row and array included. Tools and their schemas nest some ten deep.
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

std::string not_an_object(const std::string& what) {
    return what + R"( where an object such as {"input": "...", "output": "..."} must be)";
}

// Builds the fields of the objects at `depth_of_rows` (0: the value itself, 1: the elements of an array).
class RowBuilder {
  public:
    std::function<void(std::vector<Field>&&, int64_t bytes)> row;  // an object is complete
    std::function<void(const std::string& problem)> bad_row;       // one that cannot be used, or that is no object
    std::function<void(const std::string& problem)> hopeless;      // must throw: what follows cannot be read either
    std::function<void(const std::string&)> syntax_error;          // must throw

    explicit RowBuilder(int depth_of_rows) : depth_of_rows_(depth_of_rows) {}

    // The interface that sax_parse of nlohmann-json calls.
    bool null() { return add(nullptr); }
    bool boolean(bool value) { return add(value); }
    bool number_integer(int64_t value) { return add(value); }
    bool number_unsigned(uint64_t value) { return add(value); }
    bool number_float(double value, const std::string&) { return add(value); }
    bool string(std::string& text) {
        count(std::ssize(text));
        return add(std::move(text));
    }
    bool binary(Json::binary_t&) { return true; }
    bool key(std::string& name) {
        count(std::ssize(name));
        if (!in_row_) return true;
        if (tree_.is_open()) {
            tree_.name(std::move(name));
        } else {
            fields_.push_back({std::move(name), nullptr});
            tree_.begin(fields_.back().value);
        }
        return true;
    }
    bool start_object(size_t) {
        if (depth_ != depth_of_rows_) return open(Json::object());
        in_row_ = true;
        fields_.clear();
        problem_.clear();
        bytes_ = 0;
        return descend();
    }
    bool end_object() { return close(); }
    bool start_array(size_t) {
        if (!in_row_ && depth_ == depth_of_rows_) bad_row(not_an_object("a list"));
        return open(Json::array());
    }
    bool end_array() { return close(); }
    bool parse_error(size_t, const std::string&, const nlohmann::json::exception& error) {
        syntax_error(error.what());
        return false;
    }

  private:
    bool add(Json value) {
        count(sizeof(Json));
        if (in_row_)
            tree_.add(std::move(value));
        else if (depth_ == depth_of_rows_)
            bad_row(not_an_object(kind_of(value)));
        return true;
    }

    bool open(Json&& empty) {
        count(sizeof(Json));
        if (in_row_) tree_.open(std::move(empty));
        return descend();
    }

    bool descend() {
        if (++depth_ > kMaxDepth) hopeless(concat("nested more than ", kMaxDepth, " deep"));
        return true;
    }

    bool close() {
        --depth_;
        if (!in_row_) return true;
        if (tree_.is_open()) {
            const std::string twice = tree_.close();
            if (!twice.empty() && problem_.empty())
                problem_ = concat("the field ", in_quotes(twice), " appears twice in an object of ",
                                  in_quotes(fields_.back().name), "; keep one of them");
            return true;
        }
        in_row_ = false;
        problem_.empty() ? row(std::move(fields_), bytes_) : bad_row(problem_);
        return true;
    }

    void count(int64_t bytes) {
        bytes_ += bytes;
        if (bytes_ > kMostRowBytes)
            hopeless(concat("takes more than ", format_bytes(kMostRowBytes), " of memory; an example is far shorter"));
    }

    const int depth_of_rows_;
    int depth_ = 0;
    bool in_row_ = false;
    std::vector<Field> fields_;
    OrderedTree tree_;  // of the last field
    std::string problem_;
    int64_t bytes_ = 0;
};

// Lines are parsed in batches of this many bytes, by all threads.
constexpr int64_t kBatchBytes = int64_t{1} << 20;

struct Line {
    std::string text;
    Row row;
    std::string problem;  // "" if it is a row
};

// The next lines that are not blank; none at the end.
std::vector<Line> next_lines(TextLines& lines) {
    std::vector<Line> batch;
    int64_t bytes = 0;
    for (std::string text; bytes < kBatchBytes && lines.next(text);) {
        if (text.find_first_not_of(" \t\r") == text.npos) continue;
        bytes += std::ssize(text);
        batch.push_back({std::exchange(text, ""), {.where = lines.where(), .fields = {}}, ""});
    }
    return batch;
}

void parse(Line& line) {
    RowBuilder builder(0);
    builder.row = [&](std::vector<Field>&& fields, int64_t bytes) {
        line.row.fields = std::move(fields);
        line.row.bytes = bytes;
    };
    builder.bad_row = builder.hopeless = [](const std::string& problem) { fail(problem); };
    builder.syntax_error = [](const std::string& message) {
        fail(SyntaxError(message).problem, "; every line must be one object");
    };
    try {
        nlohmann::json::sax_parse(line.text, &builder);
    } catch (const Error& error) {
        line.problem = error.what();
    }
    line.text = {};
}

void parse_all(std::vector<Line>& lines) {
    std::exception_ptr failure;  // must not leave the parallel region
#pragma omp parallel for schedule(dynamic, 4)
    for (size_t i = 0; i < lines.size(); ++i) {
        try {
            parse(lines[i]);
        } catch (...) {
#pragma omp critical(llmc_data_json_rows)
            failure = std::current_exception();
        }
    }
    if (failure) std::rethrow_exception(failure);
}

}  // namespace

void read_json_lines(std::istream& in, const RowSink& sink, int64_t first_line) {
    TextLines text(in, sink.file, first_line, kMostRowBytes);
    for (std::vector<Line> lines = next_lines(text); !lines.empty(); lines = next_lines(text)) {
        parse_all(lines);
        for (Line& line : lines)
            line.problem.empty() ? sink.row(std::move(line.row)) : sink.bad(line.row.where, line.problem);
    }
}

void read_json_array(std::istream& in, const RowSink& sink, int64_t first_line) {
    int64_t n_records = 0;
    const auto where = [&] { return concat(sink.file, ": record ", n_records + 1); };
    RowBuilder builder(1);
    builder.row = [&](std::vector<Field>&& fields, int64_t bytes) {
        sink.row({where(), std::move(fields), bytes});
        ++n_records;
    };
    builder.bad_row = [&](const std::string& problem) {
        sink.bad(where(), problem);
        ++n_records;
    };
    builder.hopeless = [&](const std::string& problem) { fail(where(), ": ", problem); };
    builder.syntax_error = [&](const std::string& message) {
        const SyntaxError error(message);
        const std::string line = error.line > 0 ? concat(":", error.line + first_line - 1) : "";
        fail(sink.file, line, ": record ", n_records + 1, ", ", error.problem);
    };
    nlohmann::json::sax_parse(in, &builder);
}

}  // namespace llmc
