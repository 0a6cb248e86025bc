// What a benchmark is asked to do and what it reports: the command line, verdicts and times, as an aligned table or as
// one JSON object a line. Knows no device, and is compiled once for all programs.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace benchmark {

using Shape = std::vector<int64_t>;

std::string to_string(const Shape& shape);  // 8192x3072

// One file of kernels, as its main() describes it.
struct Program {
    const char* operators;     // rmsnorm_forward, rmsnorm_backward
    const char* dimensions;    // tokens x channels: what the numbers of a shape are
    std::vector<Shape> odd;    // validated: small, and not multiples of what a kernel likes
    std::vector<Shape> timed;  // the shapes of a real model; --quick takes the first
    bool on_cpu = false;       // --threads instead of --block
};

struct Options {
    int version = 0;            // 0: all
    int block = 0;              // 0: the sizes each version names
    int threads = 0;            // of a CPU; 0: all
    std::vector<Shape> shapes;  // of --shape; empty: the program's
    bool json = false, validate = false, quick = false;
};

// False if only --help was asked for. Throws UsageError.
bool parse(int argc, char** argv, const Program& program, Options& options);

// main() around its work: returns the work's exit status. An exception is reported on stderr and makes it 1, or 2 if
// the command line is wrong.
int exit_status(const std::function<int()>& work);

// What is counted of an operator, and so which ceiling it has.
enum class Unit { bytes, float_operations, int8_operations };

// One version of one operator in one type.
struct Label {
    std::string operation, type, what;
    int number = 0;
    bool operator==(const Label&) const = default;
};

// How a version compares with the CPU operator, over all shapes and block sizes.
struct Verdict {
    Label label = {};
    int checks = 0;
    double largest_error = 0;  // in units of what is allowed: 1 is the most
    std::string wrong = {};    // the first failure, a sentence; empty if all is well
};

struct Timing {
    Label label = {};
    Shape shape = {};
    int block = 0;  // threads; 0: the version's own choice
    int runs = 0;
    double seconds = 0;  // median
    double spread = 0;   // half the distance between the quartiles, in seconds
    Unit unit = Unit::bytes;
    double amount = 0;     // bytes or operations of a run
    double ceiling = 0;    // what this device was measured to reach, a second
    bool fastest = false;  // of this version's block sizes
};

void print_verdicts(const Options& options, const std::vector<Verdict>& verdicts);
void print_heading(const Options& options, const std::string& device);
// The block sizes of one version on one shape; marks the fastest.
void print_timings(const Options& options, const std::string& device, std::vector<Timing> timings);

}  // namespace benchmark
