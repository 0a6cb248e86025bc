#include "quaff/cli/exit_status.h"

#include <new>

#include "llmc/core/error.h"

namespace quaff::cli {

Fault current_fault() {
    try {
        throw;
    } catch (const llmc::UsageError& error) {
        return {error.what(), kWrongUsage};
    } catch (const std::bad_alloc&) {
        return {"out of memory; lower --batch-size, or see train_quaff --plan", kFailed};
    } catch (const std::exception& error) {
        return {error.what(), kFailed};
    }
}

}  // namespace quaff::cli
