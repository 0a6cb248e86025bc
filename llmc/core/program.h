// The program around this library: its name, and how its users change what an error message advises to change.
#pragma once

namespace llmc {

// The defaults serve any program; one with a command line names its options. Every member points to text that outlives
// the program.
struct Program {
    const char* name = "llmc";  // begins each line of an error on stderr; the folder in the user's cache

    // What a message asks to raise, lower or set.
    const char* batch_size = "the batch size";
    const char* source_max_len = "the limit of a source";
    const char* target_max_len = "the limit of a target";
    const char* chat_template = "the chat template";
    const char* comm_timeout = "the time limit of communication";
    const char* output_folder = "folder";  // "choose another ..."

    // What a message advises to do.
    const char* save_memory = "lower the batch size";
    const char* save_gpu_memory = "lower the batch size";
    const char* use_cpu = "use the CPU";
    const char* use_mpi = "use MPI";
    const char* use_fp16 = "use fp16";
    const char* use_int16_gradients = "quantise gradients to 16 bits";
};

// The only global state of llmc/. A signal handler may read it.
const Program& program();

// Called by main() before it starts a thread or a handler.
void set_program(const Program& program);

}  // namespace llmc
