// What every program in this folder is made of: data, validation and times, which dev/report.h reports.
//
// A program is a list of operators, each a struct that owns its operands:
//
//   name                 "rmsnorm_forward"
//   Kernel               the type of the operator in llmc/cpu; every version has it
//   versions()           the versions in order: the definition first, the operator of llmc/cpu last
//   Operator(shape)      operands of that shape, the same numbers every time
//   call(kernel, device) one call
//   outputs()            what the call wrote, each with the tolerance it is held to
//   work()               what is counted: bytes that must cross memory once, or multiplications plus additions
//
// run<Operators...>() is all of main(). Each version is first compared with version 1 over odd shapes and several
// numbers of threads, then timed: the median of several calls, before each of which the caches are filled with
// something else, so that operands come from memory, as in a training step. GB/s are compared with a copy by all
// threads, GFLOP/s and GOP/s with oneDNN's rate on matrices in the caches (peak.h), both measured in the same run. A
// copy fetches the lines it writes to, so an operator that writes where it has read, as AdamW does, exceeds 100%.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "dev/report.h"
#include "llmc/core/integers.h"
#include "llmc/core/philox.h"
#include "llmc/core/tensor.h"
#include "llmc/cpu/device.h"
#include "llmc/cpu/peak.h"
#include "llmc/system/thread_waiting.h"

namespace benchmark {

using namespace llmc;
using cpu::Device;

// ---- data ----------------------------------------------------------------------------------------------------------

// A matrix and the memory it lies in.
template <class T>
struct Tensor : Matrix<T> {
    Tensor(int64_t rows, int64_t cols) : memory(take(rows * cols), {rows * cols * static_cast<int64_t>(sizeof(T))}) {
        static_cast<Matrix<T>&>(*this) = Matrix<T>(memory.get(), rows, cols);
    }
    std::span<T> span() const { return {this->data, static_cast<size_t>(this->size())}; }
    double bytes() const { return static_cast<double>(this->size() * static_cast<int64_t>(sizeof(T))); }

  private:
    struct Release {
        int64_t bytes;
        void operator()(void* block) const { Device{1}.release(block, std::max<int64_t>(bytes, 1)); }
    };
    std::unique_ptr<T[], Release> memory;

    static T* take(int64_t size) {
        void* block = Device{1}.allocate(std::max<int64_t>(size * static_cast<int64_t>(sizeof(T)), 1));
        require(block != nullptr, "no memory for a tensor of ", size, " elements; a smaller --shape takes less");
        return static_cast<T*>(block);
    }
};

// Element i from Philox: uniform in [-1, 1), or in [-127, 127] where T is int8. Written by the threads that will read
// it, so that its pages lie in their memory.
template <class T>
Tensor<T> random(int64_t rows, int64_t cols, uint32_t seed) {
    Tensor<T> values(rows, cols);
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < rows; n++) {
        for (int64_t c = 0; c < cols; c++) {
            const uint32_t word =
                philox4x32_10({static_cast<uint32_t>(c), static_cast<uint32_t>(n), 0, 0}, {seed, 0}).x0;
            const auto bits = static_cast<int32_t>(word);
            if constexpr (std::is_integral_v<T>)
                values(n, c) = static_cast<T>(bits % 128);
            else
                values(n, c) = static_cast<T>(bits) * static_cast<T>(0x1p-31);
        }
    }
    return values;
}

// NaN, or 85 in every byte if T has none: elements that a version leaves unwritten fail validation.
template <class T>
Tensor<T> unwritten(int64_t rows, int64_t cols) {
    Tensor<T> values(rows, cols);
    if constexpr (std::is_floating_point_v<T>)
        std::ranges::fill(values.span(), std::numeric_limits<T>::quiet_NaN());
    else
        std::memset(values.data, 85, static_cast<size_t>(values.bytes()));
    return values;
}

// count indices in [0, below), from Philox.
inline std::vector<int32_t> random_indices(int64_t count, int64_t below, uint32_t seed) {
    std::vector<int32_t> indices;
    for (int64_t i = 0; i < count; i++) {
        const uint32_t word = philox4x32_10({static_cast<uint32_t>(i), 0, 0, 0}, {seed, 1}).x0;
        indices.push_back(static_cast<int32_t>(word % static_cast<uint32_t>(below)));
    }
    return indices;
}

// count indices spread over [0, below), ascending and distinct.
inline std::vector<int32_t> spread_indices(int64_t count, int64_t below) {
    std::vector<int32_t> indices;
    for (int64_t i = 0; i < count; i++) indices.push_back(static_cast<int32_t>((2 * i + 1) * below / (2 * count)));
    return indices;
}

// ---- what an operator says of itself -------------------------------------------------------------------------------

template <class Kernel>
struct Version {
    const char* what;  // what it does differently, in a few words
    Kernel kernel;
};

