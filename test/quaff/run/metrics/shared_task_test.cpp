// The metrics of a task by as many ranks as there are: one in `make test`, several in `make test-mpi`.
#include "llmc/io/file_io.h"
#include "llmc/io/text_input.h"
#include "quaff/cli/verbs.h"
#include "test/catch.h"
#include "test/quaff/workshop.h"
#include "test/ranks.h"

using namespace quaff;

TEST_CASE("ranks share the examples of a task, and rank 0 writes what one process does", "[metrics][ranks]") {
    Comm& ranks = test::ranks();
    const fs::path folder = test::fresh_folder("shared_task_" + std::to_string(ranks.rank()));
    std::string rows;
    for (int i = 0; i < 7; ++i)
        rows += "{\"input\": \"What is the sum of " + std::to_string(i) + " and 5? \", \"output\": \"" +
                std::to_string(i + 5) + "\"}\n";
    test::write_text(folder / "data.jsonl", rows);
    const auto evaluate = [&](Comm& comm, const std::string& name) {
        cpu::Device device;
        device.threads = 1;
        device.comm = &comm;
        Terminal terminal(nullptr, /*quiet=*/true);
        const cli::CommandLine line = cli::parse(
            {"eval", "--model", "dev/demo/model", "--data", (folder / "data.jsonl").string(), "--metrics",
             "exact_match,numeric_accuracy,rouge_l", "--predictions", (folder / name).string(), "--batch-size", "2"});
        REQUIRE(cli::run_verb(line, terminal, device) == 0);
    };
    evaluate(ranks, "together.jsonl");
    CHECK(fs::exists(folder / "together.jsonl") == ranks.is_first());
    if (!ranks.is_first()) return;
    evaluate(single_process(), "alone.jsonl");
    CHECK(read_file(folder / "together.jsonl") == read_file(folder / "alone.jsonl"));
    CHECK(read_lines((folder / "alone.jsonl").string()).size() == 7);
}
