// The manual page train_quaff(1), made from the option table.
#pragma once

#include <string>

namespace quaff::cli {

std::string man_page();

}  // namespace quaff::cli
