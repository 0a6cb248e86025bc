#include "quaff/files/companions.h"

#include <algorithm>
#include <string>
#include <system_error>
#include <vector>

#include "llmc/io/file_io.h"
#include "quaff/files/adapter_config.h"
#include "quaff/files/model_files.h"
#include "quaff/files/quaff_json.h"

namespace quaff {

namespace fs = std::filesystem;

bool is_companion(const fs::path& file) {
    const std::string name = file.filename().string();
    for (const char* other : {kIndex, kAdapterConfig, kQuaffJson}) {
        if (name == other) return false;
    }
    for (const char* extension : {".json", ".txt", ".model", ".jinja", ".py"}) {
        if (file.extension() == extension) return true;
    }
    return name == "LICENSE" || name == "NOTICE";
}

bool is_tokenizer_file(const fs::path& file) {
    constexpr const char* kNames[] = {"tokenizer.json",    "tokenizer_config.json",
                                      "tokenizer.model",   "special_tokens_map.json",
                                      "added_tokens.json", "vocab.json",
                                      "merges.txt",        "chat_template.jinja"};
    return std::ranges::find(kNames, file.filename()) != std::end(kNames);
}

void copy_companions(const fs::path& from, const fs::path& to, bool (*wanted)(const fs::path& file)) {
    std::vector<fs::path> copies;
    try {
        for (const fs::directory_entry& entry : fs::directory_iterator(from)) {
            if (!entry.is_regular_file() || !wanted(entry.path())) continue;
            const std::string content = read_file(entry.path());
            copies.push_back(to / entry.path().filename());
            write_file_atomically(copies.back(), content);
        }
    } catch (...) {
        std::error_code ignored;
        for (const fs::path& copy : copies) fs::remove(copy, ignored);
        throw;
    }
}

}  // namespace quaff
