// Libraries that are loaded when something first asks for one of their functions, and not with the program.
//
// NVIDIA's cuBLASLt and NCCL map 800 MiB of address space, more than a run on the CPU may have under RLIMIT_AS, and
// take 0.2 s to load, ten times as long as all else that the program begins with. Where they are not installed at all,
// it runs on the CPU. The functions that are used become members of a struct, by their own names and with the types
// that the library's header declares:
//
//   struct Functions {
//       LLMC_FUNCTION("libm.so.6", cos, "install libc6");
//   };
//   const Functions functions;  functions.cos(0.5);
#pragma once

#include <string>

namespace llmc {

// The address of the function in the library, which is loaded unless it is there already, and stays. Throws Error where
// there is no such library or function, or no room for it; `remedy` says what to do without the library.
void* find_function(const std::string& library, const char* name, const std::string& remedy);

// Why RLIMIT_AS leaves no room to load it: a sentence, or "".
std::string why_no_room(const std::string& library);

}  // namespace llmc

#define LLMC_TEXT_OF(tokens) #tokens
#define LLMC_TEXT(macro) LLMC_TEXT_OF(macro)

// The emulator's functions are part of the program.
#ifdef LLMC_EMULATED
#define LLMC_FUNCTION(library, name, remedy) decltype(::name)* const name = ::name
#else
#define LLMC_FUNCTION(library, name, remedy) \
    decltype(::name)* const name = reinterpret_cast<decltype(::name)*>(llmc::find_function(library, #name, remedy))
#endif
