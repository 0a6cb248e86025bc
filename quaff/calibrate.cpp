#include "quaff/calibrate.h"

#include "llmc/cpu/operators.h"
#include "quaff/calibrate_passes.h"

namespace quaff {

template OutlierChannels calibrate(const cpu::Device&, const CheckpointReader&, std::span<const Batch>,
                                   const CalibrationOptions&);

}  // namespace quaff
