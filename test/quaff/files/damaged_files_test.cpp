// Files cut short at every length and files with random bytes changed: whoever reads them reads them or throws
// llmc::Error, and never anything else. What was wrong with each kind of damage is tested where the reader is.
#include <nlohmann/json.hpp>
#include <random>

#include "quaff/files/adapter.h"
#include "quaff/files/info.h"
#include "quaff/files/model_files.h"
#include "quaff/files/outliers.h"
#include "test/catch.h"
#include "test/files.h"
#include "test/quaff/tiny_model.h"

using namespace quaff;
using test::error_of;
using test::TempDir;
namespace fs = std::filesystem;

namespace {

// Puts damaged versions in place of `file` and counts how many of them `read` refuses.
template <class Read>
int refused(const fs::path& file, Read&& read) {
    const std::string good = test::read(file);
    const auto refuses = [&](const std::string& content) {
        fs::remove(file);  // some file systems flush a file to disk that is truncated and written again
        std::ofstream(file, std::ios::binary) << content;
        return error_of(read).empty() ? 0 : 1;
    };
    REQUIRE(refuses(good) == 0);
    int count = 0;
    const size_t end = good.find_last_not_of('\n');  // without its last line end a file is still whole
    for (size_t length = 0; length <= end; length += 1 + good.size() / 200) {
        const int cut = refuses(good.substr(0, length));
        INFO("cut to " << length << " of " << good.size() << " bytes");
        CHECK(cut == 1);
        count += cut;
    }
    std::mt19937 random(1234);
    for (int i = 0; i < 400; ++i) {
        std::string damaged = good;
        // Mostly near the start, where the structure is.
        const size_t range = i % 4 == 0 ? good.size() : std::min<size_t>(good.size(), 600);
        for (unsigned flips = 1 + random() % 3; flips > 0; --flips) {
            static constexpr std::string_view kTelling = "0123456789-,:[]{}\"e.\xff\0";
            damaged[random() % range] =
                random() % 2 ? static_cast<char>(random()) : kTelling[random() % kTelling.size()];
        }
        count += refuses(damaged);
    }
    std::ofstream(file, std::ios::binary) << good;
    return count;
}

}  // namespace

TEST_CASE("no damage to a file does more than raise an error", "[damaged]") {
    const TempDir model, work;
    test::write_tiny_model(model, test::tiny_config(), "BF16", true);
    test::write_tiny_adapter(model.path(), work / "adapter");
    const ModelConfig config = read_model_config(model.path());
    OutlierChannels outliers;
    for (const JointLinear& module : all_joint_linears(config)) outliers.channels[module.name] = {0, 3, 5};
    write_outlier_channels(work / "outliers.json", outliers);

    const auto read_model = [&] {
        const ModelFiles checkpoint(model.path());
        std::vector<float> values(11 * 8);
        checkpoint.read("model.embed_tokens.weight", {values.data(), 11, 8});
        inspect(model.path());
    };
    const auto read_adapter = [&] {
        const Adapter adapter(work / "adapter", config);
        inspect(work / "adapter");
    };
    // Every cut is refused; most random changes are, but one of a digit or of a weight can go unnoticed.
    CHECK(refused(model / "config.json", read_model) > 300);
    CHECK(refused(model / "model.safetensors.index.json", read_model) > 300);
    CHECK(refused(model / "model-00001-of-00002.safetensors", read_model) > 300);
    CHECK(refused(work / "adapter/adapter_config.json", read_adapter) > 300);
    CHECK(refused(work / "adapter/adapter_model.safetensors", read_adapter) > 300);
    CHECK(refused(work / "outliers.json", [&] { read_outlier_channels(work / "outliers.json", config); }) > 300);
}
