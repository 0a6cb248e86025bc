// Names that other trainers have for what this program does: transformers, TRL and PEFT, Axolotl, LLaMA-Factory,
// llama.cpp. Whoever types one of them is told the name here; none of them is taken as an option, because the meanings
// differ in detail.
#pragma once

#include <span>
#include <string>

#include "llmc/core/named.h"

namespace quaff::cli {

// What serves instead: "--epochs", "--method qlora", "the verb train"; or why nothing does.
using ForeignName = llmc::Named<const char*>;

std::span<const ForeignName> foreign_options();  // without the leading dashes, "-" for "_"
std::span<const ForeignName> foreign_verbs();

// "; here it is --epochs", or ": the optimiser is AdamW", for such a name; else "".
std::string option_here(const std::string& name);
std::string verb_here(const std::string& name);

}  // namespace quaff::cli
