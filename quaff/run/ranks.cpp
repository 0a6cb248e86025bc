#include "quaff/run/ranks.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "llmc/core/error.h"
#include "llmc/io/file_io.h"
#include "llmc/io/sha256.h"
#include "llmc/system/cores.h"

namespace quaff {

void require_same(Comm& comm, const Facts& facts) {
    const std::vector<std::string> all = comm.gather(nlohmann::json(facts).dump());
    for (size_t r = 1; r < all.size(); ++r) {
        const Facts others = nlohmann::json::parse(all[r]).get<Facts>();
        for (size_t i = 0; i < std::min(facts.size(), others.size()); ++i)
            require(facts[i] == others[i], "rank ", r, " has another ", others[i].first,
                    " than rank 0: ", others[i].second, ", not ", facts[i].second,
                    ". All ranks have to be started alike");
        require(facts.size() == others.size(), "rank ", r, " was started with other options than rank 0",
                ". All ranks have to be started alike");
    }
}

void require_same_start(Comm& comm, const std::string& verb, const OptionTexts& options) {
    static const std::set<std::string> kOwn = {"model",    "data",     "eval-data", "out",    "adapter",
                                               "outliers", "cal-data", "resume",    "config", "threads"};
    Sha256 program;  // differs between builds
    program.update(read_file("/proc/self/exe"));
    Facts facts = {{"build of this program", program.finish()}, {"verb", verb}};
    for (const auto& [name, value] : options)
        if (!kOwn.contains(name)) facts.emplace_back("--" + name, value);
    require_same(comm, facts);
}

// A launcher may have bound each rank to cores of its own, or all ranks to the same cores.
int fair_threads(Comm& comm) {
    const std::vector<int> mine = usable_cores();
    std::string cores(static_cast<size_t>(mine.back()) + 1, '0');
    for (const int core : mine) cores[static_cast<size_t>(core)] = '1';

    std::string all;
    for (const std::string& other : comm.gather(comm.host() + " " + cores)) all += other + "\n";
    comm.broadcast(all);
    // A core that k ranks of this host may use counts as a k-th for each of them.
    std::map<size_t, int> users;
    int here = 0;  // ranks of this host
    for (size_t begin = 0; begin < all.size(); begin = all.find('\n', begin) + 1) {
        const std::string line = all.substr(begin, all.find('\n', begin) - begin);
        if (line.substr(0, line.rfind(' ')) != comm.host()) continue;
        here++;
        const std::string theirs = line.substr(line.rfind(' ') + 1);
        for (size_t core = 0; core < theirs.size(); ++core) users[core] += theirs[core] == '1';
    }
    double share = 0;
    for (const int core : mine) share += 1.0 / users.at(static_cast<size_t>(core));
    // A quota is taken for the whole container's, which its ranks divide.
    return std::max(1, std::min(static_cast<int>(share + 1e-6), cpu_quota() / here));
}

std::vector<std::string> describe_ranks(Comm& comm, const std::string& device) {
    std::vector<std::string> lines = comm.gather(comm.host() + ": " + device);
    for (size_t r = 0; r < lines.size(); ++r) lines[r] = concat("rank ", r, " on ", lines[r]);
    return lines;
}

}  // namespace quaff
