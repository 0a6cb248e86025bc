// Where the demo is: the model and the data of a run that names neither.
#pragma once

#include <filesystem>
#include <string>

namespace quaff::cli {

// dev/demo of the working directory, as in the project's sources; else share/train_quaff/demo beside the program's
// bin/, where `make install` puts it; else dev/demo, which is not there.
std::string demo_folder();
// The same for a program of that path.
std::string demo_folder(const std::filesystem::path& program);

}  // namespace quaff::cli
