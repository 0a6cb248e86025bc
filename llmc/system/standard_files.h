// The three files that a process starts with: stdin, stdout and stderr.
#pragma once

#include <cstdio>
#include <string>

namespace llmc {

// Opens /dev/null for each of the three that is closed. Otherwise the next file opened would get its number, and
// receive what is printed. Call it first in main().
void open_standard_files();

// Sends stdout to /dev/null. Throws Error if that fails.
void silence_stdout();

// Writes and flushes. The first error of stdout is kept for take_stdout_error(): a long run survives the loss of its
// terminal.
void print(std::FILE* out, const std::string& text);

// The errno of the first write to stdout that failed since the last call; 0 when all was written.
int take_stdout_error();

}  // namespace llmc
