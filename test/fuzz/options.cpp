// The command line ('l', an argument a line) or a file of options ('t').
#include "quaff/cli/parsing.h"
#include "test/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static const fuzz::Folder folder;
    if (size == 0 || (data[0] != 'l' && data[0] != 't')) return -1;  // not worth keeping
    const std::string_view rest = fuzz::text_of(data + 1, size - 1);
    std::vector<std::string> arguments;
    if (data[0] == 't') {
        arguments = {"train", "--config", folder.write("run.toml", rest)};
    } else {
        for (size_t begin = 0; begin < rest.size();) {
            const size_t end = std::min(rest.find('\n', begin), rest.size());
            arguments.emplace_back(rest.substr(begin, end - begin));
            begin = end + 1;
        }
    }
    return fuzz::check(size, [&] {
        namespace cli = quaff::cli;
        const cli::CommandLine line = cli::parse(arguments);
        if (!line.help.empty()) return;
        // A run must be able to read the options that a run writes.
        const auto again = folder.write("again.toml", cli::record_of(line, line.options).config);
        if (line.verb == cli::Verb::train) cli::parse({"train", "--config", again});
    });
}
