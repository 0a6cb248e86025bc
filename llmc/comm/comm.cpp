#include "llmc/comm/comm.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "llmc/comm/mpi_comm.h"
#include "llmc/core/error.h"
#include "llmc/core/program.h"

namespace llmc {
namespace {

class SingleProcess final : public Comm {
  public:
    SingleProcess() {
        char name[256] = "this host";
        gethostname(name, sizeof name - 1);
        host_ = name;
    }

    void all_reduce_max(std::span<float>) override {}
    void start_sum(std::span<float>) override {}
    void finish_sums() override {}
    Traffic traffic() override { return {}; }
    void sum(std::span<double>) override {}
    void sum(std::span<int64_t>) override {}
    void max(std::span<float>) override {}
    void broadcast(std::span<std::byte>) override {}
    std::vector<std::string> gather(const std::string& mine) override { return {mine}; }
    void barrier() override {}
    void set_time_limit(double) override {}
    void start_heartbeat(double) override {}
    void fail_all(const std::string& message, int status) override {
        std::fprintf(stderr, "%s: %s\n", program().name, message.c_str());
        std::_Exit(status);
    }
};

int number_of(const char* variable) {
    const char* text = std::getenv(variable);
    return text ? static_cast<int>(std::strtol(text, nullptr, 10)) : 0;
}

}  // namespace

std::string Comm::name() const {
    return concat("rank ", rank_, " of ", size_, " on ", host_);
}

void Comm::broadcast(std::string& text) {
    auto length = static_cast<int64_t>(text.size());
    broadcast(std::as_writable_bytes(std::span(&length, 1)));
    text.resize(static_cast<size_t>(length));
    broadcast(std::as_writable_bytes(std::span(text)));
}

Comm& single_process() {
    static SingleProcess alone;
    return alone;
}

int processes_of_launcher() {
    // A batch script that Slurm runs has SLURM_PROCID too; SLURM_STEP_NUM_TASKS is what srun gives its tasks.
    for (const char* variable : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"})
        if (const int size = number_of(variable); size > 0) return size;
    return std::getenv("PMIX_RANK") || std::getenv("PMI_RANK") ? -1 : 0;
}

std::unique_ptr<Comm> join_ranks() {
    const int launched = processes_of_launcher();
    if (launched == 0 || launched == 1) return nullptr;  // alone: no need of MPI
#ifdef LLMC_MPI
    auto comm = std::make_unique<MpiComm>();
    require(launched < 0 || launched == comm->size(), "the launcher started ", launched, " processes, but MPI knows ",
            comm->size(), ": it is the launcher of another MPI than the OpenMPI this program was built with. Start it ",
            "with OpenMPI's own mpirun, or with srun --mpi=pmix");
    return comm;
#else
    fail("a launcher started ", launched < 0 ? "this process" : concat(launched, " processes"),
         ", but this program was built without MPI, so that they cannot work together. Install OpenMPI (make deps) ",
         "and build again, or start it without mpirun and srun");
#endif
}

}  // namespace llmc
