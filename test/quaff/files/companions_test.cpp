#include "quaff/files/companions.h"

#include <fstream>
#include <set>
#include <string>

#include "test/catch.h"
#include "test/files.h"

using namespace quaff;
using test::error_of;
using test::TempDir;
namespace fs = std::filesystem;

namespace {

std::set<std::string> names_in(const fs::path& folder) {
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder)) names.insert(entry.path().filename().string());
    return names;
}

}  // namespace

TEST_CASE("an adapter gets the tokenizer's files, a merged model all but weights and adapters", "[merge]") {
    const TempDir model, adapter, merged, blobs;
    for (const char* name : {"config.json", "tokenizer_config.json", "merges.txt", "tokenizer.model", "LICENSE",
                             "quaff.json", "adapter_config.json", "model.safetensors", "model.safetensors.index.json"})
        model.write(name, std::string("of ") + name);
    // As Hugging Face's cache has them.
    fs::create_symlink(blobs.write("1234", "of the cache"), model / "tokenizer.json");
    fs::create_directory(model / "vocab.json");

    copy_companions(model.path(), adapter.path(), is_tokenizer_file);
    CHECK(names_in(adapter.path()) ==
          std::set<std::string>{"merges.txt", "tokenizer.json", "tokenizer.model", "tokenizer_config.json"});
    CHECK(test::read(adapter / "merges.txt") == "of merges.txt");
    CHECK_FALSE(fs::is_symlink(adapter / "tokenizer.json"));
    CHECK(test::read(adapter / "tokenizer.json") == "of the cache");

    copy_companions(model.path(), merged.path(), is_companion);
    CHECK(names_in(merged.path()) == std::set<std::string>{"LICENSE", "config.json", "merges.txt", "tokenizer.json",
                                                           "tokenizer.model", "tokenizer_config.json"});
}

TEST_CASE("files that cannot all be copied leave none", "[merge]") {
    const TempDir model, to;
    for (const char* name : {"added_tokens.json", "merges.txt", "tokenizer.json", "vocab.json"}) model.write(name, "x");
    fs::create_directory(to / "tokenizer.json");
    to.write("mine", "");
    CHECK_FALSE(error_of([&] { copy_companions(model.path(), to.path(), is_tokenizer_file); }).empty());
    for (const std::string& name : names_in(to.path())) CHECK((name == "mine" || name == "tokenizer.json"));
}
