// Folders that appear whole or not at all, and the checkpoints of a run among them: out/checkpoint-<step>/.
//
// A folder is written under a temporary name, every file fsynced, and renamed; where it replaces another, the two names
// are exchanged in one system call, or, on file systems that cannot, swapped by two renames of which a run that is
// killed between them is healed later. A checkpoint's last file is
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
// The same where nothing but an empty folder may have the name, not even when `write` is done.
void write_new_folder(const std::filesystem::path& target,
                      const std::function<void(const std::filesystem::path& folder)>& write);

// The step of it that puts the finished folder in place; without `may_exchange` as on a file system that cannot
// exchange two names.
void replace_folder(const std::filesystem::path& temporary, const std::filesystem::path& target,
                    bool may_exchange = true);

// Writes out/checkpoint-<step>/ with its manifest, then removes the oldest ones of lower steps so that `keep` intact
// ones are left (0: removes none). Damaged ones do not count.
void write_checkpoint(const std::filesystem::path& out, int64_t step, int64_t keep,
                      const std::function<void(const std::filesystem::path& folder)>& write);

// Removes what runs that were killed while they wrote in `out` left there under temporary names. For who holds the
// folder's lock: files of this process and of processes that are gone are nobody's then.
void remove_leftovers(const std::filesystem::path& out);

// The checkpoints of a run, newest (largest step) first, intact or not.
std::vector<std::filesystem::path> list_checkpoints(const std::filesystem::path& out);

// What is wrong with a checkpoint: one sentence, or "" when every file matches the manifest.
std::string find_damage(const std::filesystem::path& checkpoint);

// The newest intact checkpoint of `out`; each damaged one that is passed over is told to `passed_over`. Throws when
// there is none.
std::filesystem::path newest_intact_checkpoint(const std::filesystem::path& out,
                                               const std::function<void(const std::string&)>& passed_over);

// What --resume DIR names: a folder that holds state.json is a checkpoint, any other is a run's folder to search.
bool is_checkpoint(const std::filesystem::path& folder);
// The run's folder in either case.
std::filesystem::path run_folder(const std::filesystem::path& resume);
// The checkpoint in either case, intact.
std::filesystem::path checkpoint_to_resume(const std::filesystem::path& resume,
                                           const std::function<void(const std::string&)>& passed_over);

// Moves what an earlier run left in `out` to out/earlier/ (or earlier-2, ...: nothing is overwritten), so that a run
// that begins can never mistake it for its own. Returns that folder, or an empty path when there was nothing.
std::filesystem::path set_earlier_run_aside(const std::filesystem::path& out);

// The same for what a run that goes on from `step` is about to do again: the checkpoints above it, and with them the
// final adapter and a copy of the log.
std::filesystem::path set_later_steps_aside(const std::filesystem::path& out, int64_t step);

}  // namespace quaff
