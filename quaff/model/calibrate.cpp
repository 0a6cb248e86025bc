#include "quaff/model/calibrate.h"

#include "llmc/cpu/operators.h"
#include "quaff/model/calibrate_definitions.h"

namespace quaff {

template OutlierChannels calibrate(const cpu::Device&, const ModelFiles&, std::span<const Batch>,
                                   const CalibrationOptions&);

}  // namespace quaff
