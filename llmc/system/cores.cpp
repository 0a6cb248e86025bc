#include "llmc/system/cores.h"

#include <omp.h>
#include <sched.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <set>
#include <string>

#include "llmc/core/error.h"
#include "llmc/system/control_groups.h"

namespace llmc {

std::vector<int> cores_of(const std::vector<int>& cpus, const std::filesystem::path& topology) {
    std::set<int> cores;
    for (const int cpu : cpus) {
        // "0,64" or "0-1": the threads of this core, ascending.
        std::ifstream siblings(topology / ("cpu" + std::to_string(cpu)) / "topology/thread_siblings_list");
        int first = cpu;
        if (!(siblings >> first) || first < 0) first = cpu;
        cores.insert(first);
    }
    return {cores.begin(), cores.end()};
}

std::vector<int> usable_cpus() {
    std::vector<int> cpus;
    if (omp_get_proc_bind() != omp_proc_bind_false) {
        for (int place = 0; place < omp_get_num_places(); place++) {
            std::vector<int> there(static_cast<size_t>(omp_get_place_num_procs(place)));
            omp_get_place_proc_ids(place, there.data());
            cpus.insert(cpus.end(), there.begin(), there.end());
        }
        if (!cpus.empty()) return cpus;
    }
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    require(sched_getaffinity(0, sizeof allowed, &allowed) == 0,
            "the system does not say on which cores this process may run");
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
        if (CPU_ISSET(static_cast<size_t>(cpu), &allowed)) cpus.push_back(cpu);
    return cpus;
}

std::vector<int> usable_cores() {
    return cores_of(usable_cpus());
}

int cpu_quota(const std::string& root) {
    int64_t cores = std::numeric_limits<int>::max();
    for (const auto& [folder, v2] : control_groups("cpu", root)) {
        // Microseconds of computing, all threads together, in each period. Without a limit v2 says "max" and v1 -1.
        int64_t quota = -1, period = 0;
        if (v2) {
            std::ifstream(folder + "/cpu.max") >> quota >> period;
        } else {
            quota = read_number(folder + "/cpu.cfs_quota_us").value_or(-1);
            period = read_number(folder + "/cpu.cfs_period_us").value_or(0);
        }
        if (quota > 0 && period > 0) cores = std::min(cores, quota / period);
    }
    return static_cast<int>(std::max<int64_t>(1, cores));
}

}  // namespace llmc
