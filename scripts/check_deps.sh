#!/usr/bin/env bash
# make calls this before it first compiles the program, and before it first compiles the tests. Names the missing packages
# and the one command that installs them.
set -euo pipefail
read -r -a cxx <<<"${1:-g++}"  # may be two words: ccache g++
what=${2:-program}  # program, or tests

if ! command -v "${cxx[0]}" >/dev/null; then
    echo "The C++ compiler '${cxx[0]}' was not found. Run: make deps" >&2
    exit 1
fi

missing=()
has() { printf '%s#include <%s>\n' "${2:-}" "$1" | "${cxx[@]}" -std=c++20 -fsyntax-only -x c++ - 2>/dev/null; }
needs() { has "$1" "${3:-}" || missing+=("$2"); }  # header package [macro definitions]

if [ "$what" = tests ]; then
    has catch2/catch_version_macros.hpp || needs catch2/catch.hpp catch2
else
    needs dnnl.h libdnnl-dev
    needs nlohmann/json_fwd.hpp nlohmann-json3-dev
    needs CLI/Version.hpp libcli11-dev
    needs pcre2.h libpcre2-dev $'#define PCRE2_CODE_UNIT_WIDTH 8\n'
    needs utf8proc.h libutf8proc-dev
    needs sentencepiece_processor.h libsentencepiece-dev
fi

# Without OpenMPI the program still builds and runs as one process.
[ "$what" = tests ] || command -v mpicc >/dev/null || echo "OpenMPI was not found: this build runs as one process only (make deps)" >&2

if [ ${#missing[@]} -gt 0 ]; then
    echo "Missing packages: ${missing[*]}. Run: make deps" >&2
    exit 1
fi