// tolerance: of the largest error, in units of the largest expected magnitude. 0: the same numbers.
struct Output {
    const char* name;
    std::vector<double> values;
    double tolerance;
};

template <class T>
Output output(const char* name, const Matrix<T>& m, double tolerance) {
    Output out{name, {}, tolerance};
    for (int64_t n = 0; n < m.rows; n++) out.values.insert(out.values.end(), m.row(n), m.row(n) + m.cols);
    return out;
}

struct Work {
    Unit unit;
    double amount;
};

// ---- validation ----------------------------------------------------------------------------------------------------

// max |seen - expected| / max |expected|; infinite where seen is not a number.
inline double largest_error(const std::vector<double>& seen, const std::vector<double>& expected) {
    double error = 0, magnitude = 0;
    for (size_t i = 0; i < expected.size(); i++) {
        const double difference = std::abs(seen[i] - expected[i]);
        error = std::max(error, std::isnan(difference) ? INFINITY : difference);
        magnitude = std::max(magnitude, std::abs(expected[i]));
    }
    return error / (magnitude > 0 ? magnitude : 1.0);
}

template <class Operator>
Label label_of(int number, Unit unit) {
    return {Operator::name, unit == Unit::int8_operations ? "int8" : "fp32",
            Operator::versions()[static_cast<size_t>(number) - 1].what, number};
}

template <class Operator>
Verdict validate(const std::vector<Shape>& shapes, int number, int threads) {
    Verdict verdict{.label = label_of<Operator>(number, Operator(shapes[0]).work().unit)};
    for (const Shape& shape : shapes) {
        Operator reference(shape);
        reference.call(Operator::versions().front().kernel, Device{1});
        const std::vector<Output> expected = reference.outputs();
        // Two and three threads also where there are fewer cores: rows that do not divide evenly.
        for (int count = 1; count <= std::max(threads, 3); count = count < 3 ? count + 1 : 2 * count - 1) {
            Operator candidate(shape);
            candidate.call(Operator::versions()[static_cast<size_t>(number) - 1].kernel, Device{count});
            const std::vector<Output> seen = candidate.outputs();
            verdict.checks++;
            for (size_t i = 0; i < seen.size(); i++) {
                const double error = largest_error(seen[i].values, expected[i].values), allowed = seen[i].tolerance;
                if (error <= allowed) {
                    if (error > 0) verdict.largest_error = std::max(verdict.largest_error, error / allowed);
                } else if (verdict.wrong.empty()) {
                    verdict.wrong = concat("shape ", to_string(shape), ", ", count, " threads: ", seen[i].name,
                                           " is off by ", error, " of its largest magnitude, allowed are ", allowed);
                }
            }
        }
    }
    return verdict;
}

// ---- time ----------------------------------------------------------------------------------------------------------

inline double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Bytes that fill all caches. At least 256 MiB: a virtual machine may name a last-level cache smaller than the one it
// has, 32 MiB for 96.
inline int64_t more_than_the_caches() {
    return std::max<int64_t>(2 * sysconf(_SC_LEVEL3_CACHE_SIZE), 256 << 20);
}

// Fills the caches of all threads with something else, by reading it: written lines would go back to memory while the
// operator is timed.
class CacheFlush {
  public:
    explicit CacheFlush(const Device& device) : device_(device), other_(1, more_than_the_caches()) {
        std::ranges::fill(other_.span(), uint8_t{1});  // else all would be the one page of zeros
    }

    void operator()() {
        const uint8_t* bytes = other_.data;
        const int64_t count = other_.cols;
        int64_t sum = 0;
#pragma omp parallel for num_threads(device_.threads) schedule(static) reduction(+ : sum)
        for (int64_t i = 0; i < count; i += 64) sum += bytes[i];
        require(sum == llmc::ceil_div(count, 64), "what fills the caches was not read");
    }

  private:
    Device device_;
    Tensor<uint8_t> other_;
};

struct Time {
    double seconds;  // median
    double spread;   // half the distance between the quartiles
    int runs;
};

// As many runs as fit a second, 3 to 31; quick: a tenth, 3 to 11.
template <class Call>
Time time(const Call& call, CacheFlush& flush, bool quick) {
    const double budget = quick ? 0.1 : 1;
    const size_t least = 3, most = quick ? 11 : 31;
    std::vector<double> seconds;
    double total = 0;
    for (bool warm = false; seconds.size() < least || (seconds.size() < most && total < budget); warm = true) {
        flush();
        const double begin = now();
        call();
        const double taken = now() - begin;
        if (!warm && taken < 0.5) continue;  // the first loads pages and code, which shows only in short ones
        seconds.push_back(taken);
        total += taken;
    }
    std::ranges::sort(seconds);
    const size_t n = seconds.size();
    return {seconds[n / 2], 0.5 * (seconds[n - 1 - n / 4] - seconds[n / 4]), static_cast<int>(n)};
}

