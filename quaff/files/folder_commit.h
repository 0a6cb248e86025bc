// Folders that appear whole or not at all: how an adapter, a checkpoint or a merged model is put on disk.
//
// Readers use the name TARGET. Two more names may stand beside it:
//
//   .TARGET.PID-N.tmp   temporary: the folder that process PID is filling
//   .TARGET.old         replaced: what TARGET was, for the moment between two renames
//
// The process may be killed and the power may fail at any instant. These invariants hold all the same; in brackets, the
// functions that make each transition:
//
//   1. TARGET is a whole folder or does not exist. A new folder is filled under its temporary name, where only its user
//      may enter it; whoever writes a file fsyncs it. Then the folder is fsynced, and only then renamed to TARGET. The
//      folder around TARGET is fsynced last. [fill_folder, put_in_place]
//   2. A folder replaces another by an exchange of their names in one system call. The temporary name then holds the
//      old folder, which is removed. [exchange_folders]
//   3. Where the file system cannot exchange names, two renames do it: TARGET to .TARGET.old, temporary to TARGET. Only
//      then .TARGET.old is removed, so one of the two is always whole. [replace_by_two_renames]
//   4. .TARGET.old counts only while TARGET is missing. It becomes TARGET again before TARGET is replaced, and before
//      checkpoints are searched. [restore_folder, restore_folders]
//   5. A temporary folder of a living process stays. Whoever writes TARGET removes those of TARGET whose process has
//      ended. Whoever holds the DirectoryLock of the folder around it removes those of every name, and also those that
//      bear its own process number, which another process had before. [make_temporary, remove_leftovers]
//   6. A write that fails leaves TARGET as it was and removes its temporary folder. [fill_folder]
//   7. A folder that must be new replaces nothing but an empty folder: no rename replaces one that holds something.
//      [write_new_folder]
//
// So a kill between any two steps is healed:
//
//   killed                      leaves                                   healed by
//   while the folder is filled  TARGET, a torn temporary folder          5: the temporary folder goes
//   after the exchange          the new TARGET, the old as temporary     5: the same
//   between the two renames     .TARGET.old, a whole temporary folder    4: .TARGET.old becomes TARGET; 5
//   after the second rename     the new TARGET, .TARGET.old              3: the next two renames remove .TARGET.old
//
// Checkpoints, out/checkpoint-<step>/, are such folders (checkpoint_folder.h). For them, besides:
//
//   8. A checkpoint is intact when it has a manifest and every file that the manifest names has the checksum given
//      there. The manifest is the last file written and the first one removed, so neither a torn nor a half-removed
//      checkpoint is intact. [write_checkpoint, remove_checkpoint; find_damage]
//   9. Old checkpoints go after the new one is in place: those of lower steps that have `keep` intact ones above them,
//      the new one included. Damaged ones do not count. A spared one stays, and is one of the `keep` if it is intact
//      and `keep` is more than 1. [remove_old_checkpoints]
//  10. A run goes on from the newest intact checkpoint. Damaged ones are reported and stay.
//      [newest_intact_checkpoint]
//  11. A run that begins, or goes back to an earlier step, moves what it could mistake for its own into a folder that
//      did not exist before. It removes and overwrites nothing. [set_earlier_run_aside, set_later_steps_aside]
#pragma once

#include <filesystem>
#include <functional>
#include <string_view>

namespace quaff {

// Makes `target` the folder that `write` fills, with its parents, replacing what had the name (invariants 1 to 6).
// It survives a power failure from then on. Throws what `write` throws, and Error when it cannot be put in place.
void write_folder(const std::filesystem::path& target,
                  const std::function<void(const std::filesystem::path& folder)>& write);

// The same for a folder that must be new (invariant 7). Throws Error when something has the name by then.
void write_new_folder(const std::filesystem::path& target,
                      const std::function<void(const std::filesystem::path& folder)>& write);

// The step of write_folder that gives the finished folder its name (invariants 1 to 4). Without `may_exchange` it does
// as on a file system that cannot exchange two names. Throws Error and leaves `target` as it was when that fails.
void replace_folder(const std::filesystem::path& temporary, const std::filesystem::path& target,
                    bool may_exchange = true);

// Moves .TARGET.old back for each TARGET in `parent` that is missing and starts with `prefix` (invariant 4). Throws
// Error when one cannot be moved.
void restore_folders(const std::filesystem::path& parent, std::string_view prefix);

// Removes the temporary files and folders that killed processes left in `parent` (invariant 5). Only for the holder of
// the folder's DirectoryLock. What cannot be removed stays.
void remove_leftovers(const std::filesystem::path& parent);

}  // namespace quaff
