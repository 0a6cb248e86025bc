// Runs the blocks of a grid, as many at a time as there are cores.
#pragma once

#include <concepts>
#include <cstddef>
#include <type_traits>

#include "test/emu/vector_types.h"

namespace emu {

// Calls run_thread(kernel) once for every thread of the grid. What the real runtime refuses becomes the last error;
// what a kernel does wrong is thrown as Error. `identity` is the kernel's address, by which cudaFuncSetAttribute knows
// it.
void run_grid(const char* name, const void* identity, dim3 grid, dim3 block, size_t shared_bytes,
              void (*run_thread)(const void* kernel), const void* kernel);

// Throws Error unless `address` is null or lies in memory a kernel can reach.
void check_argument(const char* kernel, size_t index, const void* address);

template <class Argument>
void check_argument_of(const char* kernel, size_t index, const Argument& argument) {
    if constexpr (std::is_pointer_v<Argument>) {
        check_argument(kernel, index, argument);
    } else if constexpr (requires {
                             { argument.data() } -> std::convertible_to<const void*>;
                             argument.empty();
                         }) {
        if (!argument.empty()) check_argument(kernel, index, argument.data());
    } else if constexpr (requires {
                             { argument.data } -> std::convertible_to<const void*>;
                             argument.empty();
                         }) {
        if (!argument.empty()) check_argument(kernel, index, argument.data);
    }
}

// Stands for kernel<<<grid, block, shared_bytes>>>(arguments...).
template <class... Parameters, class... Arguments>
void launch_kernel(const char* name, void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes,
                   const Arguments&... arguments) {
    size_t index = 0;
    (check_argument_of(name, ++index, arguments), ...);
    const auto call = [&] { kernel(arguments...); };
    run_grid(
        name, reinterpret_cast<const void*>(kernel), grid, block, shared_bytes,
        [](const void* body) { (*static_cast<const decltype(call)*>(body))(); }, &call);
}

}  // namespace emu
