#!/usr/bin/env bash
# Builds the CPU program for 64-bit Arm with Debian's cross compiler and runs tests of it under QEMU: with int8 matrix
# instructions (Smmla), with dot products alone (Sdot) and with neither. For machines with Debian 12.
#
#   scripts/test_arm64.sh [CATCH2 ARGUMENTS]     in build/arm64; by default all tests that it builds
#
# The cross compiler and QEMU are installed if they are missing. Arm's libraries are only unpacked, in build/arm64/root:
# nothing else changes on this machine.
set -euo pipefail
cd "$(dirname "$0")/.."
build=build/arm64
root=$PWD/$build/root

sudo=()
[ "$(id -u)" -eq 0 ] || sudo=(sudo)
if ! { command -v aarch64-linux-gnu-g++ && command -v qemu-aarch64-static; } >/dev/null; then
    "${sudo[@]}" apt-get update -qq
    DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -y -qq --no-install-recommends \
        g++-aarch64-linux-gnu qemu-user-static >/dev/null
fi

# apt with a list of packages of its own, which says that nothing is installed: it brings what these packages need, too.
if [ ! -e "$root/complete" ]; then
    apt=$PWD/$build/apt
    rm -rf "$root" "$apt"
    mkdir -p "$root" "$apt/lists/partial" "$apt/archives/partial"
    : >"$apt/status"
    get=(apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User= -o Debug::NoLocking=1
        -o Dir::State::lists="$apt/lists" -o Dir::State::status="$apt/status" -o Dir::Cache="$apt"
        -o Dir::Cache::archives="$apt/archives")
    "${get[@]}" update
    "${get[@]}" install --download-only -y --no-install-recommends libc6-dev libstdc++6 libgomp1 libdnnl-dev \
        nlohmann-json3-dev libcli11-dev libpcre2-dev libutf8proc-dev libsentencepiece-dev zlib1g-dev catch2 >/dev/null
    for package in "$apt"/archives/*.deb; do dpkg-deb --extract "$package" "$root"; done
    rm -rf "$apt"
    touch "$root/complete"
fi

# Any 64-bit Arm processor; kernels with better instructions are chosen as the program runs.
command -v ccache >/dev/null && cxx="ccache " || cxx=""
tests=(test/main.cpp test/llmc/cpu/{hadamard,dropout,quantize,rmsnorm}_test.cpp test/llmc/cpu/gemm/int8_gemm_test.cpp)
make NVCC= MPI= ARCH=armv8-a BUILD=$build CXX="${cxx}aarch64-linux-gnu-g++ --sysroot=$root" \
    TEST_SOURCES="${tests[*]}" $build/train_quaff $build/test_quaff

# A wait policy keeps the program from starting itself again (llmc/system/thread_waiting.h), which is up to the kernel.
emulate() { OMP_NUM_THREADS=2 OMP_WAIT_POLICY=passive qemu-aarch64-static -L "$root" "$@"; }
emulate -cpu max $build/train_quaff --version
emulate -cpu max $build/test_quaff "$@"
for cpu in neoverse-n1 cortex-a72; do emulate -cpu $cpu $build/test_quaff '[int8_gemm],[hadamard]'; done
