#include "llmc/system/loaded_library.h"

#include <dlfcn.h>

#include "llmc/core/bytes.h"
#include "llmc/core/error.h"
#include "llmc/system/memory_limits.h"

namespace llmc {
namespace {

// More than any library takes, including what it allocates while it loads: cuBLASLt's constructors do not check their
// allocations and end in SIGSEGV.
constexpr int64_t kRoom = int64_t{1} << 30;

}  // namespace

std::string why_no_room(const std::string& library) {
    const int64_t room = address_space_room();
    if (room >= kRoom) return "";
    return concat(library, " may need ", format_bytes(kRoom), " of address space, but RLIMIT_AS leaves ",
                  format_bytes(room), "; raise it (ulimit -v)");
}

void* find_function(const std::string& library, const char* name, const std::string& remedy) {
    void* handle = ::dlopen(library.c_str(), RTLD_NOW | RTLD_NOLOAD);
    if (handle == nullptr) {
        const std::string no_room = why_no_room(library);
        require(no_room.empty(), no_room);
        handle = ::dlopen(library.c_str(), RTLD_NOW);
    }
    const char* reason = handle != nullptr ? "" : ::dlerror();
    require(handle != nullptr, library, " cannot be loaded (", reason, "); ", remedy);
    void* function = ::dlsym(handle, name);
    require(function != nullptr, library, " has no function ", name,
            "; this program was built for another version of it");
    return function;
}

}  // namespace llmc
