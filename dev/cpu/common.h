// What the benchmarks in this folder share: data, validation, times, and how they are told.
//
// A benchmark is a list of operators, each a struct that owns its operands:
//
//   name                 "rmsnorm_forward"
//   Kernel               the type of the operator in llmc/cpu; every version has it
//   versions()           the versions in order: the definition first, the operator of llmc/cpu last
//   Operator(shape)      operands of that shape, the same numbers every time
//   call(kernel, device) one call
//   outputs()            what the call wrote, each with the tolerance it is held to
//   cost()               what bounds it: bytes that must cross memory once, or multiplications plus additions
//
// run<Operators...>() is all of main(). Each version is first held against version 1 over odd shapes and several
// numbers of threads, then timed: the median of several calls, before each of which the caches are filled with
// something else, so that operands come from memory as they do in a training step. The spread is that of the middle
// half of the calls. GB/s are compared with a copy by all threads, GFLOP/s with oneDNN's rate on matrices that lie in
// the caches (peak.h), both measured in the same run.
#pragma once

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "llmc/cpu/device.h"
#include "llmc/cpu/peak.h"
#include "llmc/philox.h"
#include "llmc/tensor.h"

namespace bench {

using namespace llmc;
using cpu::Device;
using Shape = std::vector<int64_t>;

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

// NaN, or 85 in every byte where T has none: what a version leaves unwritten fails validation.
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
    const char* how;
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

enum class Limit { copy, fp32, int8 };

struct Cost {
    Limit limit;
    double amount;  // bytes, or operations
};

// What the command line is told of a benchmark.
struct Program {
    const char* about;
    const char* dimensions;  // of a shape: "tokens,channels"
    Shape shape;             // of the timed call
    std::vector<Shape> odd;  // to validate over
};

struct Options {
    int version = 0;  // 0: all
    Shape shape;
    int threads = omp_get_max_threads();
    int runs = 15;
    bool validate_only = false;
    bool json = false;
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

struct Verdict {
    bool valid = true;
    double error = 0;     // the largest of all outputs
    std::string failure;  // where it is too large
};

template <class Operator>
Verdict validate(const Program& program, const Version<typename Operator::Kernel>& version, int threads) {
    Verdict verdict;
    for (const Shape& shape : program.odd) {
        Operator reference(shape);
        reference.call(Operator::versions().front().kernel, Device{1});
        const std::vector<Output> expected = reference.outputs();
        // Two and three threads also where there are fewer cores: rows that do not divide evenly.
        for (int count = 1; count <= std::max(threads, 3); count = count < 3 ? count + 1 : 2 * count - 1) {
            Operator candidate(shape);
            candidate.call(version.kernel, Device{count});
            const std::vector<Output> seen = candidate.outputs();
            for (size_t i = 0; i < seen.size(); i++) {
                const double error = largest_error(seen[i].values, expected[i].values);
                verdict.error = std::max(verdict.error, error);
                if (error <= seen[i].tolerance || !verdict.valid) continue;
                verdict.valid = false;
                verdict.failure = concat(seen[i].name, " is off by ", error, " with ", count, " threads at shape");
                for (int64_t size : shape) verdict.failure += concat(" ", size);
            }
        }
    }
    return verdict;
}

// ---- time ----------------------------------------------------------------------------------------------------------

inline double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Puts something else into the caches of all threads.
class CacheFlush {
  public:
    explicit CacheFlush(const Device& device) : device_(device), other_(1, std::max(2 * last_level_cache(), kLeast)) {}

    void operator()() {
        uint8_t* bytes = other_.data;
        const int64_t count = other_.cols;
#pragma omp parallel for num_threads(device_.threads) schedule(static)
        for (int64_t i = 0; i < count; i += 64) bytes[i]++;
    }

  private:
    static constexpr int64_t kLeast = 64 << 20;  // where the machine does not say how large its cache is
    static int64_t last_level_cache() {
        return sysconf(_SC_LEVEL3_CACHE_SIZE);
    }

