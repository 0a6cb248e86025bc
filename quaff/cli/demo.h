// Where the demo is: the model and the data of a run that names neither.
#pragma once

#include <string>

namespace quaff::cli {

// dev/demo of the working directory, as in the project's sources; else share/train_quaff/demo beside the program's
// bin/, where `make install` puts it; else dev/demo, which is not there.
std::string demo_folder();

}  // namespace quaff::cli
