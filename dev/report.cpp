#include "dev/report.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "llmc/core/error.h"
#include "llmc/system/terminal.h"

namespace benchmark {

using namespace llmc;

namespace {

// An extent may be 0 where that means none of something: where the program's own shape has 0.
Shape parse_shape(const std::string& text, const Program& program) {
    const Shape& example = program.timed[0];
    const auto may_be_zero = [&](size_t i) { return i < example.size() && example[i] == 0; };
    Shape shape;
    std::istringstream in(text);
    int64_t extent = 0;
    char separator = 'x';
    while (separator == 'x' && in >> extent && (extent > 0 || (extent == 0 && may_be_zero(shape.size())))) {
        shape.push_back(extent);
        if (!(in >> separator)) break;
    }
    if (!in.eof() || shape.size() != example.size())
        throw UsageError(
            concat("--shape ", text, " is not ", program.dimensions, ", for instance --shape ", to_string(example)));
    return shape;
}

// The unit in which figures of `unit` are reported, and its size.
struct Scale {
    const char* name;
    double size;
};
Scale scale_of(Unit unit, double ceiling) {
    if (unit == Unit::bytes) return {"GB/s", 1e9};
    const bool is_float = unit == Unit::float_operations;
    if (ceiling < 1e13) return {is_float ? "GFLOP/s" : "GOP/s", 1e9};
    return {is_float ? "TFLOP/s" : "TOP/s", 1e12};
}

void print_json(const nlohmann::ordered_json& line) {
    print(stdout, line.dump() + "\n");
}

nlohmann::ordered_json json_of(const Label& label) {
    return {{"operator", label.operation}, {"version", label.number}, {"what", label.what}, {"type", label.type}};
}

}  // namespace

std::string to_string(const Shape& shape) {
    std::string text;
    for (const int64_t extent : shape) text += (text.empty() ? "" : "x") + std::to_string(extent);
    return text;
}

bool parse(int argc, char** argv, const Program& program, Options& options) {
    CLI::App app(concat(program.operators, ": kernels from the plain one to the one train_quaff runs, each held ",
                        "against ", program.on_cpu ? "the definition" : "the CPU operator",
                        ", then timed.\nIts shapes are ", program.dimensions, ", ", to_string(program.timed[0]),
                        " if nothing else is asked for."));
    std::vector<std::string> shapes;
    app.add_option("version", options.version, "run this version alone, e.g. 2; all if it is not given")
        ->check(CLI::PositiveNumber);
    app.add_option("--shape", shapes, "time (with --validate: validate) this shape; may be given again")
        ->allow_extra_args(false);
    if (program.on_cpu)
        app.add_option("--threads", options.threads, "all there are if it is not given")->check(CLI::Range(1, 4096));
    else
        app.add_option("--block", options.block, "threads in a block, of the versions that leave it open")
            ->check(CLI::Range(32, 1024));
    app.add_flag("--validate", options.validate, "validate and time nothing");
    app.add_flag("--quick", options.quick,
                 program.on_cpu ? "one shape, fewer runs" : "one shape and one block size of each version, fewer runs");
    app.add_flag("--json", options.json, "one JSON object a line");
    try {
        app.parse(argc, argv);
    } catch (const CLI::CallForHelp&) {
        print(stdout, app.help());
        return false;
    } catch (const CLI::ParseError& error) {
        throw UsageError(concat("wrong usage: ", error.what(), " (", argv[0], " --help)"));
    }
    // Reductions go by warps.
    if (options.block % 32 != 0)
        throw UsageError(concat("--block ", options.block, " is not a multiple of 32, the threads of a warp"));
    for (const std::string& shape : shapes) options.shapes.push_back(parse_shape(shape, program));
    return true;
}

int exit_status(const std::function<int()>& work) {
    try {
        return work();
    } catch (const UsageError& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 2;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}

void print_verdicts(const Options& options, const std::vector<Verdict>& verdicts) {
    size_t width = 0;
    for (const Verdict& verdict : verdicts) width = std::max(width, verdict.label.operation.size());
    for (const Verdict& verdict : verdicts) {
        const bool correct = verdict.wrong.empty();
        if (options.json) {
            nlohmann::ordered_json line = json_of(verdict.label);
            line.update({{"checks", verdict.checks}, {"correct", correct}});
            if (correct)
                line["largest_error"] = verdict.largest_error;
            else
                line["wrong"] = verdict.wrong;
            print_json(line);
        } else {
            print(stdout, format("%-*s  kernel %d  %-4s  ", static_cast<int>(width), verdict.label.operation.c_str(),
                                 verdict.label.number, verdict.label.type.c_str()));
            print(stdout, correct ? format("ok: %3d checks, at most %.2f of the allowed error\n", verdict.checks,
                                           verdict.largest_error)
                                  : "WRONG: " + verdict.wrong + "\n");
        }
    }
}

void print_heading(const Options& options, const std::string& device) {
    if (options.json) return;
    print(stdout, format("\n%s; median of the runs, +- half the distance between their quartiles\n", device.c_str()));
    print(stdout, format("%-26s %-6s %-4s %-26s %5s %12s %8s %10s %-7s %10s  %s\n", "operator", "kernel", "type",
                         "shape", "block", "microseconds", "+-", "rate", "", "of ceiling", "what"));
}

void print_timings(const Options& options, const std::string& device, std::vector<Timing> timings) {
    std::ranges::min_element(timings, {}, &Timing::seconds)->fastest = true;
    for (const Timing& timing : timings) {
        const Scale scale = scale_of(timing.unit, timing.ceiling);
        const double rate = timing.amount / timing.seconds;
        const std::string shape = to_string(timing.shape);
        if (options.json) {
            nlohmann::ordered_json line = json_of(timing.label);
            line.update({{"shape", shape},
                         {"block", timing.block},
                         {"fastest", timing.fastest},
                         {"runs", timing.runs},
                         {"microseconds", 1e6 * timing.seconds},
                         {"spread", 1e6 * timing.spread},
                         {"rate", rate / scale.size},
                         {"unit", scale.name},
                         {"ceiling", timing.ceiling / scale.size},
                         {"percent", 100 * rate / timing.ceiling},
                         {"device", device}});
            print_json(line);
        } else {
            const std::string block = timing.block > 0 ? std::to_string(timing.block) : "-";
            print(stdout,
                  format("%-26s %6d %-4s %-26s %5s %12.1f %8.1f %10.1f %-7s %9.1f%%  %s\n",
                         timing.label.operation.c_str(), timing.label.number, timing.label.type.c_str(), shape.c_str(),
                         block.c_str(), 1e6 * timing.seconds, 1e6 * timing.spread, rate / scale.size, scale.name,
                         100 * rate / timing.ceiling, timing.label.what.c_str()));
        }
    }
}

}  // namespace benchmark