    Device device_;
    Tensor<uint8_t> other_;
};

struct Timing {
    double seconds;  // median
    double spread;   // of the middle half, in units of the median
    int runs;
};

template <class Call>
Timing time(const Call& call, CacheFlush& flush, int runs) {
    constexpr double kEnough = 1.0;  // seconds in all: a slow version is called three times
    std::vector<double> seconds;
    double total = 0;
    for (bool warm = false; static_cast<int>(seconds.size()) < runs && (seconds.size() < 3 || total < kEnough);) {
        flush();
        const double begin = now();
        call();
        const double taken = now() - begin;
        const bool counts =
            warm || taken > kEnough / 2;  // the first call loads pages and code, which only shows in short ones
        warm = true;
        if (!counts) continue;
        seconds.push_back(taken);
        total += taken;
    }
    std::ranges::sort(seconds);
    const size_t count = seconds.size();
    const double median = seconds[count / 2];
    return {median, (seconds[count - 1 - count / 4] - seconds[count / 4]) / median, static_cast<int>(count)};
}

// Bytes a second, read plus written, of the C library's copy by all threads.
inline double copy_speed(const Device& device) {
    constexpr int64_t kBytes = 128 << 20;
    constexpr int kRounds = 9;
    const Tensor<uint8_t> from(1, kBytes), to(1, kBytes);
    double best = 0;  // other programs only ever make a round slower
    for (int round = 0; round < kRounds; round++) {
        const double begin = now();
#pragma omp parallel for num_threads(device.threads) schedule(static)
        for (int part = 0; part < device.threads; part++) {
            const int64_t first = kBytes * part / device.threads, last = kBytes * (part + 1) / device.threads;
            const auto bytes = static_cast<size_t>(last - first);
            // Memory that was never written to is not there, and reads as zeros from the cache.
            if (round == 0) std::memset(from.data + first, 1, bytes);
            std::memcpy(to.data + first, from.data + first, bytes);
        }
        if (round > 0) best = std::max(best, 2.0 * kBytes / (now() - begin));
    }
    return best;
}

// What this machine can do, measured when first asked for.
class Ceilings {
  public:
    explicit Ceilings(const Device& device) : device_(device) {}

    // Bytes or operations a second.
    double of(Limit limit) {
        if (limit == Limit::copy) {
            if (!copy_) copy_ = copy_speed(device_);
            return *copy_;
        }
        if (!peak_) peak_ = cpu::measure_peak(device_);
        return limit == Limit::fp32 ? peak_->float_operations : peak_->int8_operations;
    }

