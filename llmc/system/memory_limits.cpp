#include "llmc/system/memory_limits.h"

#include <malloc.h>
#include <omp.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <limits>
#include <new>
#include <optional>
#include <sstream>

#include "llmc/core/program.h"
#include "llmc/system/control_groups.h"

namespace llmc {
namespace {

constexpr int64_t kUnlimited = std::numeric_limits<int64_t>::max();

// The number after `key` in files of "key value" lines: /proc/meminfo, /proc/self/status, memory.stat.
std::optional<int64_t> read_field(const std::string& path, const std::string& key) {
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
        if (line.rfind(key, 0) != 0) continue;
        std::istringstream rest(line.substr(key.size()));
        int64_t number = 0;
        if (rest >> number) return number;
    }
    return std::nullopt;
}

// What one control group leaves. Page cache counts as used there but is given back under pressure.
int64_t control_group_room(const std::string& folder, const char* limit_file, const char* usage_file,
                           const char* cache_key) {
    const auto limit = read_number(folder + "/" + limit_file);
    const auto usage = read_number(folder + "/" + usage_file);
    if (!limit || !usage) return kUnlimited;
    const int64_t cache = read_field(folder + "/memory.stat", cache_key).value_or(0);
    return std::max<int64_t>(0, *limit - std::max<int64_t>(0, *usage - cache));
}

int64_t control_groups_room(const std::string& root) {
    int64_t room = kUnlimited;
    for (const auto& [folder, v2] : control_groups("memory", root))
        room = std::min(room, v2 ? control_group_room(folder, "memory.max", "memory.current", "inactive_file ")
                                 : control_group_room(folder, "memory.limit_in_bytes", "memory.usage_in_bytes",
                                                      "total_inactive_file "));
    return room;
}

// Must not allocate.
void on_no_memory() {
    if (omp_get_level() == 0) throw std::bad_alloc();
    for (const char* part : {program().name, ": out of memory; ", program().save_memory, "\n"})
        (void)!::write(STDERR_FILENO, part, std::strlen(part));
    ::_exit(1);
}

}  // namespace

void give_back_freed_memory() {
    ::malloc_trim(0);
}

void prepare_for_little_memory() {
    std::set_new_handler(on_no_memory);
    if (address_space_room() != kUnlimited) ::mallopt(M_ARENA_MAX, 1);
}

int64_t address_space_room(const std::string& root) {
    rlimit limit{};
    if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return kUnlimited;
    const int64_t mapped = read_field(root + "/proc/self/status", "VmSize:").value_or(0) * 1024;
    return std::max<int64_t>(0, static_cast<int64_t>(std::min<rlim_t>(limit.rlim_cur, kUnlimited)) - mapped);
}

int64_t available_memory(const std::string& root) {
    const auto kibibytes = read_field(root + "/proc/meminfo", "MemAvailable:");
    const int64_t machine = kibibytes ? *kibibytes * 1024 : kUnlimited;
    return std::min({machine, control_groups_room(root), address_space_room(root)});
}

int64_t peak_resident_memory() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return static_cast<int64_t>(usage.ru_maxrss) * 1024;
}

}  // namespace llmc
