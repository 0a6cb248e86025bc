// The model on the CPU.
#include "quaff/model/model.h"

#include "llmc/cpu/operators.h"
#include "quaff/model/model_definitions.h"

namespace quaff {

template class Block<cpu::Device>;
template class Model<cpu::Device>;

}  // namespace quaff