  private:
    Device device_;
    std::optional<double> copy_;
    std::optional<Peak> peak_;
};

// ---- the program ---------------------------------------------------------------------------------------------------

inline std::string shape_text(const Shape& shape) {
    std::string text;
    for (int64_t size : shape) text += (text.empty() ? "" : ",") + std::to_string(size);
    return text;
}

inline const char* unit_of(Limit limit) {
    return limit == Limit::copy ? "GB/s" : limit == Limit::fp32 ? "GFLOP/s" : "GOP/s";
}

inline const char* name_of(Limit limit) {
    return limit == Limit::copy ? "copy" : limit == Limit::fp32 ? "oneDNN fp32" : "oneDNN int8";
}

// Validates and times the versions that are asked for. Returns whether all are valid.
template <class Operator>
bool run_operator(const Program& program, const Options& options, Ceilings& ceilings, CacheFlush& flush) {
    const auto versions = Operator::versions();
    const std::string shape = shape_text(options.shape);
    bool all_valid = true;
    std::optional<Operator> timed;
    if (!options.validate_only) timed.emplace(options.shape);
    if (!options.json && timed) {
        const Limit limit = timed->cost().limit;
        std::printf("\n%s, %s = %s, %d threads, %s %.1f %s\n", Operator::name, program.dimensions, shape.c_str(),
                    options.threads, name_of(limit), 1e-9 * ceilings.of(limit), unit_of(limit));
        std::printf("%7s  %-56s %9s %12s %8s %10s %9s\n", "version", "how", "error", "microseconds", "spread",
                    unit_of(limit), "of limit");
    } else if (!options.json) {
        std::printf("\n%s\n", Operator::name);
    }
    for (size_t i = 0; i < versions.size(); i++) {
        const int number = static_cast<int>(i) + 1;
        if (options.version != 0 && options.version != number) continue;
        const Verdict verdict = validate<Operator>(program, versions[i], options.threads);
        all_valid = all_valid && verdict.valid;
        if (!verdict.valid)
            std::fprintf(stderr, "%s kernel %d is WRONG: %s\n", Operator::name, number, verdict.failure.c_str());
        const char* valid = verdict.valid ? "true" : "false";
        if (!timed) {
            if (options.json)
                std::printf("{\"operator\":\"%s\",\"version\":%d,\"how\":\"%s\",\"valid\":%s,\"error\":%.2g}\n",
                            Operator::name, number, versions[i].how, valid,
                            std::isfinite(verdict.error) ? verdict.error : 1e30);
            else
                std::printf("%7d  %-56s %9.1e  %s\n", number, versions[i].how, verdict.error,
                            verdict.valid ? "ok" : "WRONG");
            std::fflush(stdout);
            continue;
        }
        if (!verdict.valid) continue;  // how fast it is wrong is of no interest
        const Timing timing =
            time([&] { timed->call(versions[i].kernel, Device{options.threads}); }, flush, options.runs);
        const Cost cost = timed->cost();
        const double rate = cost.amount / timing.seconds, fraction = rate / ceilings.of(cost.limit);
        if (options.json)
            std::printf(
                "{\"operator\":\"%s\",\"version\":%d,\"how\":\"%s\",\"valid\":%s,\"error\":%.2g,\"shape\":\"%s\","
                "\"threads\":%d,\"runs\":%d,\"microseconds\":%.1f,\"spread\":%.3f,\"rate\":%.2f,\"unit\":\"%s\","
                "\"limit\":\"%s\",\"limit_rate\":%.2f,\"of_limit\":%.3f}\n",
                Operator::name, number, versions[i].how, valid, verdict.error, shape.c_str(), options.threads,
                timing.runs, 1e6 * timing.seconds, timing.spread, 1e-9 * rate, unit_of(cost.limit), name_of(cost.limit),
                1e-9 * ceilings.of(cost.limit), fraction);
        else
            std::printf("%7d  %-56s %9.1e %12.1f %7.1f%% %10.2f %8.1f%%\n", number, versions[i].how, verdict.error,
                        1e6 * timing.seconds, 100 * timing.spread, 1e-9 * rate, 100 * fraction);
        std::fflush(stdout);
    }
    return all_valid;
}

template <class Operator>
std::string describe_versions() {
    std::string text = concat("\n", Operator::name, "\n");
    int number = 1;
    for (const auto& version : Operator::versions()) text += concat("  ", number++, "  ", version.how, "\n");
    return text;
}

// main() of a benchmark: 0 where all versions are valid, 1 where one is not, 2 for a wrong command line.
template <class... Operators>
int run(int argc, char** argv, const Program& program) {
    const int last = static_cast<int>(std::max({Operators::versions().size()...}));
    Options options;
    options.shape = program.shape;
    CLI::App app(concat(program.about, "\n\nValidates every version against version 1, then times it."));
    app.footer((describe_versions<Operators>() + ...));
    app.add_option("version", options.version, "the one version to run; all if it is not given")
        ->check(CLI::Range(1, last));
    app.add_option("--shape", options.shape, concat(program.dimensions, " [", shape_text(program.shape), "]"))
        ->delimiter(',')
        ->expected(static_cast<int>(program.shape.size()))
        ->check(CLI::NonNegativeNumber);
    app.add_option("--threads", options.threads, concat("[", options.threads, "]"))->check(CLI::Range(1, 4096));
    app.add_option("--runs", options.runs, "timed calls of a version, fewer where it is slow [15]")
        ->check(CLI::Range(1, 1000000));
    app.add_flag("--validate", options.validate_only, "validate, and time nothing");
    app.add_flag("--json", options.json, "one JSON object a line");
    try {
        app.parse(argc, argv);
        Ceilings ceilings(Device{options.threads});
        CacheFlush flush(Device{options.threads});
        bool all_valid = true;
        ((all_valid = run_operator<Operators>(program, options, ceilings, flush) && all_valid), ...);
        return all_valid ? 0 : 1;
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? 0 : 2;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s: %s\n", argv[0], error.what());
        return 1;
    }
}

}  // namespace bench
