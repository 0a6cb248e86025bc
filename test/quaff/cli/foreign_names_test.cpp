#include "quaff/cli/foreign_names.h"

#include <algorithm>
#include <regex>
#include <set>

#include "quaff/cli/option_table.h"
#include "test/catch.h"
#include "test/quaff/cli/command_line.h"

using namespace quaff;
using namespace quaff::cli;
using namespace command_line;

TEST_CASE("names of other trainers are answered with the name here", "[options]") {
    CHECK(mentions(
        complaint({"--num_train_epochs", "3"}),
        "there is no option --num_train_epochs; here it is --epochs (train_quaff train --help-all lists all)"));
    CHECK(mentions(complaint({"--per_device_train_batch_size=4"}), "; here it is --batch-size"));
    CHECK(mentions(complaint({"--load-in-4bit"}), "; here it is --method qlora"));
    CHECK(mentions(complaint({"--optim", "adamw_torch"}), "there is no option --optim: the optimiser is AdamW"));
    CHECK(mentions(complaint({"generate", "-n", "20"}), "there is no option -n; here it is --max-new-tokens"));
    CHECK(mentions(complaint({"--config", write_file("other.toml", "base_model = \"x\"\n")}),
                   "there is no option base_model; here it is --model"));
    CHECK(mentions(complaint({"finetune"}), "there is no verb finetune; here it is the verb train"));
    CHECK(mentions(complaint({"inference", "--prompt", "x"}), "the verb generate"));
    CHECK(option_here("xyzzy").empty());
}

TEST_CASE("the table of other trainers' names names what is there", "[options]") {
    CommandLine line;
    std::set<std::string> options, verbs;
    for (const Row& row : option_table(line)) options.insert(row.name);
    for (const VerbInfo& verb : kVerbs) verbs.insert(verb.name);

    std::set<std::string> seen;
    const std::regex option("--([a-z0-9-]+)");
    for (const ForeignName& foreign : foreign_options()) {
        CAPTURE(foreign.name, foreign.value);
        CHECK(seen.insert(foreign.name).second);
        CHECK_FALSE(options.contains(foreign.name));
        const std::string text = foreign.value;
        for (auto at = std::sregex_iterator(text.begin(), text.end(), option); at != std::sregex_iterator(); ++at)
            CHECK(options.contains((*at)[1]));
    }
    for (const ForeignName& foreign : foreign_verbs()) {
        CAPTURE(foreign.name, foreign.value);
        CHECK(seen.insert(std::string("verb ") + foreign.name).second);
        CHECK_FALSE(verbs.contains(foreign.name));
        CHECK(verbs.contains(std::string(foreign.value).substr(std::string("the verb ").size())));
    }
}
