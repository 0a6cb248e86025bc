#!/usr/bin/env bash
# Registers, stack and spills of every kernel in one table, from what ptxas said when they were compiled (-Xptxas -v).
# `make resources` calls it. Fails where a kernel spills registers to local memory or keeps an array there.
#
#   scripts/resources.sh build/quaff/cuda_model_*.ptxas
set -euo pipefail

for log in "$@"; do
    type=${log##*cuda_model_}
    c++filt -p <"$log" | sed -E "s/^ptxas info +: //; s/^/${type%.ptxas} /"
done | awk '
    / Compiling entry function / { arch = $NF; gsub(/[^0-9a-z_]/, "", arch) }
    / Function properties for / { kernel = $0; sub(/.* for (void )?(cuda::)?/, "", kernel) }
    / bytes stack frame,/ { stack = $2; stores = $6; loads = $10 }
    / Used [0-9]+ registers/ {
        if (!count++)
            printf "%-6s %-5s %9s %6s %7s %6s  %s\n", "arch", "type", "registers", "stack", "stores", "loads", "kernel"
        printf "%-6s %-5s %9d %6d %7d %6d  %s\n", arch, $1, $3, stack, stores, loads, kernel
        if (stack + stores + loads > 0) bad[++n] = arch " " $1 " " kernel
    }
    END {
        if (!count) {
            print "resources: ptxas has told nothing; is this a build with nvcc?" > "/dev/stderr"
            exit 1
        }
        printf "%d kernels, %d of them with local memory\n", count, n
        for (i = 1; i <= n; i++) print "local memory: " bad[i] > "/dev/stderr"
        exit n > 0
    }'
