// Completion of the command line in a shell, made from the option table: verbs, the options of the verb at hand, the
// words that an option takes, files and folders.
#pragma once

#include <string>

namespace quaff::cli {

std::string bash_completion();
std::string zsh_completion();

}  // namespace quaff::cli
