// Folders that appear whole or not at all, and the checkpoints of a run among them: out/checkpoint-<step>/.
//
// A folder is written under a temporary name, every file fsynced, and renamed. A checkpoint's last file is
// manifest.sha256, the checksums of all others as sha256sum writes them (`sha256sum -c manifest.sha256` checks them
// too): a checkpoint that was torn or changed afterwards does not match it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace quaff {

// `target` becomes the folder that `write` fills, complete or not at all, replacing what had the name.
void write_folder(const std::filesystem::path& target,
                  const std::function<void(const std::filesystem::path& folder)>& write);

// Writes out/checkpoint-<step>/ with its manifest, then removes the oldest ones beyond `keep` (0: none).
void write_checkpoint(const std::filesystem::path& out, int64_t step, int64_t keep,
                      const std::function<void(const std::filesystem::path& folder)>& write);

// The checkpoints of a run, newest (largest step) first, intact or not.
std::vector<std::filesystem::path> list_checkpoints(const std::filesystem::path& out);

// Whether a path is named as a checkpoint is: "out/checkpoint-60".
bool is_checkpoint_name(const std::filesystem::path& path);

// What is wrong with a checkpoint: one sentence, or "" when every file matches the manifest.
std::string find_damage(const std::filesystem::path& checkpoint);

// The newest intact checkpoint of `out`; each damaged one that is passed over is told to `passed_over`. Throws when
// there is none.
std::filesystem::path newest_intact_checkpoint(const std::filesystem::path& out,
                                               const std::function<void(const std::string&)>& passed_over);

// Moves the checkpoints, log and options of an earlier run to out/earlier/, so that a resumed run can never mistake
// them for its own. Returns whether there were any.
bool set_earlier_run_aside(const std::filesystem::path& out);

}  // namespace quaff