// Bytes a second, read plus written, of the C library's copy by all threads: the best of several rounds, because other
// programs only ever make one slower.
inline double copy_speed(const Device& device, CacheFlush& flush) {
    constexpr int64_t kBytes = 32 << 20;
    constexpr int kRounds = 15;
    const Tensor<int32_t> from = random<int32_t>(1, kBytes / 4, 1), to = random<int32_t>(1, kBytes / 4, 2);
    double best = 0;
    for (int round = 0; round < kRounds; round++) {
        flush();
        const double begin = now();
#pragma omp parallel for num_threads(device.threads) schedule(static)
        for (int part = 0; part < device.threads; part++) {
            const int64_t first = to.cols * part / device.threads, last = to.cols * (part + 1) / device.threads;
            std::copy(from.data + first, from.data + last, to.data + first);
        }
        best = std::max(best, 2 * to.bytes() / (now() - begin));
    }
    return best;
}

// What this machine can do, measured at first use.
class Ceilings {
  public:
    Ceilings(const Device& device, CacheFlush& flush) : device_(device), flush_(flush) {}

    // Bytes or operations a second.
    double of(Unit unit) {
        if (unit == Unit::bytes) {
            if (!copy_) copy_ = copy_speed(device_, flush_);
            return *copy_;
        }
        if (!peak_) peak_ = cpu::measure_peak(device_);
        return unit == Unit::float_operations ? peak_->float_operations : peak_->int8_operations;
    }

  private:
    Device device_;
    CacheFlush& flush_;
    std::optional<double> copy_;
    std::optional<Peak> peak_;
};

// ---- the program ---------------------------------------------------------------------------------------------------

// The model name, and how many threads were used.
inline std::string describe(const Device& device) {
    std::string name = "unknown processor";
    std::ifstream cpuinfo("/proc/cpuinfo");
    for (std::string line; std::getline(cpuinfo, line);) {
        if (!line.starts_with("model name")) continue;
        name = line.substr(line.find(':') + 2);
        break;
    }
    return concat(name, ", ", device.threads, device.threads == 1 ? " thread" : " threads");
}

// The requested versions.
template <class Operator>
std::vector<int> numbers_of(const Options& options) {
    std::vector<int> numbers;
    for (int number = 1; number <= static_cast<int>(Operator::versions().size()); number++)
        if (options.version == 0 || options.version == number) numbers.push_back(number);
    return numbers;
}

template <class Operator>
void time_versions(const Shape& shape, const Options& options, const Device& device, Ceilings& ceilings,
                   CacheFlush& flush) {
    Operator timed(shape);
    const Work work = timed.work();
    for (const int number : numbers_of<Operator>(options)) {
        const auto kernel = Operator::versions()[static_cast<size_t>(number) - 1].kernel;
        const Time time = benchmark::time([&] { timed.call(kernel, device); }, flush, options.quick);
        print_timings(options, describe(device),
                      {{.label = label_of<Operator>(number, work.unit),
                        .shape = shape,
                        .runs = time.runs,
                        .seconds = time.seconds,
                        .spread = time.spread,
                        .unit = work.unit,
                        .amount = work.amount,
                        .ceiling = ceilings.of(work.unit)}});
    }
}

// main() of a program. Exit status 1 if a version is wrong.
template <class... Operators>
int run(int argc, char** argv, Program program) {
    restart_with_passive_waiting(argv);  // as train_quaff does
    return exit_status([&] {
        program.on_cpu = true;
        Options options;
        if (!parse(argc, argv, program, options)) return 0;
        const Device device{options.threads > 0 ? options.threads : omp_get_max_threads()};

        std::vector<Verdict> verdicts;
        const bool asked = options.validate && !options.shapes.empty();
        const auto validate_versions = [&]<class Operator>() {
            for (const int number : numbers_of<Operator>(options))
                verdicts.push_back(validate<Operator>(asked ? options.shapes : program.odd, number, device.threads));
        };
        (validate_versions.template operator()<Operators>(), ...);
        if (verdicts.empty()) throw UsageError(concat("there is no version ", options.version, " here"));
        print_verdicts(options, verdicts);
        if (std::ranges::any_of(verdicts, [](const Verdict& verdict) { return !verdict.wrong.empty(); })) return 1;
        if (options.validate) return 0;

        CacheFlush flush(device);
        Ceilings ceilings(device, flush);
        std::vector<Shape> shapes = options.shapes.empty() ? program.timed : options.shapes;
        if (options.quick) shapes.resize(1);
        print_heading(options, describe(device));
        for (const Shape& shape : shapes) (time_versions<Operators>(shape, options, device, ceilings, flush), ...);
        return 0;
    });
}

}  // namespace benchmark
