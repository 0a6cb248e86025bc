#include "quaff/files/hub_cache.h"

#include "llmc/core/error.h"
#include "test/catch.h"
#include "test/environment.h"
#include "test/files.h"

using namespace quaff;
using Catch::Matchers::ContainsSubstring;
using test::error_of;
using test::Variable;

TEST_CASE("a model is found in the cache by its name on the hub", "[hub]") {
    const test::TempDir cache;
    const auto folder = cache / "models--org--a-model.2";
    CHECK(find_in_hub_cache(cache.path(), "org/a-model.2").empty());
    std::filesystem::create_directories(folder / "refs");
    CHECK_THAT(error_of([&] { find_in_hub_cache(cache.path(), "org/a-model.2"); }),
               ContainsSubstring("lacks the branch main of org/a-model.2; fetch it anew: hf download org/a-model.2, or "
                                 "scripts/fetch_model.sh org/a-model.2"));
    test::write_text(folder / "refs" / "main", "0123abc\n");
    CHECK_THAT(error_of([&] { find_in_hub_cache(cache.path(), "org/a-model.2"); }),
               ContainsSubstring("0123abc") && ContainsSubstring("is not there"));
    std::filesystem::create_directories(folder / "snapshots" / "0123abc");
    CHECK(find_in_hub_cache(cache.path(), "org/a-model.2") == folder / "snapshots" / "0123abc");
    CHECK(find_in_hub_cache("", "org/a-model.2").empty());

    test::write_text(folder / "refs" / "main", "../../elsewhere");
    CHECK_THAT(error_of([&] { find_in_hub_cache(cache.path(), "org/a-model.2"); }), ContainsSubstring("no commit"));
    for (const char* name :
         {"org", "/a-model.2", "org/", "org/../x", "../org", "org/a/b", "./a-model.2", "o--rg/a", "o rg/a"})
        CHECK(find_in_hub_cache(cache.path(), name).empty());
}

TEST_CASE("the cache is where Hugging Face's tools have it", "[hub]") {
    const Variable hub("HF_HUB_CACHE", ""), hf("HF_HOME", ""), xdg("XDG_CACHE_HOME", ""), home("HOME", "/home/u");
    CHECK(hub_cache() == "/home/u/.cache/huggingface/hub");
    const Variable with_xdg("XDG_CACHE_HOME", "/x");
    CHECK(hub_cache() == "/x/huggingface/hub");
    const Variable with_home("HF_HOME", "/h");
    CHECK(hub_cache() == "/h/hub");
    const Variable with_hub("HF_HUB_CACHE", "/c");
    CHECK(hub_cache() == "/c");
}
