// Checkpoints of a run while files around it change.
#include "quaff/run/training/checkpointer.h"

#include "quaff/files/checkpoint_folder.h"
#include "quaff/run/training/fingerprints.h"
#include "test/catch.h"
#include "test/quaff/workshop.h"

using namespace quaff;

TEST_CASE("checkpoints hold the fingerprint of the model that the run began with", "[trainer][checkpoint]") {
    const Workshop shop("fingerprint");
    const fs::path config = shop.folder / "model" / "config.json", aside = shop.folder / "config.json";
    const std::string before = fingerprint(ModelFiles(shop.folder / "model"));
    const bool moved = GENERATE(false, true);
    CAPTURE(moved);
    shop.run("run", {"--max-steps", "3", "--save-steps", "1", "--save-total-limit", "0", "--eval-split", "0"}, nullptr,
             false, [&](int64_t step, int64_t, int64_t) {
                 if (step == 1) fs::copy_file(config, aside, fs::copy_options::overwrite_existing);
                 if (step == 1 && moved) fs::remove(config);
                 if (step == 2 && !moved) small::write_text(config, small::read_text(aside) + "\n");
             });
    REQUIRE(list_checkpoints(shop.folder / "run").size() == 3);
    for (const fs::path& checkpoint : list_checkpoints(shop.folder / "run"))
        CHECK(read_state(checkpoint).model == before);
    // The run can be resumed with the model as it was, and with no other.
    if (!moved)
        CHECK_THROWS_WITH(shop.run("run", {"--resume", "--max-steps", "4"}),
                          Catch::Matchers::ContainsSubstring("belongs to another model"));
    fs::rename(aside, config);
    CHECK(shop.run("run", {"--resume", "--max-steps", "4"})["steps"] == 4);
}
