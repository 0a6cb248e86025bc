#!/usr/bin/env bash
# Called by make before the first compilation: names the missing packages and the one command that fixes it.
set -euo pipefail
cxx=${1:-g++}

if ! command -v "$cxx" >/dev/null; then
    echo "The C++ compiler '$cxx' was not found. Run: make deps" >&2
    exit 1
fi

missing=()
probe() {  # header package
    printf '#include <%s>\n' "$1" | "$cxx" -std=c++20 -fsyntax-only -x c++ - 2>/dev/null || missing+=("$2")
}
probe dnnl.h libdnnl-dev
probe nlohmann/json_fwd.hpp nlohmann-json3-dev
probe CLI/Version.hpp libcli11-dev
printf '#define PCRE2_CODE_UNIT_WIDTH 8\n#include <pcre2.h>\n' | "$cxx" -fsyntax-only -x c++ - 2>/dev/null || missing+=(libpcre2-dev)
probe sentencepiece_processor.h libsentencepiece-dev

if [ ${#missing[@]} -gt 0 ]; then
    echo "Missing packages: ${missing[*]}. Run: make deps" >&2
    exit 1
fi
