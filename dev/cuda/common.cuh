// What every program in this folder is made of. A program describes an operator, its versions and its CPU reference:
//
//   int main(int argc, char** argv) {
//       return benchmark::run(argc, argv, kProgram, []<class T>(const Bench<T>& bench, const Shape& shape) {
//           ...                  // tensors of that shape
//           bench.run({...});    // an Operation
//       });
//   }
//
// Validation comes first: on the program's odd shapes, in fp32 and in the 16-bit types of this GPU, every version with
// each of its block sizes writes poisoned outputs, which are compared with the CPU operator's. Only if all are right
// are the shapes of a real model timed, in the GPU's 16-bit type. Under the emulator (test/emu) threads run in two
// orders, and nothing is timed.
#pragma once

#include <concepts>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "dev/cuda/tensor.cuh"
#include "dev/cuda/timing.cuh"
#include "dev/report.h"
#include "llmc/cuda/runtime/gpu.h"

namespace benchmark {

// Allowed is |seen - expected| <= relative |expected| + absolute.
struct Tolerance {
    double relative = 0, absolute = 0;
};

// What the rounding of a result to T adds to the error it was computed with: half a spacing, which is absolute where
// fp16 has no normal numbers.
template <class T>
Tolerance rounded_to(const Tolerance& computed) {
    return {computed.relative + unit_roundoff<T>(), computed.absolute + (std::is_same_v<T, cuda::fp16> ? 0x1p-25 : 0)};
}

// What a sum of `terms` products of numbers below 1 may be off by: roundings of fp32 as often up as down.
template <class T>
Tolerance sum_of(int64_t terms) {
    return rounded_to<T>({0, 0x1p-24 * static_cast<double>(terms) + 1e-6});
}

struct Difference {
    double largest = 0;  // in units of what is allowed
    std::string wrong;   // a sentence if it is more than that
};

template <class T, class Real>
Difference difference(const char* name, const Tensor<T>& tensor, const HostMatrix<Real>& expected,
                      const Tolerance& allowed) {
    require(tensor.rows() == expected.rows() && tensor.cols() == expected.cols(), name, " is ", tensor.rows(), 'x',
            tensor.cols(), ", its reference ", expected.rows(), 'x', expected.cols());
    const std::vector<T> seen = tensor.download();
    T poison;
    std::memset(static_cast<void*>(&poison), kPoison<T>, sizeof poison);
    Difference result;
    int64_t wrong = 0;
    for (int64_t i = 0; i < expected.rows(); i++) {
        for (int64_t j = 0; j < expected.cols(); j++) {
            const T& element = seen[static_cast<size_t>(i * expected.cols() + j)];
            const double value = widened(element);
            const double want = static_cast<double>(expected(i, j));
            const double error = std::abs(value - want), bound = allowed.relative * std::abs(want) + allowed.absolute;
            if (error <= bound) {
                if (error > 0) result.largest = std::max(result.largest, error / bound);
            } else if (wrong++ == 0) {
                const bool written = std::memcmp(&element, &poison, sizeof poison) != 0;
                result.wrong = concat(name, '(', i, ',', j, ") ", written ? concat("is ", value) : "was not written",
                                      ", expected ", want, " within ", bound);
            }
        }
    }
    if (wrong > 1) result.wrong += concat("; ", wrong, " of ", expected.rows() * expected.cols(), " are wrong");
    return result;
}

// A result of an operator and what the reference makes it.
struct Output {
    std::function<void()> prepare;  // before every call
    std::function<Difference()> compare;
};

// `=`: every element has to be written.
template <class T, class Real>
Output written(const char* name, const Tensor<T>& seen, const HostMatrix<Real>& expected, Tolerance allowed) {
    return {[&seen] { seen.poison(); }, [=, &seen, &expected] { return difference(name, seen, expected, allowed); }};
}

// `+=`, or in place: the call finds `before` there.
template <class T, class Real>
Output updated(const char* name, const Tensor<T>& seen, const Tensor<T>& before, const HostMatrix<Real>& expected,
               Tolerance allowed) {
    return {[&] { seen.copy_from(before); },
            [=, &seen, &expected] { return difference(name, seen, expected, allowed); }};
}

// What must be moved, or computed, once. The rate is this over the time; the ceiling is what the GPU reaches.
struct Work {
    Unit unit;
    double amount;
};
inline Work moved(int64_t bytes) {
    return {Unit::bytes, static_cast<double>(bytes)};
}
inline Work float_operations(double count) {
    return {Unit::float_operations, count};
}
inline Work int8_operations(double count) {
    return {Unit::int8_operations, count};
}

struct Version {
    int number;
    const char* what;         // what it does differently, in a few words
    std::vector<int> blocks;  // sizes to try, the likeliest first; empty: the version's own choice, call gets 0
    std::function<void(int block)> call;
    bool applies = true;  // to this shape, on this GPU
};

struct Operation {
    const char* name;
    const char* type = nullptr;  // of its data; null: the type of the bench
    Shape shape;
    Work work;
    std::function<void()> reference;  // fills what `outputs` expect, with the operator of llmc/cpu
    std::vector<Output> outputs;
    std::vector<Version> versions;
};

// Where a program's operators run: T is the compute type, and bench.run() validates or times.
template <class T>
struct Bench {
    const cuda::Device<T>& device;
    std::function<void(const Operation&)> run;
};

// Calls `each(version, block)` for every requested version and each of its block sizes.
template <class Each>
void for_each_block(const Operation& operation, const Options& options, const Each& each) {
    for (const Version& version : operation.versions) {
        if (!version.applies || (options.version != 0 && options.version != version.number)) continue;
        if (version.blocks.empty())
            each(version, std::vector<int>(1, 0));
        else if (options.block != 0)
            each(version, std::vector<int>(1, options.block));
        else if (options.quick)
            each(version, std::vector<int>(1, version.blocks.front()));
        else
            each(version, version.blocks);
    }
}

template <class T>
Label label_of(const Operation& operation, const Version& version) {
    return {operation.name, operation.type ? operation.type : cuda::Device<T>::compute_name(), version.what,
            version.number};
}

// Calls `body` in every order of threads that the emulator offers at little cost; once on a GPU.
template <class Body>
void in_orders_of_threads(const Body& body) {
#ifdef LLMC_EMULATED
    for (const auto schedule : {emu::Schedule::forward, emu::Schedule::shuffled}) {
        emu::set_schedule(schedule);
        body();
    }
    emu::set_schedule(emu::Schedule::forward);
#else
    body();
#endif
}

template <class T>
void validate(const Operation& operation, const Options& options, std::vector<Verdict>& verdicts) {
    operation.reference();
    for_each_block(operation, options, [&](const Version& version, const std::vector<int>& blocks) {
        const Label label = label_of<T>(operation, version);
        auto verdict = std::ranges::find(verdicts, label, &Verdict::label);
        if (verdict == verdicts.end()) verdict = verdicts.insert(verdict, Verdict{.label = label});
        for (const int block : blocks) {
            in_orders_of_threads([&] {
                for (const Output& output : operation.outputs) output.prepare();
                version.call(block);
                CUDA_CHECK(cudaDeviceSynchronize());
                for (const Output& output : operation.outputs) {
                    const Difference found = output.compare();
                    verdict->checks++;
                    verdict->largest_error = std::max(verdict->largest_error, found.largest);
                    if (found.wrong.empty() || !verdict->wrong.empty()) continue;
                    verdict->wrong = concat("shape ", to_string(operation.shape),
                                            block > 0 ? concat(", block ", block) : "", ": ", found.wrong);
                }
            });
        }
    });
}

template <class T>
void time(const Operation& operation, const Options& options, const std::string& device, Clock& clock,
          Ceilings<T>& ceilings) {
    for_each_block(operation, options, [&](const Version& version, const std::vector<int>& blocks) {
        std::vector<Timing> timings;
        for (const int block : blocks) {
            const Time time = clock.time([&] { version.call(block); });
            timings.push_back({label_of<T>(operation, version), operation.shape, block, time.runs, time.seconds,
                               time.spread, operation.work.unit, operation.work.amount,
                               ceilings.of(operation.work.unit)});
        }
        print_timings(options, device, timings);
    });
}

// Calls measure<T>() for each type the body takes and this GPU has. A body that takes only Bench<float>, because its
// data has one type, is called with that.
template <class Body, class Measure>
void in_types(const Body&, const Measure& measure) {
    if constexpr (std::invocable<Body, const Bench<float>&, const Shape&>) measure.template operator()<float>();
    if constexpr (std::invocable<Body, const Bench<cuda::fp16>&, const Shape&>)
        measure.template operator()<cuda::fp16>();
    if constexpr (std::invocable<Body, const Bench<cuda::bf16>&, const Shape&>)
        if (cuda::has_bf16(0)) measure.template operator()<cuda::bf16>();
}

// main() of a program. Exit status 1 if a version is wrong.
template <class Body>
int run(int argc, char** argv, const Program& program, const Body& body) {
    return exit_status([&] {
        Options options;
        if (!parse(argc, argv, program, options)) return 0;
        const std::string no_gpu = cuda::why_no_gpu();
        require(no_gpu.empty(), argv[0], " needs a GPU: ", no_gpu);

        std::vector<Verdict> verdicts;
        in_types(body, [&]<class T>() {
            const cuda::Gpu<T> gpu(0, {});
            const Bench<T> bench{gpu.device,
                                 [&](const Operation& operation) { validate<T>(operation, options, verdicts); }};
            const bool asked = options.validate && !options.shapes.empty();
            for (const Shape& shape : asked ? options.shapes : program.odd) body(bench, shape);
        });
        if (verdicts.empty()) throw UsageError(concat(program.operators, " have no version ", options.version));
        print_verdicts(options, verdicts);
        if (std::ranges::any_of(verdicts, [](const Verdict& verdict) { return !verdict.wrong.empty(); })) return 1;
        if (options.validate) return 0;
#ifdef LLMC_EMULATED
        std::fprintf(stderr, "nothing was timed: this is the emulator, whose times say nothing of a GPU\n");
#else
        const auto time_in = [&]<class T>() {
            const cuda::Gpu<T> gpu(0, cuda::cache_directory());
            Clock clock(gpu.device.l2_bytes, options.quick);
            Ceilings<T> ceilings(gpu.device, clock);
            const std::string device = gpu.device.describe();
            const Bench<T> bench{
                gpu.device, [&](const Operation& operation) { time<T>(operation, options, device, clock, ceilings); }};
            std::vector<Shape> shapes = options.shapes.empty() ? program.timed : options.shapes;
            if (options.quick) shapes.resize(1);
            print_heading(options, device);
            for (const Shape& shape : shapes) body(bench, shape);
        };
        if constexpr (!std::invocable<Body, const Bench<cuda::fp16>&, const Shape&>)
            time_in.template operator()<float>();
        else if (cuda::has_bf16(0))
            time_in.template operator()<cuda::bf16>();
        else
            time_in.template operator()<cuda::fp16>();
#endif
        return 0;
    });
}

}  // namespace benchmark
