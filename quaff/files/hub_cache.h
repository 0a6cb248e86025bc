// Models that Hugging Face's tools have fetched before, found by the name they have on the hub: "org/name".
//
//   CACHE/models--org--name/refs/main              the commit that the branch was at
//   CACHE/models--org--name/snapshots/<commit>/    the model's folder
//
// CACHE is $HF_HUB_CACHE, else $HF_HOME/hub, else $XDG_CACHE_HOME/huggingface/hub, else ~/.cache/huggingface/hub, as
// those tools have it (huggingface_hub, "Understand caching"). Nothing is fetched, and nothing there is executed.
#pragma once

#include <filesystem>
#include <string>

namespace quaff {

// Where the cache is; "" if nothing tells.
std::filesystem::path hub_cache();

// The folder of the model in `cache`, or "" if `name` is not one of the hub or the model is not there. Throws Error for
// one that is there in part: no branch main, or a commit without its files.
std::filesystem::path find_in_hub_cache(const std::filesystem::path& cache, const std::string& name);

}  // namespace quaff
