// The checkpoints of a run, out/checkpoint-<step>/: written, checked, found again, set aside.
//
// A checkpoint's last file is manifest.sha256, the checksums of all its other files as sha256sum writes them
// (`sha256sum -c manifest.sha256` checks them too). A checkpoint that was torn or changed afterwards does not match its
// manifest. What holds when a run is killed at any instant stands in folder_commit.h, as numbered invariants.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "quaff/files/folder_commit.h"

namespace quaff {

// Writes out/checkpoint-<step>/ with what `write` puts there and a manifest (invariant 8). Then removes old checkpoints
// of lower steps so that `keep` intact ones are left (invariant 9; 0: removes none). That of step `spared` stays: it is
// one of the `keep`, or a second one beside `keep` = 1. Throws what `write` throws, and Error when the checkpoint cannot
// be put in place; an old one that cannot be removed stays.
void write_checkpoint(const std::filesystem::path& out, int64_t step, int64_t keep,
                      const std::function<void(const std::filesystem::path& folder)>& write, int64_t spared = 0);

// The checkpoints of a run, intact or not, largest step first. Empty when `out` cannot be read.
std::vector<std::filesystem::path> list_checkpoints(const std::filesystem::path& out);

// What is wrong with a checkpoint, in one sentence, or "" when it is intact (invariant 8). Reads all its files; throws
// nothing for what they hold.
std::string find_damage(const std::filesystem::path& checkpoint);

// The newest intact checkpoint of `out` (invariant 10), after invariant 4 has moved back what a killed run had moved
// aside. Calls `report_damage` with a sentence for each damaged one that it passes over. Throws Error when none is
// intact.
std::filesystem::path newest_intact_checkpoint(const std::filesystem::path& out,
                                               const std::function<void(const std::string&)>& report_damage);

// --resume DIR names a checkpoint, a folder that holds state.json, or else the folder of a run.
bool is_checkpoint(const std::filesystem::path& folder);
// The run's folder in either case.
std::filesystem::path run_folder(const std::filesystem::path& resume);
// The checkpoint in either case: DIR itself, which must be intact, or the run's newest intact one. Throws Error when
// there is none.
std::filesystem::path checkpoint_to_resume(const std::filesystem::path& resume,
                                           const std::function<void(const std::string&)>& report_damage);

// Moves what an earlier run left in `out` to out/earlier/, or earlier-2, .. (invariant 11). Returns that folder, or an
// empty path when nothing was left. Throws Error when something cannot be moved.
std::filesystem::path set_earlier_run_aside(const std::filesystem::path& out);

// The same for what a run that goes on from `step` does again: the checkpoints of later steps, and with them the final
// adapter and a copy of the log.
std::filesystem::path set_later_steps_aside(const std::filesystem::path& out, int64_t step);

}  // namespace quaff
