#!/usr/bin/env bash
# Installs the packages that the build needs, and prints why. Debian 12, Ubuntu 24.04.
set -euo pipefail

packages=(
    "g++|the C++20 compiler"
    "make|the build"
    "libdnnl-dev|oneDNN: fp32 and int8 GEMM on the CPU"
    "nlohmann-json3-dev|config.json, JSONL data, logs"
    "libcli11-dev|the command line and --config files"
    "libpcre2-dev|the regular expressions of tokenizer.json and of adapters"
    "libutf8proc-dev|Unicode: normal forms, case, kinds of characters, for tokenizer.json and chat templates"
    "libsentencepiece-dev|tokenizer.model"
    "zlib1g-dev|data files that gzip packed"
    "libopenmpi-dev|several processes that train together, on one machine or many (optional)"
    "openmpi-bin|mpirun, which starts them"
    "catch2|the tests"
)

# `install_deps.sh checks`: what `make fuzz`, `make lint` and .ci/run need in addition.
checks=(
    "ccache|.ci/run: what several builds share is compiled once"
    "clang|make fuzz, .ci/run: libFuzzer and the sanitizers; it compiles sanitized code in half of g++'s time"
    "libclang-rt-dev|their libraries"
    "libomp-dev|clang's OpenMP"
    "clang-tidy|make lint"
    "cppcheck|make lint"
    "shellcheck|make lint"
)
if [ "${1:-}" = checks ]; then packages=("${checks[@]}"); fi

names=()
for entry in "${packages[@]}"; do
    printf '  %-22s %s\n' "${entry%%|*}" "${entry#*|}"
    names+=("${entry%%|*}")
done

if ! command -v apt-get >/dev/null; then
    echo "apt-get not found: install the packages above with your distribution's tools (Debian's names)." >&2
    exit 1
fi
sudo=()
[ "$(id -u)" -eq 0 ] || sudo=(sudo)
export DEBIAN_FRONTEND=noninteractive
"${sudo[@]}" apt-get update -qq
"${sudo[@]}" apt-get install -y -qq --no-install-recommends "${names[@]}" >/dev/null
echo "All packages are installed. Next: make"
