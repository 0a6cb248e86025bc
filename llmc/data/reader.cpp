#include "llmc/data/reader.h"

#include <algorithm>
#include <cctype>
#include <filesystem>

#include "llmc/core/error.h"
#include "llmc/data/rows/row_reader.h"
#include "llmc/io/text_input.h"

namespace llmc {
namespace {

enum class Format { json, comma_separated, tab_separated };

std::string lower_extension(const std::filesystem::path& path) {
    std::string extension = path.extension().string();
    std::ranges::transform(extension, extension.begin(),
                           [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return extension;
}

// Tables of other programs, which cannot be read here.
void refuse_binary_tables(const std::string& path, const std::string& extension) {
    const std::string make_lines =
        concat(".to_json('", std::filesystem::path(path).stem().string(), ".jsonl', orient='records', lines=True)\"");
    require(extension != ".parquet", path,
            ": Parquet is not read; convert it with: python3 -c \"import pandas; "
            "pandas.read_parquet('",
            path, "')", make_lines);
    require(extension != ".arrow" && extension != ".feather", path,
            ": Arrow is not read; convert it with: python3 -c \"import datasets; datasets.Dataset.from_file('", path,
            "')", make_lines);
    require(extension != ".gguf", path, ": a GGUF file holds a model and no examples");
}

// By the name, which may end in .gz behind it. Standard input holds JSON.
Format format_of(const std::string& path) {
    if (path == kStandardInput) return Format::json;
    std::string extension = lower_extension(path);
    if (extension == ".gz") extension = lower_extension(std::filesystem::path(path).stem());
    refuse_binary_tables(path, extension);
    if (extension == ".jsonl" || extension == ".ndjson" || extension == ".json") return Format::json;
    if (extension == ".csv") return Format::comma_separated;
    require(
        extension == ".tsv", path,
        ": the name must end in .jsonl, .ndjson, .json, .csv or .tsv, or in one of them and .gz, so that its format "
        "is known");
    return Format::tab_separated;
}

// Past blanks. Returns the number of lines that end in them.
int64_t skip_blanks(std::istream& in) {
    int64_t lines = 0;
    for (int c = in.peek(); c == ' ' || c == '\t' || c == '\r' || c == '\n'; c = in.peek()) {
        in.get();
        if (c == '\n') ++lines;
    }
    in.clear();
    return lines;
}

void read_rows(std::istream& in, Format format, const RowSink& sink) {
    if (format == Format::comma_separated) return read_delimited(in, ',', sink);
    if (format == Format::tab_separated) return read_delimited(in, '\t', sink);
    const int64_t first_line = 1 + skip_blanks(in);
    const bool array = in.peek() == '[';
    in.clear();
    array ? read_json_array(in, sink, first_line) : read_json_lines(in, sink, first_line);
}

// Which columns of the rows were renamed.
class RenamedColumns {
  public:
    explicit RenamedColumns(const std::vector<ColumnName>& names) : names_(names), seen_(names.size()) {}

    void see(const std::vector<Field>& fields) {
        if (std::ranges::find(seen_, char{0}) == seen_.end()) return;
        for (size_t i = 0; i < names_.size(); ++i)
            seen_[i] |= std::ranges::find(fields, names_[i].theirs, &Field::name) != fields.end();
    }
    void note_missing(ReadingNotes& notes) const {
        for (size_t i = 0; i < names_.size(); ++i)
            if (!seen_[i]) notes.add_missing_column(names_[i].theirs);
    }

  private:
    const std::vector<ColumnName>& names_;
    std::vector<char> seen_;
};

// The data format of the rows. Columns that were renamed are those of a format under their new names, and are not
// recognised: a person has said what they are.
class DataFormatOfFile {
  public:
    explicit DataFormatOfFile(const ReaderOptions& options)
        : reader_(options.records.columns.empty() || options.format.name != kFormatOfColumns
                      ? options.format
                      : FormatOptions{.name = kNoFormat}),
          renames_(reader_.format() != nullptr),
          names_(options.records.columns),
          records_(options.records) {
        if (renames_) records_.columns.clear();
    }

    FormattedRow apply(std::vector<Field> fields, int64_t index) {
        return reader_.apply(renames_ ? renamed(std::move(fields)) : std::move(fields), index);
    }
    const DataFormat* format() const { return reader_.format(); }
    // How to_records() is to take the rows that apply() returns.
    const RecordOptions& record_options() const { return records_; }

  private:
    std::vector<Field> renamed(std::vector<Field> fields) const {
        for (const ColumnName& name : names_) {
            const auto theirs = std::ranges::find(fields, name.theirs, &Field::name);
            if (theirs == fields.end()) continue;
            Field field{name.ours, std::move(theirs->value)};
            std::erase_if(fields, [&](const Field& f) { return f.name == name.ours || f.name == name.theirs; });
            fields.push_back(std::move(field));
        }
        return fields;
    }

    FormatReader reader_;
    const bool renames_;
    const std::vector<ColumnName>& names_;
    RecordOptions records_;
};

}  // namespace

void SkippedRecords::add(std::string reason) {
    ++count;
    if (reasons.size() < kMostListed) reasons.push_back(std::move(reason));
}

void check_readable(const std::string& path) {
    format_of(path);
    std::error_code ignored;
    if (path == kStandardInput || std::filesystem::is_fifo(path, ignored)) return;  // what is read is gone
    TextInput input(path);
}

Reading read_records(const std::string& path, const ReaderOptions& options, const std::function<void(Record&&)>& take) {
    const Format format = format_of(path);
    TextInput input(path);
    Reading reading;
    RenamedColumns renamed(options.records.columns);
    DataFormatOfFile of_data(options);
    int64_t n_rows = 0, n_taken = 0;
    const auto bad = [&](const std::string& where, const std::string& problem) {
        ++n_rows;
        require(!options.strict, where, ": ", problem);
        reading.skipped.add(where + ": " + problem);
    };
    const auto row = [&](Row&& row) {
        renamed.see(row.fields);
        std::vector<Record> records;
        Choices choices;
        try {
            FormattedRow formatted = of_data.apply(std::move(row.fields), n_rows);
            choices = std::move(formatted.choices);
            records = to_records(std::move(formatted.fields), of_data.record_options(), reading.notes);
        } catch (const Error& error) {
            return bad(row.where, error.what());
        }
        for (Record& record : records) {
            record.index = n_rows;
            record.bytes = row.bytes / std::ssize(records);
            record.where = row.where;
            record.choices = choices;
            record.may_be_cut = of_data.format() && of_data.format()->may_be_cut;
            take(std::move(record));
        }
        ++n_rows;
        ++n_taken;
    };
    read_rows(input.stream(), format, {input.name(), row, bad});
    renamed.note_missing(reading.notes);
    require(n_rows > 0, input.name(), " holds no records; it must have at least one example");
    require(n_taken > 0, input.name(),
            n_rows == 1 ? ": its one record cannot be used: "
                        : concat(": none of its ", n_rows, " records can be used; the first: "),
            reading.skipped.count > 0 ? reading.skipped.reasons.front() : "");
    reading.format = of_data.format();
    return reading;
}

}  // namespace llmc
