// The page that a training run leaves, and the verb that draws it again.
#include "test/quaff/program.h"

using namespace program;

TEST_CASE("a run leaves a page, and report draws the same one", "[program][report]") {
    const Desk desk;
    const Ending trained = desk.train_golden({"--max-steps", "4", "--eval-steps", "2", "--save-steps", "3"});
    INFO(trained.err);
    REQUIRE(trained.status == 0);
    const fs::path page = fs::path(desk.out) / "report.html";
    const std::string live = test::read(page);
    for (const char* part : {"<figcaption>Loss</figcaption>", "Memory taken; dashed: planned", "<td>4</td>",
                             "<th>learning-rate</th><td>0.001</td>", "train --resume --out ", desk.model.c_str()})
        CHECK(mentions(live, part));

    fs::remove(page);
    const Ending again = desk.run({"report", desk.out});
    INFO(again.err);
    REQUIRE(again.status == 0);
    CHECK(mentions(again.out, "the report on 1 run is in " + page.string()));
    CHECK(test::read(page) == live);

    const std::string both = (desk.folder / "both.html").string();
    fs::create_directories(desk.folder / "second");
    fs::copy(fs::path(desk.out) / "log.jsonl", desk.folder / "second" / "log.jsonl");
    CHECK(desk.run({"report", desk.out, (desk.folder / "second").string(), "--out", both}).status == 0);
    CHECK(mentions(test::read(both), "2 runs"));
}

TEST_CASE("report refuses what is no run, and damages nothing", "[program][report]") {
    const Desk desk;
    const Ending missing = desk.run({"report", desk.folder.path().string()});
    CHECK(missing.status == 1);
    CHECK(mentions(missing.err, "has no log.jsonl"));
    CHECK(desk.run({"report"}).status == 2);
    const fs::path log = desk.folder.write("log.jsonl", "{\"step\": 1, \"loss\": 1, \"learning_rate\": 1}\n{\"st");
    const std::string before = test::read(log);
    const Ending over = desk.run({"report", desk.folder.path().string(), "--out", log.string()});
    CHECK(over.status == 2);
    CHECK(mentions(over.err, "ends in .html"));
    CHECK(test::read(log) == before);
    const Ending torn = desk.run({"report", desk.folder.path().string()});
    CHECK(torn.status == 0);
    CHECK(mentions(torn.err, "ends in the middle of a line, skipped"));
}
