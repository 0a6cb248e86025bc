// Libraries that are loaded when one of their functions is first needed, not when the program starts.
//
// NVIDIA's cuBLASLt and NCCL map 800 MiB of address space, more than a run on the CPU may have under RLIMIT_AS, and
// take 0.2 s to load, ten times as long as the rest of the start-up. Without them the program still runs on the CPU.
// The functions in use become members of a struct, with the names and types that the library's header declares:
//
//   struct Functions {
//       LLMC_FUNCTION("libm.so.6", cos, "install libc6");
//   };
//   const Functions functions;  functions.cos(0.5);
#pragma once

#include <string>

namespace llmc {

// The address of the function in the library, which is loaded if need be and stays loaded. Throws Error if the library
// or the function is missing, or if RLIMIT_AS leaves too little room; `remedy` says what to do without the library.
void* find_function(const std::string& library, const char* name, const std::string& remedy);

// Why RLIMIT_AS leaves too little room to load it: a sentence, or "".
std::string why_no_room(const std::string& library);

}  // namespace llmc

#define LLMC_TEXT_OF(tokens) #tokens
#define LLMC_TEXT(macro) LLMC_TEXT_OF(macro)

// The emulator's functions are linked into the program.
#ifdef LLMC_EMULATED
#define LLMC_FUNCTION(library, name, remedy) decltype(::name)* const name = ::name
#else
#define LLMC_FUNCTION(library, name, remedy) \
    decltype(::name)* const name = reinterpret_cast<decltype(::name)*>(llmc::find_function(library, #name, remedy))
#endif
