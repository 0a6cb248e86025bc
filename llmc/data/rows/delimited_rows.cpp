// Rows of comma- or tab-separated files, a character at a time: the only state is whether a quote is open.
#include <streambuf>

#include "llmc/core/bytes.h"
#include "llmc/core/error.h"
#include "llmc/core/utf8.h"
#include "llmc/core/words.h"
#include "llmc/data/rows/row_reader.h"

namespace llmc {
namespace {

// Splits a stream into rows of cells: RFC 4180's grammar as a loop over characters.
class CellReader {
  public:
    CellReader(std::istream& in, char delimiter, const std::string& file)
        : in_(*in.rdbuf()), delimiter_(delimiter), file_(file) {}

    // False at the end of the file. Rows without a single character are skipped.
    bool next(std::vector<std::string>& cells) {
        while (true) {
            cells.assign(1, "");
            problem_.clear();
            row_line_ = line_;
            bytes_ = 0;
            if (!read_row(cells)) return false;
            if (!blank_) return true;
        }
    }

    int64_t line() const { return row_line_; }               // the row's first line
    const std::string& problem() const { return problem_; }  // what is wrong with the row, or ""

  private:
    using Traits = std::char_traits<char>;
    static constexpr int kEnd = Traits::eof();

    bool read_row(std::vector<std::string>& cells) {
        bool after_quotes = false;  // the cell's closing quote has been read
        blank_ = true;
        for (int c = in_.sbumpc();; c = in_.sbumpc()) {
            if (c == kEnd) return !blank_;
            if (c == '\r' && in_.sgetc() == '\n') c = in_.sbumpc();
            if (c == '\n' || c == '\r') {
                ++line_;
                return true;
            }
            blank_ = false;
            count(c == delimiter_ ? sizeof(std::string) : 1);
            if (c == delimiter_) {
                cells.emplace_back();
                after_quotes = false;
            } else if (after_quotes) {
                if (problem_.empty())
                    problem_ = concat("text after the closing quote of cell ", cells.size(),
                                      "; a quote inside a quoted cell is written twice");
            } else if (c == '"' && cells.back().empty()) {
                read_quoted(cells.back());
                after_quotes = true;
            } else {
                cells.back().push_back(Traits::to_char_type(c));
            }
        }
    }

    // Reads a quoted cell up to its closing quote; the opening one has been read.
    void read_quoted(std::string& cell) {
        const int64_t opened = line_;
        for (int c = in_.sbumpc(); c != kEnd; c = in_.sbumpc()) {
            if (c == '"') {
                if (in_.sgetc() != '"') return;
                in_.sbumpc();
            }
            if (c == '\n') ++line_;
            count(1);
            cell.push_back(Traits::to_char_type(c));
        }
        fail(file_, ":", opened,
             ": a cell starts with a quote that is never closed; a quote inside a quoted cell is written twice");
    }

    void count(size_t bytes) {
        bytes_ += static_cast<int64_t>(bytes);
        if (bytes_ > kMostRowBytes)
            fail(file_, ":", row_line_, ": the row is longer than ", format_bytes(kMostRowBytes),
                 "; is a quote missing that closes a cell?");
    }

    std::streambuf& in_;
    const char delimiter_;
    const std::string& file_;
    int64_t line_ = 1, row_line_ = 1;
    int64_t bytes_ = 0;  // that the row takes
    bool blank_ = true;
    std::string problem_;
};

}  // namespace

void read_delimited(std::istream& in, char delimiter, const RowSink& sink) {
    CellReader reader(in, delimiter, sink.file);
    std::vector<std::string> header, cells;
    if (!reader.next(header)) return;
    require(reader.problem().empty(), sink.file, ":", reader.line(), ": ", reader.problem());
    for (std::string& name : header) {
        require(find_invalid_utf8(name) == name.npos, sink.file, ":", reader.line(),
                ": the header is not UTF-8; convert the file with iconv");
        name = std::string(trim(name));
    }

    while (reader.next(cells)) {
        Row row{.where = concat(sink.file, ":", reader.line()), .fields = std::vector<Field>(cells.size())};
        std::string problem = reader.problem();
        if (problem.empty() && cells.size() != header.size())
            problem = concat(cells.size(), " cells, but the header names ", header.size(),
                             " columns; quote every cell that contains ", delimiter == ',' ? "a comma" : "a tab",
                             " or a line break");
        for (size_t i = 0; i < cells.size() && problem.empty(); ++i) {
            if (find_invalid_utf8(cells[i]) != std::string::npos)
                problem = concat("column ", in_quotes(header[i]), " is not UTF-8; convert the file with iconv");
            row.bytes += std::ssize(cells[i]);
            row.fields[i] = {header[i], std::move(cells[i])};
        }
        if (problem.empty())
            sink.row(std::move(row));
        else
            sink.bad(row.where, problem);
    }
}

}  // namespace llmc
