// Runs another program and waits for it.
//
// The child reads nothing and writes into files. It has a process group of its own, so that a Ctrl-C at the terminal
// reaches this process alone, which passes the wish to stop on as SIGTERM. When this process ends, however it ends, the
// child gets SIGTERM too. While it lives, SIGCHLD has its default action here, without which no status could be had.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace llmc {

struct ChildFiles {
    std::filesystem::path out;  // stdout, begun anew
    std::filesystem::path err;  // stderr, appended
};

struct ChildEnd {
    int status = 0;  // exit status; meaningless where a signal ended it
    int signal = 0;  // 0: it exited by itself

    bool succeeded() const { return status == 0 && signal == 0; }
};

// `command`: the program's path and its arguments. `wants_stop` is asked several times a second. Throws Error when a
// file cannot be opened, no process can be started or the program cannot be run.
ChildEnd run_child(const std::vector<std::string>& command, const ChildFiles& files,
                   const std::function<bool()>& wants_stop);

// A word, and words as a line, quoted so that a POSIX shell takes them as they are.
std::string shell_word(const std::string& word);
std::string shell_line(const std::vector<std::string>& words);

}  // namespace llmc
