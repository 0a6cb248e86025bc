// The program that uses this library: its name, and its words for the advice in error messages.
#pragma once

namespace llmc {

// The defaults fit any program; one with a command line names its options instead. All members must point to static
// text.
struct ProgramWords {
    const char* name = "llmc";  // begins errors on stderr; names the folder in the user's cache

    // What a message says to raise, lower or set.
    const char* batch_size = "the batch size";
    const char* source_max_len = "the limit of a source";
    const char* target_max_len = "the limit of a target";
    const char* chat_template = "the chat template";
    const char* columns = "the names of columns";
    const char* comm_timeout = "the time limit of communication";
    const char* output_folder = "folder";  // "choose another ..."

    // What a message says to do.
    const char* save_memory = "lower the batch size";
    const char* save_gpu_memory = "lower the batch size";
    const char* use_cpu = "use the CPU";
    const char* use_mpi = "use MPI";
    const char* use_fp16 = "use fp16";
    const char* use_float_gradients = "do not quantise gradients";
};

// The only global setting of llmc/; a signal handler may read it.
const ProgramWords& program();

// For main(), before any thread or handler starts.
void set_program(const ProgramWords& program);

}  // namespace llmc
